"""VBench and T2V-CompBench in miniature: the same dimensions asked of Toyland's scenes and judged by its exact oracle.

The numbers are no VBench numbers. What they share with it are the questions, the groups and the weights; each value is
the share of clips that pass, so that 1 is reached by the truth, and what passes by chance is measured beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from vitascope.evaluate import forms
from vitascope.evaluate.intervals import Rate
from vitascope.evaluate.questions import (
    CAPTIONS,
    FPS,
    KINDS,
    NUM_FRAMES,
    SCENES_PER_SEED,
    SIZE,
    SPLITS,
    Question,
    Task,
    one_of,
    question,
)
from vitascope.evaluate.toyland import Answer, added, answered, answers_of, check_same, refuse_numbers, refuse_to_merge
from vitascope.evaluate.vbench.aggregate import VBENCH, Scale, Scores, Suite, aggregate, weighted_mean
from vitascope.evaluate.vbench.twin_questions import CATEGORIES, DIMENSIONS
from vitascope.toyland.oracle import passed, verdict, watch
from vitascope.toyland.scene import Kind, Scene
from vitascope.types import Clip, Request, generator_for

Rates = Mapping[str, Rate]

TWIN = Suite(
    "toyland_vbench",
    {
        group: {name: Scale(weight=scale.weight) for name, scale in scales.items()}
        for group, scales in VBENCH.groups.items()
    },
    VBENCH.weights,
)
"""The weights of VBench. Its scales stay out: they map similarities of networks; shares of clips need no mapping."""


TASKS: tuple[Task, ...] = ("text", "image")
"""Those that VBench and VBench-I2V ask."""


@dataclass(frozen=True)
class TwinReport:
    """Rates by column and dimension: `made` by the model, and for comparison what is perfect and what is worthless."""

    protocol: Mapping[str, Any]
    columns: Mapping[str, Rates] = field(default_factory=dict)
    answers: Mapping[int, Answer] = field(default_factory=dict)

    @property
    def scenes(self) -> frozenset[int]:
        return frozenset(self.answers)

    def merge(self, other: TwinReport) -> TwinReport:
        refuse_to_merge(self.protocol, other.protocol, self.scenes & other.scenes)
        names = dict.fromkeys([*self.columns, *other.columns])
        columns = {name: added(self.columns.get(name, {}), other.columns.get(name, {})) for name in names}
        return TwinReport(self.protocol, columns, {**self.answers, **other.answers})

    def scores(self, column: str) -> Scores:
        """Quality, Semantic and Total of one column."""
        rates = self.columns[column]
        return aggregate(TWIN, {name: rates[name].value for name in TWIN.dimensions if rates[name].count})

    def mean_of_categories(self, column: str) -> float | None:
        """Of the seven CompBench categories; the benchmark itself has no total."""
        rates = [self.columns[column][name] for name in CATEGORIES]
        return weighted_mean([(rate.value, 1.0) for rate in rates]) if all(rate.count for rate in rates) else None

    def to_json(self) -> str:
        def told(names: Sequence[str]) -> dict[str, Any]:
            return {
                name: {
                    column: {
                        "rate": rates[name].value if rates[name].count else None, "interval": rates[name].interval,
                        "passed": rates[name].passed, "n": rates[name].count,
                    }
                    for column, rates in self.columns.items()
                }
                for name in names
                if any(rates[name].count for rates in self.columns.values())
            }  # fmt: skip

        scored = {}
        for column in self.columns:
            scores = self.scores(column)
            scored[column] = {**scores.groups, "total": scores.total}
        content = {
            "form": forms.TWINS,
            "suite": TWIN.name,
            "complete": len(self.answers) >= self.protocol["num"] * len(KINDS),
            "protocol": self.protocol,
            "dimensions": told(TWIN.dimensions),
            "compbench": told(tuple(CATEGORIES)),
            "scored": scored,
            "answers": {number: asdict(answer) for number, answer in self.answers.items()},
        }
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> TwinReport:
        told = json.loads(text)
        columns: dict[str, dict[str, Rate]] = {}
        for name, by_column in {**told["dimensions"], **told["compbench"]}.items():
            for column, rate in by_column.items():
                columns.setdefault(column, {})[name] = Rate(rate["passed"], rate["n"])
        every = (*DIMENSIONS, *CATEGORIES)
        filled = {column: {name: rates.get(name, Rate()) for name in every} for column, rates in columns.items()}
        return cls(told["protocol"], filled, answers_of(told["answers"]))

    def print(self, console: Console) -> None:
        title = "{split}, {captions} captions, {num} scenes of each kind, seed {seed}".format(**self.protocol)
        both = [
            ("VBench's dimensions in Toyland", VBENCH.dimensions, self.groups_and_total()),
            ("CompBench's categories", tuple(CATEGORIES), self.means_of_categories()),
        ]
        for what, names, aggregates in both:
            table = Table("", title=f"{what}: {title}", box=box.SIMPLE, collapse_padding=True, pad_edge=False)
            others = [column for column in self.columns if column != "made"]
            for column in ("made", "95 %", "n", *others):
                table.add_column(column.replace(" c", "\nc"), justify="right", no_wrap=True)
            for name in names:
                rate = self.columns["made"][name]
                low, high = rate.interval
                beside = [shown(self.columns[column][name]) for column in others]
                interval = f"{low:.2f}-{high:.2f}".replace("0.", ".")
                table.add_row(name.replace("_", " "), shown(rate), interval, str(rate.count), *beside)
            table.add_section()
            for name, values in aggregates.items():
                first, *rest = (values[column] for column in ("made", *others))
                table.add_row(name, shown(first), "", "", *(shown(value) for value in rest), style="bold")
            console.print(table)

    def groups_and_total(self) -> dict[str, dict[str, float | None]]:
        """Of VBench: by name, then by column."""
        scores = {column: self.scores(column) for column in self.columns}
        groups = {group: {column: one.groups[group] for column, one in scores.items()} for group in TWIN.groups}
        return {**groups, "total": {column: one.total for column, one in scores.items()}}

    def means_of_categories(self) -> dict[str, dict[str, float | None]]:
        """Of CompBench: by name, then by column."""
        return {"mean (ours: it has none)": {column: self.mean_of_categories(column) for column in self.columns}}


def shown(value: Rate | float | None) -> str:
    if isinstance(value, Rate):
        value = value.value if value.count else None
    return "–" if value is None else f"{value:.2f}"


def evaluate_suites(
    generate: Callable[[Sequence[Request]], Sequence[Clip]],
    *,
    split: str = "seen",
    num: int = 32,
    seed: int = 0,
    captions: str = "both",
    task: str = "text",
    batch: int = 16,
    shard: tuple[int, int] = (0, 1),
    encode_decode: Callable[[Clip], Clip] | None = None,
    untrained: Callable[[Sequence[Request]], Sequence[Clip]] | None = None,
    made_with: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    before: TwinReport | None = None,
    written: Callable[[TwinReport], None] | None = None,
    keep: Callable[[int, Clip], None] | None = None,
) -> TwinReport:
    """Ask for `num` scenes of every kind, and judge beside each clip what is perfect and what is worthless.

    The columns: the truth, and that coded by the tokenizer if there is one (ceilings); what `untrained` makes, a model
    that has learned nothing, the true first frame held, the true frames in another order, and true clips of other
    captions (floors). `before`, `written` and `keep` are as in `evaluate` of one kind; here each kind numbers its
    scenes apart.
    """
    wanted_split, wording = one_of("split", split, SPLITS), one_of("captions", captions, CAPTIONS)
    wanted_task = one_of("task", task, TASKS)
    refuse_numbers(num, batch, seed, shard, len(KINDS))
    protocol = {
        **(made_with or {}),
        "suite": TWIN.name, "version": version("vitascope"), "split": split, "num": num, "seed": seed,
        "captions": captions, "task": task, "num_frames": NUM_FRAMES, "size": list(SIZE), "fps": FPS,
    }  # fmt: skip
    everything = [(kind, seed * SCENES_PER_SEED + number) for number in range(num) for kind in KINDS]
    every, report = everything[shard[0] :: shard[1]], TwinReport(protocol)
    if before is not None:
        check_same(before.protocol, protocol)
        report = replace(before, protocol=protocol)
    own = [(kind, number) for kind, number in every if scene_number(kind, number) not in report.answers]

    def ask(which: tuple[Kind, int]) -> Question:
        return question(wanted_split, *which, wording, wanted_task)

    def judged(which: tuple[Kind, int], one: Question, clip: Clip) -> tuple[int, TwinReport]:
        kind, number = which
        answers = {"made": clip, "truth": one.truth}
        if encode_decode is not None:
            answers["coded"] = encode_decode(one.truth)
        if untrained is not None:
            answers["untrained"] = untrained([one.request])[0]
        other = question(wanted_split, kind, other_than(number), wording, "text")
        answers |= {name: spoil(one, other) for name, spoil in SPOILT.items()}
        found = {name: judged_by_all(answer, one.wanted) for name, answer in answers.items()}
        columns = {name: asked_of(found["truth"], rates) for name, rates in found.items()}
        passed_by = {name: rate.value for name, rate in columns["made"].items() if rate.count}
        scene = scene_number(kind, number)
        return scene, TwinReport(protocol, columns, {scene: Answer(one.request.prompt, passed_by)})

    return answered(
        own, report, ask=ask, generate=generate, judged=judged, merge=TwinReport.merge, batch=batch,
        before=len(every) - len(own), progress=progress, written=written, keep=keep,
    )  # fmt: skip


def scene_number(kind: Kind, number: int) -> int:
    """One for each scene of each kind."""
    return number * len(KINDS) + KINDS.index(kind)


def other_than(number: int) -> int:
    """Another scene of the same seed."""
    first = number // SCENES_PER_SEED * SCENES_PER_SEED
    return first + (number - first + SCENES_PER_SEED // 2) % SCENES_PER_SEED


def asked_of(truth: Rates, found: Rates) -> dict[str, Rate]:
    """A dimension that the true clip has is asked by the scene: a clip in which there is nothing to judge fails it."""
    return {name: rate if rate.count or not truth[name].count else Rate(0, 1) for name, rate in found.items()}


def judged_by_all(clip: Clip, scene: Scene) -> dict[str, Rate]:
    """Whether a clip passes each dimension of both suites; those that do not apply are counted zero times."""
    view = watch(clip, scene)
    judged = verdict(view)
    scores = {name: ask(view, judged) for name, ask in {**DIMENSIONS, **CATEGORIES}.items()}
    return {name: Rate() if score is None else Rate(int(passed(score)), 1) for name, score in scores.items()}


# What is worthless, and looks the better the worse a metric is.


def still(one: Question, other: Question) -> Clip:
    return replace(one.truth, pixels=one.truth.pixels[:1].expand_as(one.truth.pixels))


def shuffled(one: Question, other: Question) -> Clip:
    order = torch.randperm(one.truth.num_frames, generator=generator_for(one.number, "shuffled"))
    return replace(one.truth, pixels=one.truth.pixels[order])


def wrong_caption(one: Question, other: Question) -> Clip:
    return other.truth


SPOILT: dict[str, Callable[[Question, Question], Clip]] = {
    "still": still,
    "shuffled": shuffled,
    "wrong caption": wrong_caption,
}
