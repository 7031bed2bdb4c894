"""Toyland's test scenes as questions: what a model is asked, in which words, and what a perfect answer looks like."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

from vitascope import toyland
from vitascope.toyland.paraphrases import SCENERY_SAYINGS, SYNONYMS
from vitascope.toyland.sampling import TRAIN_SEEDS
from vitascope.toyland.scene import Kind, Split
from vitascope.types import Clip, Request, UserError

Captions = Literal["canonical", "paraphrased", "both"]
Task = Literal["text", "image", "prediction", "interpolation", "upsampling", "picture"]
Word = TypeVar("Word", bound=str)

KINDS: tuple[Kind, ...] = get_args(Kind)
SPLITS: tuple[Split, ...] = get_args(Split)
CAPTIONS: tuple[Captions, ...] = get_args(Captions)
TASKS: tuple[Task, ...] = get_args(Task)

NUM_FRAMES, SIZE, FPS = 16, (64, 64), 8.0
"""Of the clips asked for, whatever a model makes when it is not told: another size is another test."""

GIVEN: dict[Task, tuple[int, ...]] = {
    "text": (),
    "image": (0,),
    "prediction": (0, 1, 2, 3),
    "interpolation": (0, NUM_FRAMES - 1),
    "upsampling": tuple(range(0, NUM_FRAMES, 2)),
    "picture": (),
}
"""The frames of the true clip that are given. A picture is a clip of one frame, asked for in words."""

SCENES_PER_SEED = 100_000
NUM_SEEDS = TRAIN_SEEDS // SCENES_PER_SEED
"""Each seed has test scenes of its own, however many of them a run judges."""


@dataclass(frozen=True, eq=False)
class Question:
    """One test scene: how it is asked for, as far as its caption tells it, and what a perfect answer looks like."""

    number: int
    wanted: toyland.Scene
    truth: Clip
    request: Request


def question(split: Split, kind: Kind, number: int, captions: Captions, task: Task) -> Question:
    scene, length = test_scene(split, kind, number), length_of(task)
    text, truth = said(scene, captions, number), toyland.render(scene, length, SIZE[1], SIZE[0], FPS)
    known = {given: truth.pixels[given] for given in GIVEN[task]}
    request = Request(text, frames=known, num_frames=length, fps=FPS, size=SIZE, seed=number)
    return Question(number, asked(scene, text), truth, request)


def length_of(task: Task) -> int:
    return 1 if task == "picture" else NUM_FRAMES


def one_of(name: str, value: str, known: Sequence[Word]) -> Word:
    for word in known:
        if word == value:
            return word
    raise UserError(f"{name} must be one of {', '.join(known)}, got '{value}'")


def test_scene(split: Split, kind: Kind, number: int) -> toyland.Scene:
    return toyland.sample(random.Random(toyland.held_out_seed(split, number)), kind, split)


def refuse_another_size(clip: Clip, num_frames: int = NUM_FRAMES) -> None:
    """Clips of another size would be judged by other rules than the protocol says."""
    if (clip.num_frames, clip.size, clip.fps) != (num_frames, SIZE, FPS):
        raise UserError(
            f"toyland judges clips of {num_frames} frames, {SIZE[0]}x{SIZE[1]}, at {FPS:g} fps; this model made "
            f"{clip.num_frames} frames, {clip.size[0]}x{clip.size[1]}, at {clip.fps:g} fps: it cannot be judged here"
        )


def said(scene: toyland.Scene, captions: Captions, number: int) -> str:
    """The canonical sentence, or a paraphrase drawn from the scene's own seed."""
    if captions == "canonical" or (captions == "both" and number % 2 == 0):
        return toyland.caption(scene)
    rng = random.Random(f"{scene.seed} {number}")
    while (text := toyland.caption(scene, rng)) == toyland.caption(scene):
        pass  # some of what the grammar says is the canonical sentence
    return text


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
