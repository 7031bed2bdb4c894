"""Toyland's test scenes asked of a model, and its clips judged by the exact oracle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from vitascope.evaluate import forms
from vitascope.evaluate.intervals import Rate
from vitascope.evaluate.metrics.paired import SquaredError, squared_error
from vitascope.evaluate.questions import (
    CAPTIONS,
    FPS,
    GIVEN,
    KINDS,
    NUM_FRAMES,
    NUM_SEEDS,
    SCENES_PER_SEED,
    SIZE,
    SPLITS,
    TASKS,
    Question,
    length_of,
    one_of,
    question,
    refuse_another_size,
)
from vitascope.toyland.oracle import judge, passed
from vitascope.toyland.scene import Scene
from vitascope.types import Clip, Request, UserError

Which = TypeVar("Which")
Grown = TypeVar("Grown")


@dataclass(frozen=True)
class Answer:
    """What a clip was asked to show, and which dimensions it passed."""

    caption: str
    passed: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """Pass rates by dimension, with the protocol under which they may be compared. `answers`: by number of the scene.

    It is also the state of a run: what `from_json` gives back goes on as if it had never been stopped.
    """

    protocol: Mapping[str, Any]
    made: Mapping[str, Rate]
    ceiling: Mapping[str, Rate] = field(default_factory=dict)  # true clips through the model's own tokenizer
    returned: SquaredError = field(default_factory=SquaredError)  # frames of the clips that were given
    returned_best: SquaredError = field(default_factory=SquaredError)  # the same through the tokenizer alone
    made_up: SquaredError = field(default_factory=SquaredError)  # the others, where some were given
    tokenizer: SquaredError = field(default_factory=SquaredError)  # all frames of the true clips through it
    answers: Mapping[int, Answer] = field(default_factory=dict)

    @property
    def scenes(self) -> frozenset[int]:
        return frozenset(self.answers)

    def merge(self, other: Report) -> Report:
        """The report of both runs together; they must have the same protocol and no scene in common."""
        refuse_to_merge(self.protocol, other.protocol, self.scenes & other.scenes)
        return Report(
            self.protocol,
            added(self.made, other.made),
            added(self.ceiling, other.ceiling),
            self.returned + other.returned,
            self.returned_best + other.returned_best,
            self.made_up + other.made_up,
            self.tokenizer + other.tokenizer,
            {**self.answers, **other.answers},
        )

    def rates(self) -> dict[str, float]:
        return {dimension: rate.value for dimension, rate in self.made.items()}

    def to_json(self) -> str:
        def told(rates: Mapping[str, Rate]) -> dict[str, Any]:
            return {
                name: {"rate": rate.value, "interval": rate.interval, "passed": rate.passed, "n": rate.count}
                for name, rate in rates.items()
            }

        complete = len(self.answers) >= self.protocol["num"]
        content = {
            "form": forms.TOYLAND, "complete": complete, "protocol": self.protocol,
            "dimensions": told(self.made), "ceiling": told(self.ceiling),
        }  # fmt: skip
        psnr = {
            "given_frames_psnr": self.returned.psnr,
            "given_frames_psnr_of_the_tokenizer": self.returned_best.psnr,
            "other_frames_psnr": self.made_up.psnr,
            "tokenizer_psnr": self.tokenizer.psnr,
        }
        errors = {name: asdict(getattr(self, name)) for name in ERRORS}
        answers = {number: asdict(answer) for number, answer in self.answers.items()}
        return json.dumps({**content, **psnr, "errors": errors, "answers": answers}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Report:
        told = json.loads(text)
        made, ceiling = (rates_of(told[name]) for name in ("dimensions", "ceiling"))
        errors = {name: SquaredError(**told["errors"][name]) for name in ERRORS}
        return cls(told["protocol"], made, ceiling, **errors, answers=answers_of(told["answers"]))

    def print(self, console: Console) -> None:
        wanted = self.protocol
        title = "{kind}, {split}, {captions} captions, task {task}, seed {seed}".format(**wanted)
        table = Table("dimension", "passed", "95 % interval", "n", "ceiling", title=title)
        for name, rate in sorted(self.made.items(), key=lambda item: item[0] == "all"):
            low, high = rate.interval
            best = f"{self.ceiling[name].value:.3f}" if name in self.ceiling else ""
            table.add_row(name, f"{rate.value:.3f}", f"{low:.3f} .. {high:.3f}", str(rate.count), best)
        console.print(table)
        if self.returned.psnr is not None:
            alone = self.returned_best.psnr
            beside = "" if alone is None else f" (the tokenizer alone: {alone:.1f} dB)"
            console.print(f"given frames returned: {self.returned.psnr:.1f} dB{beside}")
        if self.made_up.psnr is not None:
            console.print(f"the other frames, beside the true ones: {self.made_up.psnr:.1f} dB")
        if self.tokenizer.psnr is not None:
            how = "PSNR of the mean squared error"
            console.print(f"true clips through the tokenizer: {self.tokenizer.psnr:.1f} dB ({how})")


ERRORS = ("returned", "returned_best", "made_up", "tokenizer")


def rates_of(told: Mapping[str, Any]) -> dict[str, Rate]:
    return {name: Rate(one["passed"], one["n"]) for name, one in told.items()}


def answers_of(told: Mapping[str, Any]) -> dict[int, Answer]:
    return {int(number): Answer(**answer) for number, answer in told.items()}


def refuse_to_merge(one: Mapping[str, Any], other: Mapping[str, Any], twice: frozenset[int]) -> None:
    """Unless two reports have one protocol and no scene in common."""
    if one != other:
        differ = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        raise UserError(f"reports of different protocols cannot be merged; they differ in {', '.join(differ)}")
    if twice:
        raise UserError(f"both reports count scene {min(twice)}; merge each shard once")


def refuse_numbers(num: int, batch: int, seed: int, shard: tuple[int, int], num_kinds: int = 1) -> None:
    """Unless there are so many scenes of each kind, and some of them in this shard."""
    if not 0 <= shard[0] < shard[1]:
        raise UserError(f"shard must be a number and how many there are, such as (0, 4), got {shard}")
    if not (1 <= num <= SCENES_PER_SEED and batch >= 1 and 0 <= seed < NUM_SEEDS):
        raise UserError(
            f"num must be from 1 to {SCENES_PER_SEED}, batch at least 1 and seed from 0 to {NUM_SEEDS - 1}, "
            f"got {num}, {batch} and {seed}"
        )
    if shard[0] >= num * num_kinds:
        raise UserError(
            f"of {num * num_kinds} scenes none is left for shard {shard[0]}/{shard[1]}; ask for more, or fewer shards"
        )


def evaluate(
    generate: Callable[[Sequence[Request]], Sequence[Clip]],
    *,
    split: str = "seen",
    kind: str = "one",
    num: int = 256,
    seed: int = 0,
    captions: str = "both",
    task: str = "text",
    batch: int = 16,
    shard: tuple[int, int] = (0, 1),
    encode_decode: Callable[[Clip], Clip] | None = None,
    made_with: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    before: Report | None = None,
    written: Callable[[Report], None] | None = None,
    keep: Callable[[int, Clip], None] | None = None,
) -> Report:
    """Ask `generate` for `num` test scenes of one kind and judge what it makes.

    Scenes are numbered from `seed * SCENES_PER_SEED`, so that other seeds give other scenes; none was ever trained on.
    With `captions` "both", every second caption is a paraphrase. With `task` "image" the true first frame is given,
    with others the frames of `GIVEN`; "picture" asks for one frame.
    `shard` (k, n) judges every nth scene from the kth; the reports of all shards merge to that of one run. `made_with`
    says what generates and how, for the protocol: reports of different makers do not merge.

    `before` is the report of a run that was stopped: its scenes are not asked for again. `written` is handed the report
    after every batch, and `keep` every clip with the number of its scene.
    """
    wanted_split, wanted_kind = one_of("split", split, SPLITS), one_of("kind", kind, KINDS)
    wording = one_of("captions", captions, CAPTIONS)
    wanted_task = one_of("task", task, TASKS)
    given, rest = list(GIVEN[wanted_task]), [n for n in range(NUM_FRAMES) if n not in GIVEN[wanted_task]]
    refuse_numbers(num, batch, seed, shard)
    protocol = {
        **(made_with or {}),
        "suite": "toyland", "version": version("vitascope"), "split": split, "kind": kind, "num": num, "seed": seed,
        "captions": captions, "task": task, "num_frames": length_of(wanted_task), "size": list(SIZE), "fps": FPS,
    }  # fmt: skip
    report = Report(protocol, {})
    if before is not None:
        check_same(before.protocol, protocol)
        report = replace(before, protocol=protocol)
    every = [seed * SCENES_PER_SEED + number for number in range(num)[shard[0] :: shard[1]]]
    own = [number for number in every if number not in report.answers]

    def ask(number: int) -> Question:
        return question(wanted_split, wanted_kind, number, wording, wanted_task)

    def judged(number: int, one: Question, clip: Clip) -> tuple[int, Report]:
        made, truth = counted(clip, one.wanted), one.truth
        part = Report(
            protocol,
            made,
            returned=squared_error(clip.pixels[given], truth.pixels[given]),
            made_up=squared_error(clip.pixels[rest], truth.pixels[rest]) if given else SquaredError(),
            answers={number: Answer(one.request.prompt, {name: rate.value for name, rate in made.items()})},
        )
        if encode_decode is not None:
            best = encode_decode(truth)
            part = replace(
                part,
                ceiling=counted(best, one.wanted),
                returned_best=squared_error(best.pixels[given], truth.pixels[given]),
                tokenizer=squared_error(best.pixels, truth.pixels),
            )
        return number, part

    return answered(
        own, report, ask=ask, generate=generate, judged=judged, merge=Report.merge, batch=batch,
        before=len(every) - len(own), progress=progress, written=written, keep=keep,
    )  # fmt: skip


def answered(
    scenes: Sequence[Which],
    report: Grown,
    *,
    ask: Callable[[Which], Question],
    generate: Callable[[Sequence[Request]], Sequence[Clip]],
    judged: Callable[[Which, Question, Clip], tuple[int, Grown]],
    merge: Callable[[Grown, Grown], Grown],
    batch: int,
    before: int,
    progress: Callable[[int, int], None] | None,
    written: Callable[[Grown], None] | None,
    keep: Callable[[int, Clip], None] | None,
) -> Grown:
    """The report with what `scenes` add to it, batch by batch. `before`: how many it counts already.

    `judged` gives the number under which a clip is kept, and the report of it alone.
    """
    for first in range(0, len(scenes), batch):
        some = scenes[first : first + batch]
        questions = [ask(which) for which in some]
        clips = generate([one.request for one in questions])
        for which, one, clip in zip(some, questions, clips, strict=True):
            refuse_another_size(clip, one.truth.num_frames)
            number, part = judged(which, one, clip)
            report = merge(report, part)
            if keep is not None:
                keep(number, clip)
        if written is not None:
            written(report)
        if progress is not None:
            progress(before + first + len(some), before + len(scenes))
    return report


def check_same(before: Mapping[str, Any], protocol: Mapping[str, Any]) -> None:
    """Whether a stopped report was asked the same of the same model, so that this run can go on with it."""
    once = json.loads(json.dumps(protocol))  # as it comes back from a file
    if before != once:
        differ = [name for name in {**before, **once} if before.get(name) != once.get(name)]
        raise UserError(f"the stopped report was made otherwise ({', '.join(differ)}); pass --force to begin anew")


def counted(clip: Clip, scene: Scene) -> dict[str, Rate]:
    return {dimension: Rate(int(passed(score)), 1) for dimension, score in judge(clip, scene).items()}


def added(one: Mapping[str, Rate], other: Mapping[str, Rate]) -> dict[str, Rate]:
    return {
        name: one.get(name, Rate()) + other.get(name, Rate()) for name in (*one, *(n for n in other if n not in one))
    }
