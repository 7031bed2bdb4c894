"""Long videos: what the oracle sees of a scene that should go on for ever, second after second, and at the seams."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice, pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vitascope import toyland
from vitascope.errors import install
from vitascope.evaluate import forms
from vitascope.evaluate.intervals import mean_with_interval
from vitascope.evaluate.questions import FPS, NUM_SEEDS, SCENES_PER_SEED, SIZE, test_scene
from vitascope.toyland.oracle import JERK, jerks, judge, watch
from vitascope.toyland.scene import LASTING, PLAIN
from vitascope.types import Clip, Progress, Request, UserError

WINDOW_SECONDS = 2.0
"""The words of Toyland speak of two seconds."""

DIMENSIONS = ("permanence", "colour", "background", "smoothness", "flicker")
CURVES = ("permanence", "colour")
Generate = Callable[[Sequence[Request]], Sequence[Clip]]


@dataclass(frozen=True, eq=False)
class Maker:
    """What generates, how, and at which frames one of its chunks passes into the next."""

    generate: Generate
    made_with: Mapping[str, Any] = field(default_factory=dict)
    borders: tuple[int, ...] = ()


@dataclass(frozen=True)
class Course:
    """Scores of one maker: of each clip, window of two seconds by window, in the dimensions that the window has; and
    whether things go on without a jerk in moments that reach over the borders of chunks, and in the others."""

    maker: str
    made_with: Mapping[str, Any]
    clips: tuple[tuple[Mapping[str, float], ...], ...]
    across: tuple[bool, ...] = ()
    within: tuple[bool, ...] = ()

    def curve(self, dimension: str) -> list[float]:
        """The mean over clips, window by window."""
        return [
            mean([window.get(dimension, math.nan) for window in windows]) for windows in zip(*self.clips, strict=True)
        ]

    def over(self, dimension: str, first: int, last: int) -> dict[str, Any] | None:
        """The mean over clips of each one's mean in windows `first` to `last`, with its 95 % interval; None if no clip
        has the dimension there."""
        means = [mean([window.get(dimension, math.nan) for window in clip[first:last]]) for clip in self.clips]
        there = [value for value in means if not math.isnan(value)]
        return mean_with_interval(there, "lasting") if there else None

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Beginning, middle and end, in windows."""
        num = len(self.clips[0])
        return list(pairwise(sorted({0, num // 3, 2 * num // 3, num})))


@dataclass(frozen=True)
class LastingReport:
    """Curves of several makers, asked for the same scenes."""

    protocol: Mapping[str, Any]
    courses: tuple[Course, ...]

    def to_json(self) -> str:
        told = {
            course.maker: {
                "made_with": course.made_with,
                "curves": {name: [or_none(value) for value in course.curve(name)] for name in DIMENSIONS},
                "scores": [[dict(window) for window in clip] for clip in course.clips],
                "whole": {name: course.over(name, 0, len(course.clips[0])) for name in DIMENSIONS},
                "parts": [
                    {"seconds": _seconds(part), **{name: course.over(name, *part) for name in DIMENSIONS}}
                    for part in course.parts
                ],
                "smoothness_across_borders": or_none(mean(course.across)),
                "smoothness_within_chunks": or_none(mean(course.within)),
            }
            for course in self.courses
        }
        return json.dumps({"form": forms.LASTING, "protocol": self.protocol, "makers": told}, indent=1)

    def print(self, console: Console) -> None:
        title = "{num} scenes of {seconds:g} s, seed {seed}".format(**self.protocol)
        table = Table("seconds", "", *DIMENSIONS, title=title)
        for part in self.courses[0].parts:
            for course in self.courses:
                cells = [_cell(course.over(name, *part)) for name in DIMENSIONS]
                table.add_row("{:g} - {:g}".format(*_seconds(part)), course.maker, *cells)
        console.print(table)
        for course in self.courses:
            if course.across and course.within:
                across, within = mean(course.across), mean(course.within)
                console.print(
                    f"{course.maker}: without a jerk are {across:.3f} of {len(course.across)} moments across borders "
                    f"of chunks, and {within:.3f} of {len(course.within)} within chunks"
                )

    def plot(self, kind: str = "png") -> bytes:
        """Permanence and colour over time, a line for each maker, as a file of this kind."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise UserError(f"a plot needs matplotlib: {install('plot')}") from None
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(CURVES), sharey=True), CURVES, strict=True):
            for course in self.courses:
                times = [(number + 0.5) * WINDOW_SECONDS for number in range(len(course.clips[0]))]
                axes.plot(times, course.curve(name), marker="o", markersize=3, label=course.maker)
            axes.set(title=name, xlabel="seconds", ylim=(-0.03, 1.03))
            axes.grid(alpha=0.3)
        lines, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=len(names))
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=120)
        return file.getvalue()


def evaluate_lasting(
    makers: Mapping[str, Maker],
    *,
    seconds: float = 20.0,
    num: int = 4,
    seed: int = 0,
    batch: int = 4,
    progress: Progress | None = None,
) -> LastingReport:
    """Ask each maker for the same scenes, and judge its clips in windows of two seconds."""
    if num < 1 or batch < 1 or not 0 <= seed < NUM_SEEDS or not WINDOW_SECONDS <= seconds < math.inf:
        raise UserError(
            f"num and batch must be at least 1, seed from 0 to {NUM_SEEDS - 1} and seconds at least "
            f"{WINDOW_SECONDS:g}, got {num}, {batch}, {seed} and {seconds:g}"
        )
    protocol = {
        "suite": "lasting", "version": version("vitascope"), "seconds": seconds, "num": num, "seed": seed,
        "window_seconds": WINDOW_SECONDS, "size": list(SIZE), "fps": FPS,
    }  # fmt: skip
    scenes, done = lasting_scenes(num, seed), 0
    courses: list[Course] = []
    for name, maker in makers.items():
        across, within = list[bool](), list[bool]()
        judged: list[tuple[Mapping[str, float], ...]] = []
        for first in range(0, num, batch):
            asked = scenes[first : first + batch]
            wanted = [
                Request(toyland.caption(scene), num_frames=round(seconds * FPS), fps=FPS, size=SIZE, seed=first + k)
                for k, scene in enumerate(asked)
            ]
            for clip, scene in zip(maker.generate(wanted), asked, strict=True):
                at_borders, elsewhere = evenness(clip, scene, maker.borders)
                across += at_borders
                within += elsewhere
                judged.append(tuple(judge(window, scene) for window in windows_of(clip)))
            done += len(asked)
            if progress is not None:
                progress(done, num * len(makers))
        courses.append(Course(name, dict(maker.made_with), tuple(judged), tuple(across), tuple(within)))
    return LastingReport(protocol, tuple(courses))


def lasting_scenes(num: int, seed: int) -> list[toyland.Scene]:
    """Test scenes of one thing whose motion never ends, on plain backgrounds."""
    numbers = range(seed * SCENES_PER_SEED, (seed + 1) * SCENES_PER_SEED)
    scenes = (test_scene("seen", "one", number) for number in numbers)
    lasting = (scene for scene in scenes if scene.things[0].motion in LASTING and scene.background in PLAIN)
    found = list(islice(lasting, num))
    if len(found) < num:
        raise UserError(f"seed {seed} has {len(found)} scenes that last, and {num} were asked for; ask for fewer")
    return found


def windows_of(clip: Clip) -> Iterator[Clip]:
    """A clip in pieces of two seconds."""
    length = round(WINDOW_SECONDS * clip.fps)
    for start in range(0, clip.num_frames - length + 1, length):
        yield Clip(clip.pixels[start : start + length], clip.fps)


def evenness(clip: Clip, scene: toyland.Scene, borders: Collection[int]) -> tuple[list[bool], list[bool]]:
    """Whether things go on without a jerk, moment by moment: in moments that reach over one of `borders`, and in all
    others. A moment is the three or four frames of which a second or third difference is made. Of things that bounce
    nothing is told: the bounce itself is a jerk."""
    length = round(WINDOW_SECONDS * clip.fps)
    across, within = list[bool](), list[bool]()
    if any(thing.motion == "bounces" for thing in scene.things):
        return across, within
    for start in range(0, clip.num_frames - length + 1, length - 3):  # each third difference lies in one piece
        for jerk in jerks(watch(Clip(clip.pixels[start : start + length], clip.fps), scene)):
            reach = length - len(jerk)
            for first in np.flatnonzero(~np.isnan(jerk)):
                crosses = any(start + first < border <= start + first + reach for border in borders)
                (across if crosses else within).append(bool(jerk[first] < JERK))
    return across, within


def mean(values: Sequence[float] | Sequence[bool]) -> float:
    """Of what there is: a dimension may not apply to a window, and a clip may lack it in all."""
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else math.nan


def or_none(value: float) -> float | None:
    """JSON has no word for what is not a number."""
    return None if math.isnan(value) else value


def _seconds(part: tuple[int, int]) -> tuple[float, float]:
    return part[0] * WINDOW_SECONDS, part[1] * WINDOW_SECONDS


def _cell(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "-"
    return f"{told['mean']:.2f}" + (" ({:.2f}-{:.2f})".format(*told["interval"]) if told["interval"] else "")
