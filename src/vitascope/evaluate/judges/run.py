"""Folders of videos judged by a vision-language model: T2V-CompBench and DSG, with what was skipped and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vitascope import media
from vitascope.errors import UserError
from vitascope.evaluate.judges import dsg
from vitascope.evaluate.judges.asking import Asking
from vitascope.evaluate.judges.compbench import CATEGORIES, NUM_FRAMES, SEEDS, Record, spread
from vitascope.evaluate.vbench.report import Measured, SuiteReport, over_videos

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """A report, and the videos without a score, each with its reason."""

    report: SuiteReport
    skipped: tuple[str, ...]


def judge_compbench(
    folder: Path, records: Mapping[str, Sequence[Record]], ask: Asking, *, model: str, progress: Progress
) -> Judged:
    """Videos named as the benchmark does: CATEGORY/0001.mp4, in the order of the records."""
    dimensions, skipped, done = {}, [], 0
    total = sum(map(len, records.values()))
    for name, some in records.items():
        scores, paths = [], []
        for number, record in enumerate(some, 1):
            path = folder / name / f"{number:04d}.mp4"
            try:
                score = CATEGORIES[name].score(record, spread(media.read_video(path), NUM_FRAMES), ask)
                if score is None:
                    skipped.append(f"{path}: no answer that could be understood")
                else:
                    scores.append(score)
                    paths.append(str(path))
            except UserError as error:
                if not is_about(error, path):
                    raise
                skipped.append(f"{path}: {error}")
            done += 1
            progress(done, total)
        if scores:
            dimensions[name] = over_videos(scores, [1] * len(scores), CATEGORIES[name].departures, paths)
    protocol = {
        "judge": ask.judge.name, "frames": NUM_FRAMES, "seeds": list(SEEDS), "prompts": total,
        "questions": digest_of({name: [*some] for name, some in records.items()}),
    }  # fmt: skip
    return finished("t2v_compbench_v2", model, dimensions, protocol, ask, skipped, folder)


def judge_dsg(
    folder: Path,
    items: Mapping[str, dsg.Item],
    ask: Asking,
    *,
    model: str,
    dependencies: bool = True,
    progress: Progress,
) -> Judged:
    """Videos named by their item, ITEM.mp4."""
    scores, paths, skipped = [], [], []
    for number, (name, item) in enumerate(items.items(), 1):
        path = folder / f"{name}.mp4"
        try:
            told = dsg.answered(item, dsg.frames_of(media.read_video(path)), ask)
            scores.append(dsg.score(told, dependencies=dependencies))
            paths.append(str(path))
        except UserError as error:
            if not is_about(error, path):
                raise
            skipped.append(f"{path}: {error}")
        progress(number, len(items))
    asked = {name: [(one.id, one.question, one.parents) for one in item] for name, item in items.items()}
    protocol = {
        "judge": ask.judge.name, "frames": dsg.NUM_FRAMES, "dependencies": dependencies, "prompts": len(items),
        "questions": digest_of(asked),
    }  # fmt: skip
    departures = ("frames of a video instead of a picture",)
    dimensions = {"dsg": over_videos(scores, [1] * len(scores), departures, paths)} if scores else {}
    return finished("dsg", model, dimensions, protocol, ask, skipped, folder)


def digest_of(asked: Mapping[str, Any]) -> str:
    """Other questions are another test, even where there are as many."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def is_about(error: UserError, path: Path) -> bool:
    """Whether a video is to blame, so that the others can go on; a judge that is not there stops everything."""
    return str(path) in str(error)


def finished(
    suite: str,
    model: str,
    dimensions: dict[str, Measured],
    protocol: dict[str, object],
    ask: Asking,
    skipped: Sequence[str],
    folder: Path,
) -> Judged:
    if not dimensions:
        told = skipped[0] if skipped else "no record"
        raise UserError(f"nothing in '{folder}' could be judged ({told}); check the folder and the names of the videos")
    whole = {**protocol, "version": version("vitascope"), "unanswered": ask.unanswered, "skipped": [*skipped]}
    return Judged(SuiteReport(suite=suite, model=model, dimensions=dimensions, protocol=whole), tuple(skipped))
