"""What a clip shows, in words: asked of models, and checked against the clip (DSG-Video).

A task is one clip. Every raw answer is kept in a file of the clip under a key of what it depends on: the clip's
content, the frames shown, the model and the words of the question. So nothing is asked twice, and a clip whose answers
are all there is not even decoded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from vitascope.data.folder import as_text
from vitascope.endpoint import Endpoint, Judge, Kept, Picture, Unanswered, yes_or_no
from vitascope.engine.config import Captions, Curate, Hallucination, Model
from vitascope.engine.cutting import clip_path
from vitascope.engine.executors import Executor, Failed, Limits, Progress, in_process, results
from vitascope.engine.keys import key_of
from vitascope.engine.local_models import identity, local_model
from vitascope.errors import UserError
from vitascope.media import count_frames, make_folder, read_frames, resize

NO_ANSWER = "no answer came"
LONGEST_SIDE = 768  # of the frames that models are shown
PATIENCE = 10  # clips in a row without an answer, after which the endpoint is taken for dead
QUESTION = re.compile(r"^\W*(\d+)\s*\|\s*([^|]+?)\s*\|\s*([^|]+?)\s*\|?\s*$")


@dataclass(frozen=True)
class CaptionTask:
    clip: str  # content key
    captions: tuple[str, ...]  # that came with the file
    work: Path
    writing: Captions
    checking: Hallucination
    secret: str = field(default="", repr=False)  # of the endpoints


@dataclass(frozen=True)
class Check:
    """One caption against its clip: the things that it names, those that no frame shows, and its sentences."""

    caption: str
    things: tuple[str, ...]
    missing: tuple[str, ...]
    unclear: tuple[str, ...]  # no frame gave a yes or a no: not among the things
    sentences: int
    wrong_sentences: int  # that name a missing thing
    is_rewritten: bool = False
    dropped: bool = False


@dataclass(frozen=True)
class Captioned:
    """The captions that a clip leaves with and how they were checked; `reason` says why it may not stay, `why` more."""

    captions: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    reason: str = ""
    why: str = ""


def caption_clips(
    clips: dict[str, tuple[str, ...]],
    work: Path,
    settings: Curate,
    secret: str,
    executor: Executor,
    progress: Progress,
) -> dict[str, Captioned]:
    """For each clip, by its key, what it leaves with; nothing if neither writing nor checking is on."""
    writing, checking = settings.captions, settings.hallucination
    if not (writing.on or checking.on):
        return {}
    if any(model.folder for model in models_used(settings).values()):
        executor = in_process  # one copy of a model fits; limits of time and memory are not meant for it
    make_folder(work / "answers")
    tasks = [CaptionTask(key, told, work, writing, checking, secret) for key, told in clips.items()]
    limits = Limits(writing.most_seconds, settings.measuring.most_megabytes)
    found, in_a_row = {}, 0
    for task, result in zip(tasks, results(executor, caption_clip, tasks, limits, progress), strict=True):
        one = Captioned(reason=result.reason) if isinstance(result, Failed) else result
        found[task.clip] = one
        in_a_row = in_a_row + 1 if one.reason == NO_ANSWER else 0
        if in_a_row == PATIENCE:
            raise UserError(
                f"{PATIENCE} clips in a row got no answer ({one.why}); look at the server, then run the same "
                "command again: it goes on where it stopped"
            )
    return found


def models_used(settings: Curate) -> dict[str, Model]:
    """By their path in the settings."""
    writing, checking = settings.captions, settings.hallucination
    used = {}
    if writing.on:
        used["captions.captioner"] = writing.captioner
        if writing.by_frames:
            used["captions.summariser"] = writing.summariser
    if checking.on:
        used |= {"hallucination.asker": checking.asker, "hallucination.judge": checking.judge}
    return used


def check_models(settings: Curate) -> None:
    """Each must be named or lie in a folder; said before anything is decoded."""
    for path, model in models_used(settings).items():
        if model.folder and not Path(model.folder).is_dir():
            raise UserError(f"{path}.folder must be the folder of a model, and there is none at '{model.folder}'")
        if not (model.name or model.folder):
            raise UserError(
                f"{path}.name must say which model of {model.url} to ask: --set {path}.name=MODEL; or {path}.folder "
                "where a model of transformers lies"
            )


def caption_clip(task: CaptionTask) -> Captioned:
    """One clip: captions where there are none, then each against what the clip shows."""
    clip = AskedClip(task)
    captions, checks = task.captions, list[Check]()
    try:
        if task.writing.on and (task.writing.replace or not captions):
            captions = (write(clip, task.writing),)
        if task.checking.on:
            checks = [one for caption in captions for one in settle(clip, caption, task.checking)]
    except Unanswered as error:
        return Captioned(reason=NO_ANSWER, why=str(error))
    if not checks:
        return Captioned(captions)
    kept = tuple(dict.fromkeys(one.caption for one in checks if not one.dropped))
    return Captioned(kept, tuple(checks), "" if kept else "names what is not there")


class AskedClip:
    """A clip about which questions are asked; its frames are read when one of them is new."""

    def __init__(self, task: CaptionTask) -> None:
        self.task, self.path = task, clip_path(task.work, task.clip)
        self.kept = Kept(task.work / "answers" / f"{task.clip}.jsonl")

    @cached_property
    def num_frames(self) -> int:
        return count_frames(self.path)

    @cached_property
    def frames(self) -> dict[int, UInt8[Tensor, "3 _h _w"]]:
        return frames_at(self.path, {*self.spread(self.task.writing.frames), *self.spread(self.task.checking.frames)})

    def spread(self, num: int) -> list[int]:
        return spread(self.num_frames, num)

    def ask(self, model: Model, frames: Sequence[int], question: str) -> str:
        name = identity(Path(model.folder)) if model.folder else model.name
        key = key_of(self.task.clip, name, model.temperature, model.max_tokens, tuple(frames), question)
        if key not in self.kept.known:
            shown = [shrunk(self.frames[number].float() / 255) for number in frames]
            answer = judge_of(model, self.task.secret).answer(shown, [question], 0)
            self.kept.add(key, answer, model=name, frames=[*frames], question=question)
        return self.kept.known[key]


def spread(num_frames: int, num: int) -> list[int]:
    """Numbers of frames evenly spread over a clip, none of them twice."""
    return list(dict.fromkeys(index * (num_frames - 1) // max(1, num - 1) for index in range(num)))


def frames_at(path: Path, numbers: Collection[int]) -> dict[int, UInt8[Tensor, "3 _h _w"]]:
    return {number: one.pixels() for number, one in enumerate(read_frames(path)) if number in numbers}


def shrunk(picture: Picture) -> Picture:
    """As large as models look at; more would only make the question longer."""
    height, width = picture.shape[-2:]
    scale = LONGEST_SIDE / max(height, width)
    return resize(picture, (max(1, round(width * scale)), max(1, round(height * scale)))) if scale < 1 else picture


def judge_of(model: Model, secret: str) -> Judge:
    if model.folder:
        return local_model(Path(model.folder), model.max_tokens)
    return Endpoint(
        model.url, model.name, secret, model.temperature, model.max_tokens, model.timeout_seconds, model.tries,
        model.wait_seconds,
    )  # fmt: skip


def write(clip: AskedClip, settings: Captions) -> str:
    """From all frames at once (the paper's VCap), or from a summary of what is said of each (its FCapLLM)."""
    frames = clip.spread(settings.frames)
    if not settings.by_frames:
        return one_line(clip.ask(settings.captioner, frames, settings.prompt))
    said = [one_line(clip.ask(settings.captioner, [frame], settings.frame_prompt)) for frame in frames]
    told = "\n".join(f"{number}. {text}" for number, text in enumerate(said, 1))
    return one_line(clip.ask(settings.summariser, [], f"{settings.summary_prompt}\n{told}"))


def settle(clip: AskedClip, caption: str, settings: Hallucination) -> list[Check]:
    """A caption that names too much that is missing is rewritten once, if wished; what still does is dropped."""
    first = check(clip, caption, settings)
    if not too_much(first, settings):
        return [first]
    first = replace(first, dropped=True)
    if not settings.rewrite:
        return [first]
    question = f"{settings.rewrite_prompt}\nCaption: {caption}\nNot shown: {', '.join(first.missing)}"
    second = check(clip, one_line(clip.ask(settings.asker, [], question)), settings)
    return [first, replace(second, is_rewritten=True, dropped=too_much(second, settings))]


def too_much(one: Check, settings: Hallucination) -> bool:
    return len(one.missing) > settings.most_missing * len(one.things)


def check(clip: AskedClip, caption: str, settings: Hallucination) -> Check:
    """A thing is missing if no frame shows it; asking stops at the first that does."""
    sentences = sentences_of(caption)
    numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(sentences, 1))
    told = clip.ask(settings.asker, [], f"{settings.questions_prompt}\n\n{numbered}")
    named, question_of = things_of(told, len(sentences))
    shown = {thing: _is_shown(clip, question, settings) for thing, question in question_of.items()}
    missing = tuple(thing for thing, is_shown in shown.items() if is_shown is False)
    return Check(
        caption,
        tuple(thing for thing, is_shown in shown.items() if is_shown is not None),
        missing,
        tuple(thing for thing, is_shown in shown.items() if is_shown is None),
        len(sentences),
        len({number for number, thing in named if thing in missing}),
    )


def _is_shown(clip: AskedClip, question: str, settings: Hallucination) -> bool | None:
    """None if no frame gave a yes or a no."""
    is_shown = None
    for frame in clip.spread(settings.frames):
        answer = yes_or_no(clip.ask(settings.judge, [frame], f"{question} {settings.judge_prompt}"))
        if answer == "yes":
            return True
        is_shown = False if answer == "no" else is_shown
    return is_shown


def things_of(told: str, num_sentences: int) -> tuple[set[tuple[int, str]], dict[str, str]]:
    """Which sentence names which thing, and the question about each, out of lines `number | thing | question`."""
    lines = [match.groups() for line in told.splitlines() if (match := QUESTION.match(line))]
    found = [(int(number), thing.lower(), question) for number, thing, question in lines]
    found = [one for one in found if 1 <= one[0] <= num_sentences]
    if not found and not re.match(r"\W*none\b", told.lower()):
        raise Unanswered(f"questions of another form: {told[:80]!r}")
    return {one[:2] for one in found}, {thing: question for _, thing, question in reversed(found)}


def sentences_of(caption: str) -> list[str]:
    return [text for text in re.split(r"(?<=[.!?])\s+", caption.strip()) if text]


def one_line(text: str) -> str:
    return " ".join(as_text(text).split())


def told_of(found: Sequence[Captioned]) -> dict[str, Any]:
    """DSG-Video of the run: of the captions as they came, and of those that stayed."""
    checks = [one for captioned in found for one in captioned.checks]
    return {
        "clips": len(found),
        "no answer": sum(one.reason == NO_ANSWER for one in found),
        "rewritten": sum(one.is_rewritten for one in checks),
        "as they came": dsg_video([one for one in checks if not one.is_rewritten]),
        "kept": dsg_video([one for one in checks if not one.dropped]),
    }


def dsg_video(checks: Sequence[Check]) -> dict[str, Any]:
    """Missing things by all things (i), sentences that name one by all sentences (s), and how many different things."""
    things, sentences = sum(len(one.things) for one in checks), sum(one.sentences for one in checks)
    return {
        "captions": len(checks),
        "unique_things": len({thing for one in checks for thing in one.things}),
        "dsg_video_i": sum(len(one.missing) for one in checks) / max(1, things),
        "dsg_video_s": sum(one.wrong_sentences for one in checks) / max(1, sentences),
    }


def record_of(one: Captioned) -> dict[str, Any]:
    return {**asdict(one), "checks": [{**asdict(check), **dsg_video([check])} for check in one.checks]}
