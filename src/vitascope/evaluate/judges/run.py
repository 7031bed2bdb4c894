"""Videos judged by a vision-language model: T2V-CompBench, DSG and DSG-Video, with what was skipped and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vitascope import media
from vitascope.endpoint import Picture, Unanswered
from vitascope.errors import UserError
from vitascope.evaluate.judges import dsg, dsg_video
from vitascope.evaluate.judges.asking import Asking, frames_of
from vitascope.evaluate.judges.compbench import CATEGORIES, NUM_FRAMES, SEEDS, Record, spread
from vitascope.evaluate.judges.dsg_video import Check
from vitascope.evaluate.vbench.report import Measured, SuiteReport, over_videos
from vitascope.evaluate.videos import VideoFile, videos_in
from vitascope.types import Progress

Questions = Sequence[dsg_video.Question]


@dataclass(frozen=True)
class Judged:
    """A report, and the videos without a score, each with its reason."""

    report: SuiteReport
    skipped: tuple[str, ...]
    checks: Mapping[str, Check] = field(default_factory=dict)  # of captions, by the name of their video


def judge_compbench(
    folder: Path, records: Mapping[str, Sequence[Record]], ask: Asking, *, model: str, progress: Progress
) -> Judged:
    """Videos named as the benchmark does: CATEGORY/0001.mp4 (or another ending), in the order of the records."""
    dimensions, skipped, done = {}, [], 0
    total = sum(map(len, records.values()))
    for name, some in records.items():
        scores, paths = [], []
        there = videos_in(folder / name)
        for number, record in enumerate(some, 1):
            path = there.get(f"{number:04d}", folder / name / f"{number:04d}.mp4")
            try:
                clip = media.read_video(path)
            except UserError as error:
                skipped.append(f"{path}: {error}")
            else:
                # Not within the try: a judge that is not there stops everything.
                score = CATEGORIES[name].score(record, spread(clip, NUM_FRAMES), ask)
                if score is None:
                    skipped.append(f"{path}: no answer that could be understood")
                else:
                    scores.append(score)
                    paths.append(str(path))
            done += 1
            progress(done, total)
        if scores:
            dimensions[name] = over_videos(scores, [1] * len(scores), CATEGORIES[name].departures, paths)
    protocol = {
        "judge": ask.judge.name, "frames": NUM_FRAMES, "seeds": list(SEEDS), "prompts": total,
        "questions": digest_of({name: [*some] for name, some in records.items()}),
    }  # fmt: skip
    return finished("t2v_compbench_v2", model, dimensions, protocol, ask, skipped)


def judge_dsg(
    videos: Sequence[VideoFile],
    items: Mapping[str, dsg.Item],
    ask: Asking,
    *,
    model: str,
    frames: int = dsg_video.NUM_FRAMES,
    dependencies: bool = True,
    without: Sequence[str] = (),
    progress: Progress,
) -> Judged:
    """Each item about the video of its name. `without`: videos that have no item, each with the reason."""
    named = {video.name: video for video in videos}
    scores, paths, skipped = [], [], [*without]
    for number, (name, item) in enumerate(items.items(), 1):
        try:
            told = dsg.answered(item, looked_at(named, name, frames), ask)
        except (Unseen, Unanswered) as error:
            skipped.append(f"{name}: {error}")
        else:
            scores.append(dsg.score(told, dependencies=dependencies))
            paths.append(str(named[name].path))
        progress(number, len(items))
    asked = {name: [(one.id, one.question, one.parents) for one in item] for name, item in items.items()}
    protocol = {
        "judge": ask.judge.name, "frames": frames, "dependencies": dependencies, "prompts": len(items),
        "questions": digest_of(asked),
    }  # fmt: skip
    departures = ("frames of a video instead of a picture",)
    dimensions = {"dsg": over_videos(scores, [1] * len(scores), departures, paths)} if scores else {}
    return finished("dsg", model, dimensions, protocol, ask, skipped)


def judge_dsg_video(
    videos: Sequence[VideoFile],
    questions: Mapping[str, Questions] | Asking,
    ask: Asking,
    *,
    model: str,
    frames: int = dsg_video.NUM_FRAMES,
    progress: Progress,
) -> Judged:
    """The captions of videos against what these show. `questions`: by video, or who writes them."""
    named = {video.name: video for video in videos}
    checks: dict[str, Check] = {}
    skipped = []
    for number, video in enumerate(videos, 1):
        try:
            shown = looked_at(named, video.name, frames)
            if not (caption := video.caption.strip()):
                raise Unseen("it has no caption")
            if isinstance(questions, Asking):
                about: Questions = dsg_video.write_questions(caption, asking_about(questions, ()))
            else:
                about = tabled(questions, video.name, len(dsg_video.sentences_of(caption)))
            looks = [asking_about(ask, (frame,), dsg_video.ASK_FOR_AN_ANSWER) for frame in shown]
            checks[video.name] = dsg_video.check(caption, about, looks)
        except (Unseen, Unanswered) as error:
            skipped.append(f"{video.name}: {error}")
        progress(number, len(videos))
    protocol = {
        "judge": ask.judge.name, "frames": frames, "prompts": len(videos),
        "questions": f"by {questions.judge.name}" if isinstance(questions, Asking) else "a table",
    }  # fmt: skip
    counts = {
        "dsg_video_i": [(name, len(one.missing), len(one.things)) for name, one in checks.items()],
        "dsg_video_s": [(name, one.wrong_sentences, one.sentences) for name, one in checks.items()],
    }
    dimensions = {}
    for dimension, rows in counts.items():
        # A caption without things says nothing of them.
        if some := [row for row in rows if row[2]]:
            paths = [str(named[name].path) for name, _, _ in some]
            dimensions[dimension] = over_videos([float(row[1]) for row in some], [row[2] for row in some], (), paths)
    judged = finished("dsg_video", model, dimensions, protocol, ask, skipped)
    return replace(judged, checks=checks)


def prompts_of(videos: Sequence[VideoFile]) -> tuple[dict[str, str], list[str]]:
    """Captions by video, and the videos without one, each with the reason."""
    prompts, without = {}, []
    for video in videos:
        try:
            prompts[video.name] = video.caption.strip()
        except UserError as error:
            without.append(f"{video.name}: {error}")
    without += [f"{name}: it has no caption" for name, prompt in prompts.items() if not prompt]
    return {name: prompt for name, prompt in prompts.items() if prompt}, without


class Unseen(Exception):
    """Why a video cannot be judged; the others go on."""


def looked_at(videos: Mapping[str, VideoFile], name: str, num: int) -> list[Picture]:
    if name not in videos:
        raise Unseen("there is no video of this name")
    try:
        return frames_of(media.read_video(videos[name].path), num)
    except UserError as error:
        raise Unseen(str(error)) from None


def tabled(questions: Mapping[str, Questions], name: str, num_sentences: int) -> Questions:
    if name not in questions:
        raise Unseen("the table of questions asks nothing about it")
    if (last := max(one.sentence for one in questions[name])) > num_sentences:
        raise Unseen(f"the table of questions asks about sentence {last}, and the caption has {num_sentences}")
    return questions[name]


def asking_about(asking: Asking, frames: Sequence[Picture], *more: str) -> dsg_video.Ask:
    def ask(question: str) -> str:
        answer = asking(frames, [" ".join([question, *more])])
        if answer is None:
            raise Unanswered(f"no answer came to '{question[:60]}'")
        return answer

    return ask


def digest_of(asked: Mapping[str, Any]) -> str:
    """Other questions are another test, even where there are as many."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def finished(
    suite: str,
    model: str,
    dimensions: dict[str, Measured],
    protocol: dict[str, object],
    ask: Asking,
    skipped: Sequence[str],
) -> Judged:
    if not dimensions:
        told = skipped[0] if skipped else "no record"
        raise UserError(f"nothing could be judged ({told}); check the videos, their names and their captions")
    whole = {**protocol, "version": version("vitascope"), "unanswered": ask.unanswered, "skipped": [*skipped]}
    return Judged(SuiteReport(suite=suite, model=model, dimensions=dimensions, protocol=whole), tuple(skipped))
