"""What there is in toyland and how it moves: scenes as values, and exact kinematics.

x is right, y is down, the short side of the picture spans -1 to 1, time is in seconds. Amounts are those of the first
two seconds at normal speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Split = Literal["seen", "unseen"]
Kind = Literal["one", "two", "relation", "count", "change", "interaction", "camera", "style"]
RGB = tuple[float, float, float]
Point = tuple[float, float]
Range = tuple[float, float]

SPAN_SECONDS = 2.0
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
LUMA = (0.299, 0.587, 0.114)
SIZES: dict[str, Range] = {"small": (0.15, 0.21), "large": (0.30, 0.40)}
SPEEDS = {"": 1.0, "slowly": 0.5, "quickly": 2.0}
PLAIN: dict[str, tuple[int, int, int]] = {
    "black": (10, 10, 10),
    "grey": (115, 115, 115),
    "navy": (15, 20, 77),
    "beige": (217, 199, 158),
}
SCENERY = ("meadow", "beach", "night", "snow")
BACKGROUNDS = (*PLAIN, *SCENERY)
RELATIONS: dict[str, Point] = {
    "to the left of": (-1.0, 0.0),
    "to the right of": (1.0, 0.0),
    "above": (0.0, -1.0),
    "below": (0.0, 1.0),
}
"""Which way it is from the second thing to the first."""
CAMERAS: dict[str, tuple[float, float, float]] = {
    "pans left": (-0.5, 0.0, 1.0),
    "pans right": (0.5, 0.0, 1.0),
    "tilts up": (0.0, -0.5, 1.0),
    "tilts down": (0.0, 0.5, 1.0),
    "zooms in": (0.0, 0.0, 1.5),
    "zooms out": (0.0, 0.0, 1 / 1.5),
}
"""How far the camera goes right and down in two seconds, and its magnification then."""
BLINK_SECONDS, BLINK_SHARE = 0.75, 2 / 3  # from one time of being seen to the next, and how much of that it is seen
BLINK_PHASE = 5 / 24  # puts every switch halfway between two frames at 8 fps, at each speed
STYLES = ("as a line drawing", "in black and white", "as pixel art")
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
    return still(thing, clock)._replace(visible=(clock / BLINK_SECONDS + BLINK_PHASE) % 1.0 < BLINK_SHARE)


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


MOTIONS: dict[str, Callable[[Thing, float], Pose]] = {
    "stays still": still,
    "moves left": moves((-1.0, 0.0)),
    "moves right": moves((1.0, 0.0)),
    "moves up": moves((0.0, -1.0)),
    "moves down": moves((0.0, 1.0)),
    "bounces": bounces,
    "spins": spins,
    "circles around": circles,
    "zigzags": zigzags,
    "grows": grows,
    "shrinks": grows,
    "blinks": blinks,
}
LASTING = ("stays still", "bounces", "spins", "circles around", "blinks")
"""Motions that go on for ever without leaving the picture."""

INTERACTIONS: dict[str, Callable[[Thing, Thing, float], tuple[Pose, Pose]]] = {
    "pushes": pushes,
    "chases": chases,
    "orbits around": orbits,
    "passes behind": passes,
    "bounces off": rebounds,
}
