"""What a clip shows, in words: asked of models, and checked against the clip (DSG-Video).

A task is one clip. Every raw answer is kept in a file of the clip under a key of what it depends on: the clip's
content, the frames shown, the model and the words of the question. So nothing is asked twice, and a clip whose answers
are all there is not even decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from vitascope.data.folder import as_text
from vitascope.endpoint import Endpoint, Judge, Kept, Unanswered
from vitascope.engine.config import Captions, Curate, Hallucination, Model
from vitascope.engine.cutting import clip_path
from vitascope.engine.executors import Executor, Failed, Limits, in_process, results
from vitascope.engine.keys import key_of
from vitascope.engine.local_models import local_model
from vitascope.errors import UserError
from vitascope.evaluate.judges.asking import identity, shrunk, spread
from vitascope.evaluate.judges.dsg_video import Ask, Check, check, summary, write_questions
from vitascope.media import count_frames, make_folder, read_frames
from vitascope.types import Progress

NO_ANSWER = "no answer came"
PATIENCE = 10  # clips in a row without an answer, after which the endpoint is taken for dead


@dataclass(frozen=True)
class CaptionTask:
    clip: str  # content key
    captions: tuple[str, ...]  # that came with the file
    work: Path
    writing: Captions
    checking: Hallucination
    secret: str = field(default="", repr=False)  # of the endpoints


@dataclass(frozen=True)
class Settled:
    """What was found of one caption, and what became of it."""

    check: Check
    is_rewritten: bool = False
    dropped: bool = False


@dataclass(frozen=True)
class Captioned:
    """The captions that a clip leaves with and how they were checked; `reason` says why it may not stay, `why` more."""

    captions: tuple[str, ...] = ()
    checks: tuple[Settled, ...] = ()
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
    limits = Limits(writing.most_seconds, settings.measuring.most_megabytes, "captions.most_seconds")
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
    captions, checks = task.captions, list[Settled]()
    try:
        if task.writing.on and (task.writing.replace or not captions):
            captions = (write(clip, task.writing),)
        if task.checking.on:
            checks = [one for caption in captions for one in settle(clip, caption, task.checking)]
    except Unanswered as error:
        return Captioned(reason=NO_ANSWER, why=str(error))
    if not checks:
        return Captioned(captions)
    kept = tuple(dict.fromkeys(one.check.caption for one in checks if not one.dropped))
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


def frames_at(path: Path, numbers: Collection[int]) -> dict[int, UInt8[Tensor, "3 _h _w"]]:
    return {number: one.pixels() for number, one in enumerate(read_frames(path)) if number in numbers}


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


def settle(clip: AskedClip, caption: str, settings: Hallucination) -> list[Settled]:
    """A caption that names too much that is missing is rewritten once, if wished; what still does is dropped."""
    first = checked(clip, caption, settings)
    if not too_much(first, settings):
        return [Settled(first)]
    if not settings.rewrite:
        return [Settled(first, dropped=True)]
    question = f"{settings.rewrite_prompt}\nCaption: {caption}\nNot shown: {', '.join(first.missing)}"
    second = checked(clip, one_line(clip.ask(settings.asker, [], question)), settings)
    return [Settled(first, dropped=True), Settled(second, is_rewritten=True, dropped=too_much(second, settings))]


def too_much(one: Check, settings: Hallucination) -> bool:
    return len(one.missing) > settings.most_missing * len(one.things)


def checked(clip: AskedClip, caption: str, settings: Hallucination) -> Check:
    questions = write_questions(caption, partial(clip.ask, settings.asker, []), settings.questions_prompt)
    return check(caption, questions, [_looking_at(clip, frame, settings) for frame in clip.spread(settings.frames)])


def _looking_at(clip: AskedClip, frame: int, settings: Hallucination) -> Ask:
    return lambda question: clip.ask(settings.judge, [frame], f"{question} {settings.judge_prompt}")


def one_line(text: str) -> str:
    return " ".join(as_text(text).split())


def told_of(found: Sequence[Captioned]) -> dict[str, Any]:
    """DSG-Video of the run: of the captions as they came, and of those that stayed."""
    settled = [one for captioned in found for one in captioned.checks]
    return {
        "clips": len(found),
        "no answer": sum(one.reason == NO_ANSWER for one in found),
        "rewritten": sum(one.is_rewritten for one in settled),
        "as they came": summary([one.check for one in settled if not one.is_rewritten]),
        "kept": summary([one.check for one in settled if not one.dropped]),
    }


def record_of(one: Captioned) -> dict[str, Any]:
    checks = [
        {
            **asdict(settled.check),
            "is_rewritten": settled.is_rewritten,
            "dropped": settled.dropped,
            **summary([settled.check]),
        }
        for settled in one.checks
    ]
    return {**asdict(one), "checks": checks}
