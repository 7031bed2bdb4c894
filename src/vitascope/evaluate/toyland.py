"""Toyland's test scenes asked of a model, and its clips judged by the exact oracle."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vitascope import toyland
from vitascope.evaluate.intervals import Rate
from vitascope.toyland.oracle import judge, passed
from vitascope.toyland.paraphrases import SCENERY_SAYINGS, SYNONYMS
from vitascope.types import Clip, Request, UserError

KINDS = ("one", "two", "relation", "count", "change", "interaction", "camera", "style")
SPLITS = ("seen", "unseen")
CAPTIONS = ("canonical", "paraphrased", "both")
TASKS = ("text", "image")


@dataclass(frozen=True)
class Report:
    """Pass rates by dimension, with the protocol under which they may be compared."""

    protocol: Mapping[str, Any]
    made: Mapping[str, Rate]
    ceiling: Mapping[str, Rate] = field(default_factory=dict)  # true clips through the model's own tokenizer
    squared_error: float = 0.0  # of the first frames returned to the first frames given, summed over clips
    num_given: int = 0

    def merge(self, other: Report) -> Report:
        """The report of both runs together; they must have the same protocol."""
        if self.protocol != other.protocol:
            differ = [name for name in self.protocol if self.protocol[name] != other.protocol.get(name)]
            raise UserError(f"reports of different protocols cannot be merged; they differ in {', '.join(differ)}")
        return Report(
            self.protocol,
            _added(self.made, other.made),
            _added(self.ceiling, other.ceiling),
            self.squared_error + other.squared_error,
            self.num_given + other.num_given,
        )

    def rates(self) -> dict[str, float]:
        return {dimension: rate.value for dimension, rate in self.made.items()}

    @property
    def psnr(self) -> float | None:
        """Of the first frames returned, in dB; None where none were given."""
        if not self.num_given:
            return None
        return -10 * math.log10(max(self.squared_error / self.num_given, 1e-10))

    def to_json(self) -> str:
        def told(rates: Mapping[str, Rate]) -> dict[str, Any]:
            return {
                name: {"rate": rate.value, "interval": rate.interval, "passed": rate.passed, "n": rate.count}
                for name, rate in rates.items()
            }

        content = {"protocol": self.protocol, "dimensions": told(self.made), "ceiling": told(self.ceiling)}
        return json.dumps({**content, "first_frame_psnr": self.psnr}, indent=1)

    def print(self, console: Console) -> None:
        wanted = self.protocol
        title = "{kind}, {split}, {captions} captions, task {task}, seed {seed}".format(**wanted)
        table = Table("dimension", "passed", "95 % interval", "n", "ceiling", title=title)
        for name, rate in sorted(self.made.items(), key=lambda item: item[0] == "all"):
            low, high = rate.interval
            best = f"{self.ceiling[name].value:.3f}" if name in self.ceiling else ""
            table.add_row(name, f"{rate.value:.3f}", f"{low:.3f} .. {high:.3f}", str(rate.count), best)
        console.print(table)
        if self.psnr is not None:
            console.print(f"first frame returned: {self.psnr:.1f} dB")


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
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Ask `generate` for `num` test scenes of one kind and judge what it makes.

    Scenes are numbered from `seed * num`, so that other seeds give other scenes; none was ever trained on. With
    `captions` "both", every second caption is a paraphrase. With `task` "image" the true first frame is given. `shard`
    (k, n) judges every nth scene from the kth; the reports of all shards merge to that of one run.
    """
    for name, value, known in (
        ("split", split, SPLITS), ("kind", kind, KINDS), ("captions", captions, CAPTIONS), ("task", task, TASKS)
    ):  # fmt: skip
        if value not in known:
            raise UserError(f"{name} must be one of {', '.join(known)}, got '{value}'")
    if not 0 <= shard[0] < shard[1]:
        raise UserError(f"shard must be a number and how many there are, such as (0, 4), got {shard}")
    if num < 1 or batch < 1 or seed < 0:
        raise UserError(f"num and batch must be at least 1 and seed at least 0, got {num}, {batch} and {seed}")
    protocol = {
        "suite": "toyland", "version": version("vitascope"), "split": split, "kind": kind, "num": num, "seed": seed,
        "captions": captions, "task": task, "num_frames": 16, "size": [64, 64], "fps": 8.0,
    }  # fmt: skip
    report, own = Report(protocol, {}), range(num)[shard[0] :: shard[1]]
    for first in range(0, len(own), batch):
        numbers = own[first : first + batch]
        scenes = [test_scene(split, kind, seed * num + number) for number in numbers]
        texts = [said(scene, captions, number) for scene, number in zip(scenes, numbers, strict=True)]
        truths = [toyland.render(scene) for scene in scenes]
        requests = [
            Request(text, {0: truth.pixels[0]} if task == "image" else {}, seed=seed * num + number)
            for text, truth, number in zip(texts, truths, numbers, strict=True)
        ]
        for clip, scene, text, truth in zip(generate(requests), scenes, texts, truths, strict=True):
            wanted = asked(scene, text)
            best = counted(encode_decode(truth), wanted) if encode_decode else {}
            error = first_frame_error(clip, truth.pixels[0]) if task == "image" else 0.0
            report = report.merge(Report(protocol, counted(clip, wanted), best, error, int(task == "image")))
        if progress is not None:
            progress(first + len(numbers), len(own))
    return report


def test_scene(split: str, kind: str, number: int) -> toyland.Scene:
    seed = toyland.test_seed(split, number)  # type: ignore[arg-type]
    return toyland.sample(random.Random(seed), kind, split)  # type: ignore[arg-type]


def said(scene: toyland.Scene, captions: str, number: int) -> str:
    """The canonical sentence, or a paraphrase drawn from the scene's own seed."""
    if captions == "canonical" or (captions == "both" and number % 2 == 0):
        return toyland.caption(scene)
    return toyland.caption(scene, random.Random(f"{scene.seed} {number}"))


def asked(scene: toyland.Scene, text: str) -> toyland.Scene:
    """The scene as far as a caption tells it: a size or a background that it leaves out is empty."""
    words = set(re.findall("[a-z]+", text))

    def is_said(thing: toyland.Thing) -> bool:
        sizes = SYNONYMS[thing.size]
        if len(set(scene.things)) == 1:
            return not words.isdisjoint(sizes)
        looks = (f"{thing.colour} {shape}" for shape in SYNONYMS.get(thing.shape, (thing.shape,)))
        return any(f"{size} {look}" in text for look in looks for size in sizes)

    things = tuple(thing if is_said(thing) else replace(thing, size="") for thing in scene.things)
    colours = SYNONYMS.get(scene.background, (scene.background,))
    places = SCENERY_SAYINGS.get(scene.background) or [f"{colour} back" for colour in colours]
    is_placed = any(place in text for place in places)
    return replace(scene, things=things, background=scene.background if is_placed else "")


def counted(clip: Clip, scene: toyland.Scene) -> dict[str, Rate]:
    return {dimension: Rate(int(passed(score)), 1) for dimension, score in judge(clip, scene).items()}


def first_frame_error(clip: Clip, given: Float[Tensor, "3 h w"]) -> float:
    return (clip.pixels[0] - given).square().mean().item()


def _added(one: Mapping[str, Rate], other: Mapping[str, Rate]) -> dict[str, Rate]:
    return {
        name: one.get(name, Rate()) + other.get(name, Rate()) for name in (*one, *(n for n in other if n not in one))
    }
