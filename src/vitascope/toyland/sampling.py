"""Random scenes that make good pictures, the triples kept out of training, and the seeds of every split."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vitascope.toyland.scene import (
    CAMERAS,
    COLOURS,
    INTERACTIONS,
    LUMA,
    MOTIONS,
    PLAIN,
    RELATIONS,
    SCENERY,
    SHAPES,
    SIZES,
    SPAN_SECONDS,
    SPEEDS,
    STYLES,
    Change,
    Kind,
    Point,
    Range,
    Scene,
    Split,
    Thing,
    camera_at,
    contact,
    poses,
)

WEIGHTS: dict[Kind, float] = {
    "one": 0.45,
    "two": 0.25,
    "relation": 0.06,
    "count": 0.06,
    "change": 0.06,
    "interaction": 0.04,
    "camera": 0.04,
    "style": 0.04,
}
TOO_ALIKE: dict[str, tuple[str, ...]] = {
    "beige": ("white", "yellow"),
    "meadow": ("green", "cyan", "white"),
    "beach": ("yellow", "cyan", "white"),
    "night": ("white",),
    "snow": ("white",),
}
"""Colours that are never sampled on a background, because they are hard to tell from something in it."""
AMOUNTS: dict[str, Range] = {
    "moves left": (0.8, 1.0),
    "moves right": (0.8, 1.0),
    "moves up": (0.8, 1.0),
    "moves down": (0.8, 1.0),
    "bounces": (0.5, 0.7),
    "spins": (1.5 * math.pi, 1.5 * math.pi),
    "circles around": (0.25, 0.3),
    "zigzags": (0.65, 0.8),
    "grows": (1.8, 1.8),
    "shrinks": (1 / 1.8, 1 / 1.8),
}
ATTRIBUTES: tuple[tuple[str, ...], ...] = (("colour",), ("shape",), ("size",), ("motion", "speed"))
"""What two things may exchange; a speed goes with its motion."""
TIMES = tuple(SPAN_SECONDS * step / 12 for step in range(13))


def triples(scene: Scene) -> set[tuple[str, str, str]]:
    """Every (colour, shape, motion) in a scene. The motion of two things that interact is what they do together."""
    things = {(thing.colour, thing.shape, scene.interaction or thing.motion) for thing in scene.things}
    if scene.change:
        things.add((scene.change.colour, scene.change.shape, scene.things[0].motion))
    return things


def is_unseen(colour: str, shape: str, motion: str) -> bool:
    """Whether a triple is kept out of training captions: one in ten is, the same everywhere and for ever."""
    digest = hashlib.blake2b(f"{colour} {shape} {motion}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % 10 == 0


def split_of(scene: Scene) -> Split:
    """`unseen` if at least one triple is."""
    return "unseen" if any(is_unseen(*triple) for triple in triples(scene)) else "seen"


TRAIN_SEEDS = 1_000_000_000


def train_seed(index: int) -> int:
    """The seed of a training scene; no test seed is one."""
    if not 0 <= index < TRAIN_SEEDS:
        raise ValueError(f"the index of a training scene must be in 0 .. {TRAIN_SEEDS - 1}, got {index}")
    return index


def held_out_seed(split: Split, index: int) -> int:
    """The seed of a test scene: each split has a range of its own."""
    if not 0 <= index < TRAIN_SEEDS:
        raise ValueError(f"the index of a test scene must be in 0 .. {TRAIN_SEEDS - 1}, got {index}")
    return TRAIN_SEEDS * (1 + get_args(Split).index(split)) + index


def sample(rng: random.Random, kind: Kind | None = None, split: Split | None = None) -> Scene:
    """Draw a scene, of a `kind` drawn by `WEIGHTS` unless given, with or without an unseen triple if a `split` is."""
    kind = kind or draw_kind(rng)
    while True:
        template = draw_words(rng, kind)
        if is_clear(template) and split in (None, split_of(template)):
            scene = arrange(template, rng)
            if crowding(scene) <= 0:
                return scene


def exchanged(scene: Scene, rng: random.Random) -> Scene | None:
    """A scene of the same words and another meaning: its two things have exchanged some of their attributes.

    It is of the same split. None where there is none, as of one thing or of two alike.
    """
    if len(scene.things) != 2:
        return None
    one, other = scene.things
    templates = []
    for names in subsets(ATTRIBUTES):
        things = tuple(
            replace(thing, **{name: getattr(partner, name) for name in names})
            for thing, partner in ((one, other), (other, one))
        )
        template = replace(scene, things=things)
        same = {worded(thing) for thing in things} == {worded(thing) for thing in scene.things}
        if not same and is_clear(template) and split_of(template) == split_of(scene):
            templates.append(template)
    for template in rng.sample(templates, len(templates)):
        twin = arrange(template, rng)
        if crowding(twin) <= 0:
            return twin
    return None


def subsets(groups: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The names of every choice of one or more groups."""
    chosen = chain.from_iterable(combinations(groups, count) for count in range(1, len(groups) + 1))
    return [tuple(chain.from_iterable(groups)) for groups in chosen]


def worded(thing: Thing) -> tuple[str, ...]:
    return tuple(getattr(thing, name) for names in ATTRIBUTES for name in names)


def draw_kind(rng: random.Random, weights: Mapping[Kind, float] = WEIGHTS) -> Kind:
    return rng.choices(list(weights), list(weights.values()))[0]


def draw_words(rng: random.Random, kind: Kind) -> Scene:
    """A scene in words only, with no regard for whether it makes a good picture."""
    motion = rng.choice(list(MOTIONS))
    backgrounds = SCENERY if kind == "camera" else rng.choices((tuple(PLAIN), SCENERY), (0.6, 0.4))[0]
    background, seed = rng.choice(backgrounds), rng.getrandbits(31)
    if kind == "one":
        speed = rng.choice(("", *SPEEDS)) if motion != "stays still" else ""
        return Scene((draw_thing(rng, motion, speed),), background, seed=seed)
    if kind == "two":
        return Scene((draw_thing(rng, motion), draw_thing(rng, rng.choice(list(MOTIONS)))), background, seed=seed)
    if kind == "relation":
        return Scene((draw_thing(rng), draw_thing(rng)), background, relation=rng.choice(list(RELATIONS)), seed=seed)
    if kind == "count":
        return Scene((draw_thing(rng, motion),) * rng.choice((2, 3, 4)), background, seed=seed)
    if kind == "interaction":
        pair = draw_thing(rng), draw_thing(rng)
        return Scene(pair, background, interaction=rng.choice(list(INTERACTIONS)), seed=seed)
    if kind == "camera":
        return Scene((draw_thing(rng, motion),), background, camera=rng.choice(list(CAMERAS)), seed=seed)
    if kind == "style":
        return Scene((draw_thing(rng, motion),), background, style=rng.choice(STYLES), seed=seed)
    before, after = draw_thing(rng), draw_thing(rng)
    recoloured = rng.random() < 0.5
    change = Change(after.colour, before.shape) if recoloured else Change(before.colour, after.shape)
    return Scene((before,), background, change=change, seed=seed)


def draw_thing(rng: random.Random, motion: str = "stays still", speed: str = "") -> Thing:
    return Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.choice(list(SIZES)), motion, speed)


def is_clear(scene: Scene) -> bool:
    """Whether everything that the words say could be seen in the picture."""
    first = scene.things[0]
    looks = [(thing.colour, thing.shape) for thing in scene.things]
    looks += [(scene.change.colour, scene.change.shape)] if scene.change else []
    if any(colour in TOO_ALIKE.get(scene.background, ()) for colour, _ in looks):
        return False
    if any(thing.motion == "spins" and thing.shape in ("circle", "ring") for thing in scene.things):
        return False
    if first.speed == "quickly" and (first.motion, first.size) in (("grows", "large"), ("shrinks", "small")):
        return False
    if scene.core not in ("one", "count") and len(set(looks)) < 2:
        return False
    if scene.interaction:  # what touches must differ in colour; two large things would not fit
        return len({thing.colour for thing in scene.things}) == 2 and any(t.size == "small" for t in scene.things)
    if scene.camera.startswith("zooms"):
        return first.motion not in ("grows", "shrinks")
    if scene.style == "in black and white":
        return scene.background in PLAIN and abs(luma(COLOURS[first.colour]) - luma(PLAIN[scene.background])) > 45
    if scene.style:  # lines and blocks are too coarse for small things, blocks for turning ones
        return first.size == "large" and not (scene.style == "as pixel art" and first.motion == "spins")
    return True


def luma(colour: tuple[int, int, int]) -> float:
    return sum(weight * value for weight, value in zip(LUMA, colour, strict=True))


def arrange(template: Scene, rng: random.Random) -> Scene:
    """Draw all numbers of a scene whose words are given: sizes, amounts, places. Best effort where it is narrow."""
    first, *rest = template.things
    if template.core == "count":  # alike also in what is not said; many large things have to be of the smaller ones
        things = (measured(first, rng, crowded=len(rest) > 1),) * len(template.things)
    else:
        things = tuple(measured(thing, rng) for thing in template.things)
    change = template.change
    if change:
        start_seconds = rng.uniform(0.6, 1.0)
        change = replace(change, start_seconds=start_seconds, end_seconds=start_seconds + 0.4)
    scene = replace(template, things=things, change=change)
    if scene.relation or scene.interaction:
        scene = replace(scene, things=paired(scene, rng))
        (shift,) = scattered(tracks(scene).reshape(1, -1, 3), edge(scene), rng)
        return moved(scene, [shift] * 2)
    seen = tracks(scene)
    best: list[Point] = []
    least = math.inf
    for attempt in range(60):
        shifts = scattered(seen, edge(scene), rng) if attempt < 30 else slotted(seen, edge(scene), rng)
        crowded = overlap(seen + [[(x, y, 0.0)] for x, y in shifts])
        if not best or crowded < least:
            best, least = shifts, crowded
        if least <= 0:
            break
    return moved(scene, best)


def measured(thing: Thing, rng: random.Random, crowded: bool = False) -> Thing:
    low, high = SIZES[thing.size]
    radius = rng.uniform(low, low + 0.4 * (high - low) if crowded else high)
    amount = rng.uniform(*AMOUNTS.get(thing.motion, (0.0, 0.0)))
    return replace(
        thing, radius=radius, amount=amount, sign=rng.choice((-1, 1)), phase=rng.uniform(0, 2 * math.pi), x=0.0, y=0.0
    )


def paired(scene: Scene, rng: random.Random) -> tuple[Thing, Thing]:
    """Two things that have to do with each other, placed relative to each other."""
    first, second = scene.things
    apart = first.radius + second.radius
    if scene.relation:
        right, down = RELATIONS[scene.relation]
        distance, aside = apart + rng.uniform(0.08, 0.3), rng.uniform(-0.15, 0.15)
        return replace(first, x=right * distance + down * aside, y=down * distance + right * aside), second
    touching, amount = contact(first, second), rng.uniform(0.9, 1.0)
    if scene.interaction == "orbits around":
        distance = apart + rng.uniform(0.08, 0.15)
        return replace(first, x=distance * math.cos(first.phase), y=distance * math.sin(first.phase)), second
    if scene.interaction == "passes behind":
        distance = apart + rng.uniform(0.06, 0.12)
        return replace(first, x=-first.sign * distance, y=rng.uniform(-0.05, 0.05), amount=2 * distance), second
    gap = {"chases": 0.35, "bounces off": 0.5}.get(scene.interaction, 0.4) * amount
    second = replace(second, x=first.sign * (touching + gap), amount=amount - 0.2)
    return replace(first, amount=1.1 * amount if scene.interaction == "bounces off" else amount), second


def tracks(scene: Scene) -> Float[ndarray, "things times 3"]:
    """Through the first two seconds, x and y from the middle of what the camera sees, and radius, before any zoom."""
    rows = []
    for seconds in TIMES:
        x, y, _ = camera_at(scene, seconds)
        rows.append([(now.x - x, now.y - y, now.radius) for now in poses(scene, seconds)])
    return np.array(rows).swapaxes(0, 1)


def edge(scene: Scene) -> float:
    """How far the camera sees in every direction, at its nearest."""
    return 1 / max(1.0, camera_at(scene, SPAN_SECONDS)[2])


def slacks(
    seen: Float[ndarray, "things times 3"], edge: float
) -> list[tuple[Float[ndarray, "2"], Float[ndarray, "2"]]]:
    """For each thing the shift that centres its travel, and how much more it can be shifted and stay in the picture."""
    found = []
    for track in seen:
        low, high = (track[:, :2] - track[:, 2:]).min(0), (track[:, :2] + track[:, 2:]).max(0)
        found.append((-(low + high) / 2, np.maximum(0, edge - (high - low) / 2)))
    return found


def scattered(seen: Float[ndarray, "things times 3"], edge: float, rng: random.Random) -> list[Point]:
    """Shifts that put each thing anywhere where it stays inside the picture, or as centred as can be."""
    return [
        (rng.uniform(middle[0] - half[0], middle[0] + half[0]), rng.uniform(middle[1] - half[1], middle[1] + half[1]))
        for middle, half in slacks(seen, edge)
    ]


def slotted(seen: Float[ndarray, "things times 3"], edge: float, rng: random.Random) -> list[Point]:
    """Shifts that put each thing into a quarter of its own, for scenes too narrow for chance."""
    corners = rng.sample([(x, y) for x in (-1, 1) for y in (-1, 1)], k=4)
    aside = edge * rng.uniform(0.36, 0.48)
    return [
        (middle[0] + aside * x, middle[1] + aside * y)
        for (middle, _), (x, y) in zip(slacks(seen, edge), corners, strict=False)
    ]


def moved(scene: Scene, shifts: Sequence[Point]) -> Scene:
    things = zip(scene.things, shifts, strict=True)
    return replace(
        scene, things=tuple(replace(thing, x=float(thing.x + x), y=float(thing.y + y)) for thing, (x, y) in things)
    )


def overlap(seen: Float[ndarray, "things times 3"]) -> float:
    """How deep the circles around two things overlap at worst; not positive if a little air is always left."""
    worst = -math.inf
    for index, one in enumerate(seen):
        for other in seen[:index]:
            apart = one - other
            worst = max(worst, float((one[:, 2] + other[:, 2] + 0.04 - np.hypot(apart[:, 0], apart[:, 1])).max()))
    return worst


def crowding(scene: Scene) -> float:
    """How deep things overlap at worst, or how far a centre leaves the picture; not positive in a good scene."""
    seen = tracks(scene)
    outside = float(abs(seen[:, :, :2]).max()) - 1.05 * edge(scene)
    return outside if scene.interaction else max(outside, overlap(seen))  # interactions ask for contact
