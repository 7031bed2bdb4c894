"""What a score of clip and caption cannot read: a small trained matcher beside the oracle, on captions that are edited.

python benchmarks/captions.py --out DIR [--clips 60]

The matcher stands in for CLIPScore: it learned which caption of many belongs to a clip, which is easier than to read.
One word of the caption is made wrong, or the order, or it is denied; a score that reads is higher for the true one.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from rich.console import Console
from rich.table import Table

from vitascope import toyland
from vitascope.evaluate.catalogue import Networks
from vitascope.evaluate.intervals import Rate
from vitascope.evaluate.networks.features import Reader
from vitascope.evaluate.protocol import Protocol
from vitascope.recipes.toyland_matcher import Matcher, kept_or_trained
from vitascope.recipes.toyland_network import drawn
from vitascope.toyland.oracle import judge, passed
from vitascope.toyland.scene import CAMERAS, COLOURS, MOTIONS, RELATIONS, SHAPES, Kind, Scene
from vitascope.types import Clip

Edit = Callable[[Scene, random.Random], Scene]


def other_than(word: str, words: Sequence[str], rng: random.Random) -> str:
    return rng.choice([one for one in words if one != word])


def thing_with(name: str, words: Sequence[str]) -> Edit:
    """The only thing of a scene, with another word in one place."""

    def edit(scene: Scene, rng: random.Random) -> Scene:
        (thing,) = scene.things
        return replace(scene, things=(replace(thing, **{name: other_than(getattr(thing, name), words, rng)}),))

    return edit


def scene_with(name: str, words: Sequence[str]) -> Edit:
    return lambda scene, rng: replace(scene, **{name: other_than(getattr(scene, name), words, rng)})


def another_count(scene: Scene, rng: random.Random) -> Scene:
    return replace(scene, things=scene.things[:1] * int(other_than(str(len(scene.things)), "234", rng)))


def other_order(scene: Scene, rng: random.Random) -> Scene:
    del rng
    return replace(scene, things=scene.things[::-1])


def colours_swapped(scene: Scene, rng: random.Random) -> Scene:
    del rng
    one, other = scene.things
    return replace(scene, things=(replace(one, colour=other.colour), replace(other, colour=one.colour)))


EDITS: dict[str, tuple[Kind, Edit]] = {
    "another scene": ("one", lambda scene, rng: toyland.sample(rng, "one", "seen")),
    "another colour": ("one", thing_with("colour", list(COLOURS))),
    "another shape": ("one", thing_with("shape", SHAPES)),
    "another motion": ("one", thing_with("motion", list(MOTIONS))),
    "another camera": ("camera", scene_with("camera", list(CAMERAS))),
    "another count": ("count", another_count),
    "another relation": ("relation", scene_with("relation", list(RELATIONS))),
    "A above B for B above A": ("relation", other_order),
    "colours of A and B swapped": ("two", colours_swapped),
}
"""The kind of scene that is filmed, and what is said of it instead."""


WHO = ("matcher", "oracle")


def right(
    kind: Kind, edit: Edit, number: int, matcher: Matcher, network: Reader
) -> dict[str, tuple[bool, bool]] | None:
    """Whether the true caption wins over the edited one, and where both are denied, the edited one over the true.

    The oracle is right if it passes the one and not the other. None where the edit changes nothing.
    """
    rng = random.Random(f"{kind} {number}")
    scene = toyland.sample(rng, kind, "seen")
    wrong = edit(scene, rng)
    said, false = toyland.caption(scene), toyland.caption(wrong)
    if said == false:  # two of one colour have nothing to swap
        return None
    clip = drawn(scene)
    captions = [said, false, f"there is no {said}", f"there is no {false}"]
    one, other, not_one, not_other = matcher.cosines(network([clip]).expand(4, -1), captions).tolist()
    passes, fools = (passed(judge(Clip(clip.float() / 255), what)["all"]) for what in (scene, wrong))
    return {"matcher": (one > other, not_other > not_one), "oracle": (passes and not fools,) * 2}


def measured(num: int, matcher: Matcher, network: Reader) -> dict[str, dict[str, Rate]]:
    found: dict[str, dict[str, Rate]] = {}
    for name, (kind, edit) in EDITS.items():
        answers = [answer for n in range(num) if (answer := right(kind, edit, n, matcher, network)) is not None]
        for denied, row in enumerate((name, f"{name}, denied")):
            if denied and name != "another scene":
                continue
            found[row] = {who: Rate(sum(answer[who][denied] for answer in answers), len(answers)) for who in WHO}
        print(f"{name}: done", flush=True)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, required=True, help="a folder for the matcher, which is trained once")
    options.add_argument("--clips", type=int, default=60, help="for each edit")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    matcher = kept_or_trained(
        chosen.out / "matcher.safetensors", lambda step, loss: print(step, f"{loss:.3f}", flush=True)
    )
    table = Table("the caption is that of", "matcher right", "95 %", "oracle right", "95 %", "n")
    for name, rates in measured(chosen.clips, matcher, Networks({}, Protocol()).toyland).items():
        cells = [
            text for who in WHO for text in (f"{rates[who].value:.2f}", "{:.2f} .. {:.2f}".format(*rates[who].interval))
        ]
        table.add_row(name, *cells, str(rates["oracle"].count))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
