"""What there is in toyland and how it moves: scenes as values, exact kinematics, and the sampling of scenes.

x is right, y is down, the short side of the picture spans -1 to 1, time is in seconds. Amounts are those of the first
two seconds at normal speed.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Split = Literal["seen", "unseen"]
Kind = Literal["one", "two", "relation", "count", "change", "interaction", "camera", "style"]
RGB = tuple[float, float, float]
Point = tuple[float, float]
Range = tuple[float, float]

SPAN_SECONDS = 2.0
TIMES = tuple(SPAN_SECONDS * step / 12 for step in range(13))
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (230, 38, 38),
    "green": (38, 191, 51),
    "blue": (51, 77, 242),
    "yellow": (242, 217, 38),
    "purple": (153, 51, 204),
    "orange": (250, 140, 26),
    "white": (247, 247, 247),
    "cyan": (51, 217, 230),
}
SIZES: dict[str, Range] = {"small": (0.15, 0.21), "large": (0.30, 0.40)}
SPEEDS = {"": 1.0, "slowly": 0.5, "quickly": 2.0}
PLAIN: dict[str, tuple[int, int, int]] = {
    "black": (10, 10, 10),
    "grey": (115, 115, 115),
    "navy": (15, 20, 77),
    "beige": (217, 199, 158),
}
TOO_ALIKE: dict[str, tuple[str, ...]] = {
    "beige": ("white", "yellow"),
    "meadow": ("green", "cyan", "white"),
    "beach": ("yellow", "cyan", "white"),
    "night": ("white",),
    "snow": ("white",),
}
"""Colours that are never sampled on a background, because they are hard to tell from something in it."""
SCENERY = ("meadow", "beach", "night", "snow")
BACKGROUNDS = (*PLAIN, *SCENERY)
RELATIONS: dict[str, Point] = {"to the left of": (-1, 0), "to the right of": (1, 0), "above": (0, -1), "below": (0, 1)}
CAMERAS: dict[str, tuple[float, float, float]] = {
    "pans left": (-0.5, 0.0, 1.0),
    "pans right": (0.5, 0.0, 1.0),
    "tilts up": (0.0, -0.5, 1.0),
    "tilts down": (0.0, 0.5, 1.0),
    "zooms in": (0.0, 0.0, 1.5),
    "zooms out": (0.0, 0.0, 1 / 1.5),
}
"""How far the camera goes right and down in two seconds, and its magnification then."""
STYLES = ("as a line drawing", "in black and white", "as pixel art")
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
HALF_WIDTHS = {
    "circle": 1.0,
    "square": 0.82,
    "triangle": 0.87,
    "star": 0.95,
    "ring": 1.0,
    "cross": 0.95,
    "heart": 0.96,
    "diamond": 0.7,
}
"""How far an upright shape of radius 1 reaches to each side: where two things touch."""


@dataclass(frozen=True)
class Thing:
    """One thing in words, and the numbers that pin down its trajectory; `radius`, `x`, `y` are those at time 0.

    `amount` is the distance, height, radius of the turn, angle or factor that the motion is about; `sign` is which way;
    `phase` is where on its circle it starts.
    """

    shape: str
    colour: str
    size: str
    motion: str = "stays still"
    speed: str = ""
    radius: float = 0.0
    x: float = 0.0
    y: float = 0.0
    amount: float = 0.0
    sign: int = 1
    phase: float = 0.0


@dataclass(frozen=True)
class Change:
    """What the only thing of a scene turns into (the other attribute stays), and when."""

    colour: str
    shape: str
    start_seconds: float = 0.8
    end_seconds: float = 1.2

    def progress(self, seconds: float) -> float:
        """0 before, 1 after, linear in between."""
        return min(1.0, max(0.0, (seconds - self.start_seconds) / (self.end_seconds - self.start_seconds)))


@dataclass(frozen=True)
class Scene:
    """A clip before it is drawn. Things are drawn in order; words that do not apply are empty.

    Relation and interaction are said of the first thing: it is above, or pushes, the second.
    """

    things: tuple[Thing, ...]
    background: str
    relation: str = ""
    interaction: str = ""
    change: Change | None = None
    camera: str = ""
    style: str = ""
    seed: int = 0

    @property
    def core(self) -> Kind:
        """The kind of the sentence without its suffix."""
        if self.change:
            return "change"
        if self.interaction or self.relation:
            return "interaction" if self.interaction else "relation"
        if len(self.things) == 1:
            return "one"
        return "count" if len({spoken(thing) for thing in self.things}) == 1 else "two"

    @property
    def kind(self) -> Kind:
        return "camera" if self.camera else "style" if self.style else self.core


class Pose(NamedTuple):
    """A thing at one moment. A shape that is changing lies `blend` of the way from `shape` to `into`."""

    x: float
    y: float
    radius: float
    angle: float  # clockwise, in radians
    visible: bool
    colour: RGB
    shape: str
    into: str
    blend: float


def spoken(thing: Thing) -> tuple[str, ...]:
    """What captions say of a thing."""
    return thing.size, thing.colour, thing.shape, thing.motion, thing.speed


def rgb(colour: str) -> RGB:
    red, green, blue = COLOURS[colour]
    return red / 255, green / 255, blue / 255


# Motions: a thing and its own clock (seconds times the factor of its speed) to a pose.


def still(thing: Thing, clock: float) -> Pose:
    return Pose(thing.x, thing.y, thing.radius, 0.0, True, rgb(thing.colour), thing.shape, thing.shape, 0.0)


def moves(direction: Point) -> Callable[[Thing, float], Pose]:
    def move(thing: Thing, clock: float) -> Pose:
        distance = thing.amount * clock / SPAN_SECONDS
        return still(thing, clock)._replace(x=thing.x + direction[0] * distance, y=thing.y + direction[1] * distance)

    return move


def bounces(thing: Thing, clock: float) -> Pose:
    fall = clock % 1.0  # one parabola a second, from the ground
    return still(thing, clock)._replace(y=thing.y - thing.amount * 4 * fall * (1 - fall))


def spins(thing: Thing, clock: float) -> Pose:
    return still(thing, clock)._replace(angle=thing.sign * thing.amount * clock / SPAN_SECONDS)


def circles(thing: Thing, clock: float) -> Pose:
    turned = thing.phase + thing.sign * 2 * math.pi * clock / SPAN_SECONDS
    x = thing.x + thing.amount * (math.cos(turned) - math.cos(thing.phase))
    y = thing.y + thing.amount * (math.sin(turned) - math.sin(thing.phase))
    return still(thing, clock)._replace(x=x, y=y)


def zigzags(thing: Thing, clock: float) -> Pose:
    legs = 3 * clock / SPAN_SECONDS  # three legs in two seconds: two reversals
    sway = 1 - abs(legs % 2 - 1)
    x = thing.x + thing.sign * thing.amount * clock / SPAN_SECONDS
    return still(thing, clock)._replace(x=x, y=thing.y - 0.7 * thing.amount * sway)


def grows(thing: Thing, clock: float) -> Pose:
    return still(thing, clock)._replace(radius=thing.radius * thing.amount ** (clock / SPAN_SECONDS))


def blinks(thing: Thing, clock: float) -> Pose:
    # The phase puts every switch halfway between two frames at 8 fps, at each speed.
    return still(thing, clock)._replace(visible=(clock / 0.75 + 5 / 24) % 1.0 < 2 / 3)


# Interactions: two things and the time to two poses.


def contact(first: Thing, second: Thing) -> float:
    """The distance of the centres of two things that touch side by side."""
    return HALF_WIDTHS[first.shape] * first.radius + HALF_WIDTHS[second.shape] * second.radius


def pushes(first: Thing, second: Thing, seconds: float) -> tuple[Pose, Pose]:
    distance = first.amount * seconds / SPAN_SECONDS
    gap = abs(second.x - first.x) - contact(first, second)
    one, other = still(first, seconds), still(second, seconds)
    pushed = max(0.0, distance - gap)
    return one._replace(x=one.x + first.sign * distance), other._replace(x=other.x + first.sign * pushed)


def chases(first: Thing, second: Thing, seconds: float) -> tuple[Pose, Pose]:
    fled = second.amount * seconds / SPAN_SECONDS
    gap = abs(second.x - first.x) - contact(first, second)
    followed = min(first.amount * seconds / SPAN_SECONDS, fled + gap - 0.08)  # never quite caught
    one, other = still(first, seconds), still(second, seconds)
    return one._replace(x=one.x + first.sign * followed), other._replace(x=other.x + first.sign * fled)


def orbits(first: Thing, second: Thing, seconds: float) -> tuple[Pose, Pose]:
    distance = math.hypot(first.x - second.x, first.y - second.y)
    turned = math.atan2(first.y - second.y, first.x - second.x) + first.sign * 2 * math.pi * seconds / SPAN_SECONDS
    x, y = second.x + distance * math.cos(turned), second.y + distance * math.sin(turned)
    return still(first, seconds)._replace(x=x, y=y), still(second, seconds)


def passes(first: Thing, second: Thing, seconds: float) -> tuple[Pose, Pose]:
    x = first.x + first.sign * first.amount * seconds / SPAN_SECONDS
    return still(first, seconds)._replace(x=x), still(second, seconds)


def rebounds(first: Thing, second: Thing, seconds: float) -> tuple[Pose, Pose]:
    distance = first.amount * seconds / SPAN_SECONDS
    gap = abs(second.x - first.x) - contact(first, second)
    x = first.x + first.sign * (gap - abs(gap - distance))
    return still(first, seconds)._replace(x=x), still(second, seconds)


def pose(thing: Thing, seconds: float, change: Change | None = None) -> Pose:
    """Where a thing that heeds no other is, and what it looks like, at a time."""
    now = MOTIONS[thing.motion](thing, seconds * SPEEDS[thing.speed])
    if change is None:
        return now
    blend = change.progress(seconds)
    before, after = rgb(thing.colour), rgb(change.colour)
    red, green, blue = (a + blend * (b - a) for a, b in zip(before, after, strict=True))
    return now._replace(colour=(red, green, blue), into=change.shape, blend=blend)


def poses(scene: Scene, seconds: float) -> list[Pose]:
    """All things at a time, in the order of `scene.things`, in the coordinates of the world (not of the camera)."""
    if scene.interaction:
        return list(INTERACTIONS[scene.interaction](scene.things[0], scene.things[1], seconds))
    return [pose(thing, seconds, scene.change) for thing in scene.things]


def camera_at(scene: Scene, seconds: float) -> tuple[float, float, float]:
    """(x, y, zoom) of the camera: what is at `p` in the world is seen at `(p - (x, y)) * zoom`."""
    if not scene.camera:
        return 0.0, 0.0, 1.0
    right, down, zoom = CAMERAS[scene.camera]
    part = seconds / SPAN_SECONDS
    return right * part, down * part, zoom**part


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


def test_seed(split: Split, index: int) -> int:
    """The seed of a test scene: each split has a range of its own."""
    if not 0 <= index < TRAIN_SEEDS:
        raise ValueError(f"the index of a test scene must be in 0 .. {TRAIN_SEEDS - 1}, got {index}")
    return TRAIN_SEEDS * (1 + get_args(Split).index(split)) + index


test_seed.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest take it for a test


def sample(rng: random.Random, kind: Kind | None = None, split: Split | None = None) -> Scene:
    """Draw a scene, of a `kind` drawn by `WEIGHTS` unless given, with or without an unseen triple if a `split` is."""
    kind = kind or rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    while True:
        template = draw_words(rng, kind)
        if is_clear(template) and split in (None, split_of(template)):
            scene = arrange(template, rng)
            if crowding(scene) <= 0:
                return scene


def draw_words(rng: random.Random, kind: Kind) -> Scene:
    """A scene in words only, with no regard for whether it makes a good picture."""

    def thing(motion: str = "stays still", speed: str = "") -> Thing:
        return Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.choice(list(SIZES)), motion, speed)

    motion = rng.choice(list(MOTIONS))
    backgrounds = SCENERY if kind == "camera" else rng.choices((tuple(PLAIN), SCENERY), (0.6, 0.4))[0]
    background, seed = rng.choice(backgrounds), rng.getrandbits(31)
    if kind == "one":
        return Scene(
            (thing(motion, rng.choice(("", *SPEEDS)) if motion != "stays still" else ""),), background, seed=seed
        )
    if kind == "two":
        return Scene((thing(motion), thing(rng.choice(list(MOTIONS)))), background, seed=seed)
    if kind == "relation":
        return Scene((thing(), thing()), background, relation=rng.choice(list(RELATIONS)), seed=seed)
    if kind == "count":
        return Scene((thing(motion),) * rng.choice((2, 3, 4)), background, seed=seed)
    if kind == "interaction":
        return Scene((thing(), thing()), background, interaction=rng.choice(list(INTERACTIONS)), seed=seed)
    if kind == "camera":
        return Scene((thing(motion),), background, camera=rng.choice(list(CAMERAS)), seed=seed)
    if kind == "style":
        return Scene((thing(motion),), background, style=rng.choice(STYLES), seed=seed)
    before, after = thing(), thing()
    after = replace(after, **({"shape": before.shape} if rng.random() < 0.5 else {"colour": before.colour}))
    return Scene((before,), background, change=Change(after.colour, after.shape), seed=seed)


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
    return not scene.style or first.size == "large" and (scene.style != "as pixel art" or first.motion != "spins")


def luma(colour: Sequence[float]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


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


MOTIONS: dict[str, Callable[[Thing, float], Pose]] = {
    "stays still": still,
    "moves left": moves((-1, 0)),
    "moves right": moves((1, 0)),
    "moves up": moves((0, -1)),
    "moves down": moves((0, 1)),
    "bounces": bounces,
    "spins": spins,
    "circles around": circles,
    "zigzags": zigzags,
    "grows": grows,
    "shrinks": grows,
    "blinks": blinks,
}
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
INTERACTIONS: dict[str, Callable[[Thing, Thing, float], tuple[Pose, Pose]]] = {
    "pushes": pushes,
    "chases": chases,
    "orbits around": orbits,
    "passes behind": passes,
    "bounces off": rebounds,
}
