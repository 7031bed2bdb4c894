"""Class to video: how sure the oracle is of what each clip shows, and how much that varies (an Inception Score)."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vitascope import toyland
from vitascope.evaluate import forms
from vitascope.evaluate.intervals import Rate, bootstrap_interval, resamples
from vitascope.evaluate.metrics.inception_score import inception_scores, shuffled
from vitascope.evaluate.questions import FPS, NUM_FRAMES, SIZE, one_of, test_scene
from vitascope.media import contact_sheet
from vitascope.toyland.oracle import ASKED, assign, watch
from vitascope.toyland.scene import COLOURS, MOTIONS, SHAPES, Scene, Thing
from vitascope.types import Clip, Request, UserError

DOUBT = 0.001
"""Added to the score of each class: no clip is proof that it shows nothing else."""

RESAMPLES = 300
Generate = Callable[[Sequence[Request]], Sequence[Clip]]


@dataclass(frozen=True, eq=False)
class ClassReport:
    """What the oracle takes clips for, and what they were asked to be."""

    protocol: Mapping[str, Any]
    made: Float[Tensor, "n classes"]
    true: Float[Tensor, "n classes"]
    asked: tuple[int, ...]

    def told(self) -> dict[str, dict[str, Any]]:
        return {"made": self._told(self.made), "true clips": self._told(self.true)}

    def _told(self, probabilities: Float[Tensor, "n classes"]) -> dict[str, Any]:
        score = inception_score(probabilities)
        drawn = resamples(len(probabilities), RESAMPLES, 0, "classes").long()
        again = [inception_score(probabilities.repeat_interleave(times, 0)) for times in drawn]
        right = sum(row.argmax().item() == asked for row, asked in zip(probabilities, self.asked, strict=True))
        rate = Rate(right, len(self.asked))
        return {
            "inception_score": score, "inception_score_interval": bootstrap_interval(score, again),
            "right": rate.value, "right_interval": rate.interval, "n": len(self.asked),
        }  # fmt: skip

    def to_json(self) -> str:
        return json.dumps({"form": forms.CLASSES, "protocol": self.protocol, "scores": self.told()}, indent=1)

    def print(self, console: Console) -> None:
        most = self.made.shape[1]
        table = Table(
            "",
            f"inception score (1 .. {most})",
            "shows its class",
            "n",
            title="classes by {attribute}".format(**self.protocol),
        )
        for maker, one in self.told().items():
            spread = " ({:.2f} .. {:.2f})".format(*(one["inception_score_interval"] or (math.nan, math.nan)))
            sure = " ({:.3f} .. {:.3f})".format(*one["right_interval"])
            table.add_row(maker, f"{one['inception_score']:.2f}{spread}", f"{one['right']:.3f}{sure}", str(one["n"]))
        console.print(table)


def evaluate_classes(
    generate: Generate,
    *,
    attribute: str = "colour",
    num: int = 64,
    seed: int = 0,
    batch: int = 16,
    encode_decode: Callable[[Clip], Clip] | None = None,
    made_with: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ClassReport:
    """Ask for `num` clips, the classes in turn; beside them true clips of the same classes, through the autoencoder."""
    names = CLASSES[one_of("attribute", attribute, tuple(CLASSES))]
    if num < 2 or batch < 1 or seed < 0:
        raise UserError(f"num must be at least 2, batch at least 1 and seed at least 0, got {num}, {batch} and {seed}")
    protocol = {
        **(made_with or {}), "suite": "classes", "version": version("vitascope"), "attribute": attribute, "num": num,
        "seed": seed, "num_frames": NUM_FRAMES, "size": list(SIZE), "fps": FPS, "doubt": DOUBT,
    }  # fmt: skip
    made: list[Tensor] = []
    true: list[Tensor] = []
    for first in range(0, num, batch):
        numbers = range(first, min(first + batch, num))
        wanted = [
            Request(names[number % len(names)], num_frames=NUM_FRAMES, fps=FPS, size=SIZE, seed=seed * num + number)
            for number in numbers
        ]
        made += [probabilities(clip, attribute) for clip in generate(wanted)]
        for number in numbers:
            clip = true_clip(attribute, names[number % len(names)], seed * num + number)
            true.append(probabilities(clip if encode_decode is None else encode_decode(clip), attribute))
        if progress is not None:
            progress(numbers.stop, num)
    return ClassReport(protocol, torch.stack(made), torch.stack(true), tuple(k % len(names) for k in range(num)))


def labelled(clips: Sequence[Clip], attribute: str) -> Float[Tensor, "3 h w"]:
    """The first clips of a test as one picture, each with the class that was asked for below it."""
    names = CLASSES[attribute]
    return contact_sheet(clips, labels=[names[number % len(names)] for number in range(len(clips))])


def probabilities(clip: Clip, attribute: str) -> Float[Tensor, "classes"]:
    """How much the oracle believes in each class: its score of a scene that asks for nothing else, made a share."""
    scenes = [scene_of(attribute, name) for name in CLASSES[attribute]]
    seen = watch(clip, scenes[0])  # once: what is in a clip does not depend on the question, only who is who
    views = (replace(seen, scene=scene, cast=assign(seen.lasting, scene)) for scene in scenes)
    scores = torch.tensor([(ASKED[attribute](view) or 0.0) + DOUBT for view in views])
    return scores / scores.sum()


def scene_of(attribute: str, name: str) -> Scene:
    """Of the other attributes any will do: that of the shape is one whose turns can be seen."""
    thing: dict[str, Any] = {"shape": "square", "colour": "red", "motion": "stays still", attribute: name}
    return Scene((Thing(size="", **thing),), "")


def true_clip(attribute: str, name: str, number: int) -> Clip:
    """A test scene of one thing that is of this class."""
    rng = random.Random(f"{attribute} {name} {number}")
    while True:
        scene = test_scene("seen", "one", rng.randrange(10**8))
        if getattr(scene.things[0], attribute) == name:
            return toyland.render(scene, NUM_FRAMES, SIZE[1], SIZE[0], FPS)


def inception_score(probabilities: Float[Tensor, "n classes"]) -> float:
    """In one split: the sets are small."""
    return inception_scores(probabilities, shuffled(len(probabilities)), splits=1)[0]


CLASSES: dict[str, tuple[str, ...]] = {"colour": tuple(COLOURS), "shape": SHAPES, "motion": tuple(MOTIONS)}
