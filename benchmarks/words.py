"""What a model heeds of a caption: its error on clips of one thing, and with one word of their captions exchanged.

python benchmarks/words.py [--model DIR] [--num 48] [--given 0] [--two]

An error that an exchanged word does not raise tells that the word is not heeded; at high levels, where the video is
decided, that is a word which a sample will not show. With `--two` clips show two things, which exchange attributes: the
words stay the same and mean another scene, and a model to which a caption is a bag of words makes no difference. Clips
are of the training's law and from beyond its clips.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import count as count_up
from itertools import islice
from pathlib import Path

import torch

from vitascope import noise, toyland
from vitascope.conditions import framing_of, micro_conditions
from vitascope.recipes.toyland import KindMix, ToylandConfig
from vitascope.sample.loading import load_own
from vitascope.system import VideoModel
from vitascope.toyland.scene import COLOURS, SHAPES, SIZES

FIRST = 3_000_000
LEVELS = (0.5, 0.7, 0.85, 0.93, 0.97)
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path)
    parser.add_argument("--num", type=int, default=48, help="clips")
    parser.add_argument("--given", type=int, default=0, help="known first frames")
    parser.add_argument("--two", action="store_true", help="things that exchange what is said of them")
    args = parser.parse_args()
    model = load_own(args.model, "cpu").system
    scenes = pairs(args.num) if args.two else moving(args.num)
    print(f"mean squared error of the velocity at levels {', '.join(f'{level:.2f}' for level in LEVELS)}")
    rng = random.Random(0)
    for name, said in (twins(scenes) if args.two else exchanges(scenes, rng)).items():
        errors = " ".join(f"{errors_at(model, scenes, said, level, args.given):.4f}" for level in LEVELS)
        print(f"{name:24} {errors}")


def moving(count: int) -> list[toyland.Scene]:
    """Scenes of one thing that moves left, right, up or down."""
    kinds = dict.fromkeys(KindMix().weights, 0.0) | {"one": 1.0}
    source = ToylandConfig(kinds=KindMix(**kinds)).build()
    scenes, index = [], FIRST
    while len(scenes) < count:
        scene = source.scene(index)
        if scene.things[0].motion.removeprefix("moves ") in OPPOSITE:
            scenes.append(scene)
        index += 1
    return scenes


def pairs(count: int) -> list[toyland.Scene]:
    """Scenes of two things that have something to exchange."""
    kinds = dict.fromkeys(KindMix().weights, 0.0) | {"two": 1.0}
    source = ToylandConfig(kinds=KindMix(**kinds)).build()
    drawn = (source.scene(FIRST + index) for index in count_up())
    return list(islice((scene for scene in drawn if toyland.exchanged(scene, random.Random(0))), count))


def twins(scenes: list[toyland.Scene]) -> dict[str, list[str]]:
    """Captions: as they are, of the scene in which the two have exchanged something, and none."""
    others = [toyland.exchanged(scene, random.Random(0)) for scene in scenes]
    exchanged = [toyland.caption(other) for other in others if other is not None]
    return {
        "right caption": [*map(toyland.caption, scenes)],
        "things exchanged": exchanged,
        "no caption": [""] * len(scenes),
    }


def exchanges(scenes: list[toyland.Scene], rng: random.Random) -> dict[str, list[str]]:
    """Captions: as they are, with one word exchanged, and none."""
    said: dict[str, list[str]] = {}
    for scene in scenes:
        thing = scene.things[0]
        told = {
            "right caption": toyland.caption(scene),
            "other shape": but(scene, shape=another(SHAPES, thing.shape, rng)),
            "other colour": but(scene, colour=another(COLOURS, thing.colour, rng)),
            "other size": but(scene, size=another(SIZES, thing.size, rng)),
            "opposite motion": but(scene, motion=f"moves {OPPOSITE[thing.motion.removeprefix('moves ')]}"),
            "no caption": "",
        }
        for name, caption in told.items():
            said.setdefault(name, []).append(caption)
    return said


def but(scene: toyland.Scene, **changes: str) -> str:
    """The caption of the scene, were its thing another."""
    return toyland.caption(replace(scene, things=(replace(scene.things[0], **changes),)))


def another(names: Iterable[str], name: str, rng: random.Random) -> str:
    return rng.choice([other for other in names if other != name])


@torch.no_grad()
def errors_at(model: VideoModel, scenes: list[toyland.Scene], said: list[str], level: float, given: int) -> float:
    total = 0.0
    for first in range(0, len(scenes), BATCH):
        shown, captions = scenes[first : first + BATCH], said[first : first + BATCH]
        clips = [toyland.render(scene) for scene in shown]
        clean = model.tokenizer.encode(torch.stack([clip.pixels for clip in clips]))
        b, t = clean.shape[:2]
        known = (torch.arange(t) < given).expand(b, t)
        cond = model.conditions(captions, known, clean, micro_conditions([framing_of(clip) for clip in clips], t))
        ends = noise.Estimate(clean, torch.randn(clean.shape, generator=torch.Generator().manual_seed(first)))
        levels = torch.full((b, t), level)
        path = model.objective.path
        believed = model.estimate(noise.mix(path, ends, levels), levels, cond)
        error = (noise.velocity(path, believed, levels) - noise.velocity(path, ends, levels)).square().mean(2)
        total += cond.mean_of_made(error).item() * b
    return total / len(scenes)


if __name__ == "__main__":
    main()
