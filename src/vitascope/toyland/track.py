"""From what is seen to what happens: shapes by templates, tracks by assignment, motions by fitting trajectories."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from vitascope.toyland.render import LINE, SHAPES
from vitascope.toyland.scene import BLINK_PHASE, BLINK_SECONDS, BLINK_SHARE, SPAN_SECONDS, SPEEDS
from vitascope.toyland.segment import PATCH, REACH, Sight, crop

SHAPE_NAMES = tuple(SHAPES)
RING = SHAPE_NAMES.index("ring")
TURNS = {
    "circle": 0,
    "square": 1 / 4,
    "triangle": 1 / 3,
    "star": 1 / 5,
    "ring": 0,
    "cross": 1 / 4,
    "heart": 1,
    "diamond": 1 / 2,
}
"""The part of a turn after which a shape looks the same again; a circle always does."""
STEP_DEGREES = 6
SHARPNESS = tuple(np.geomspace(1.2, 24, 18))  # radii in pixels for which there are templates
BLOCK_RADII = np.geomspace(1.2, 6.2, 240)  # of things in pixel art, in blocks
BLURS = (0.35, 0.7, 1.05)  # standard deviations in pixels: as drawn; after compression, which halves the colours' sides

CLEAR_PIXELS = 2.9  # the spread under which compression makes shapes hard to tell apart
COMPLETE = 0.03  # a thing at the border that misfits a shape by less is not cut off by it
TIE = 0.007  # two shapes that misfit by so much more or less than each other look the same

# How far a measurement may be off without meaning anything: in units, in logarithms, in radians.
PLACE_ERROR, GROWTH_ERROR, ANGLE_ERROR = 0.035, 0.06, 0.2
MISSING = 9.0  # what a frame costs in which a thing should be seen and is not, or the other way round
IMPOSSIBLE = 9.0  # a misfit and a cost above all that there are, so that it is chosen where nothing else is
# From frame to frame the nearest thing is the same one, unless one of the same colour, or of a spread nearer by a
# factor of e, is at most so many units further away.
OTHER_COLOUR, OTHER_SPREAD = 0.4, 0.3
MAX_LEAP, LATER_LEAP = 0.6, 0.1  # of a thing between two frames, and for each frame that it was hidden


# Shapes.


class Looks(NamedTuple):
    """What each thing looks like if it has each of the shapes. A misfit of 1 is that of an empty picture."""

    misfit: Float[ndarray, "n 8"]
    angle: Float[ndarray, "n 8"]
    radius: Float[ndarray, "n 8"]


@lru_cache(maxsize=2)
def ratios(outlined: bool) -> Float[ndarray, "8"]:
    """The radius of the disc that has the area of each shape of radius 1, holes filled or not."""
    side = np.linspace(-1.1, 1.1, 801, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    result = np.array([math.sqrt((shape(x, y) < 0).mean() * 2.2**2 / math.pi) for shape in SHAPES.values()])
    return np.where(np.arange(len(result)) == RING, 1.0, result) if outlined else result


@lru_cache(maxsize=4)
def templates(outlined: bool, unit: float) -> tuple[Int[ndarray, "m"], Float[ndarray, "m"], Float32[ndarray, "s m p"]]:
    """The shape, the angle and, for each sharpness, the picture of every template."""
    grid = np.linspace(-REACH, REACH, PATCH, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    counts = [max(1, round(360 * turn / STEP_DEGREES)) for turn in TURNS.values()]
    poses = [
        (shape, 2 * math.pi * turn * step / count)
        for shape, (turn, count) in enumerate(zip(TURNS.values(), counts, strict=True))
        for step in range(count)
    ]
    pictures = np.empty((len(SHARPNESS), len(poses), len(BLURS), PATCH, PATCH), np.float32)
    for index, (shape, angle) in enumerate(poses):
        ratio = ratios(outlined)[shape]
        cos, sin = np.float32(math.cos(angle) * ratio), np.float32(math.sin(angle) * ratio)
        distance = SHAPES[SHAPE_NAMES[shape]](cos * x + sin * y, cos * y - sin * x) / np.float32(ratio)
        for level, radius in enumerate(SHARPNESS):
            pixels = distance * radius
            if outlined:
                half = LINE * unit / 2
                pixels = abs(pixels + half) - half
            pictures[level, index] = np.clip(0.5 - pixels, 0, 1)
    for level, radius in enumerate(SHARPNESS):
        for index, blur in enumerate(BLURS):
            sigma = blur / radius * (PATCH - 1) / (2 * REACH)
            pictures[level, :, index] = ndimage.gaussian_filter(pictures[level, :, index], (0, sigma, sigma))
    shape_of, angle_of = np.repeat(np.array(poses), len(BLURS), 0).T
    return shape_of.astype(int), angle_of, pictures.reshape(len(SHARPNESS), -1, PATCH**2)


def recognise(sight: Sight, outlined: bool = False) -> Looks:
    """Compare the picture of each thing with all templates."""
    shape, angle, pictures = templates(outlined, sight.unit if outlined else 0.0)
    level = np.abs(np.log(sight.spread[:, None] * sight.unit / np.array(SHARPNESS))).argmin(1)
    flat = sight.pictures.reshape(len(level), PATCH**2)
    table = np.empty((len(level), len(shape)), np.float32)
    for index in np.unique(level):
        mine, known = flat[level == index], pictures[index]
        norm = np.einsum("mp,mp->m", known, known)
        table[level == index] = (np.einsum("np,np->n", mine, mine)[:, None] - 2 * mine @ known.T) / norm + 1
    best = best_of_each(shape, table)
    return Looks(np.take_along_axis(table, best, 1), angle[best], sight.spread[:, None] / ratios(outlined))


def best_of_each(shape: Int[ndarray, "m"], misfit: Float32[ndarray, "n m"]) -> Int[ndarray, "n 8"]:
    """The template of each shape that fits best; `shape` is in order."""
    starts = np.flatnonzero(np.diff(shape, prepend=-1))
    ends = [*starts[1:], len(shape)]
    return np.stack([start + misfit[:, start:end].argmin(1) for start, end in zip(starts, ends, strict=True)], 1)


@lru_cache(maxsize=1)
def sprites() -> tuple[Int[ndarray, "m"], Float[ndarray, "m"], Float[ndarray, "m"], Float32[ndarray, "m p"]]:
    """The shape, radius and spread in blocks, and picture of everything that pixel art can show of upright shapes.

    A thing in pixel art lies on the corners of its grid, so that a range of radii gives the same few blocks.
    """
    side = 2 * math.ceil(BLOCK_RADII[-1])
    grid = np.arange(side, dtype=np.float32) + 0.5 - side / 2
    across, down = (part / BLOCK_RADII[:, None, None].astype(np.float32) for part in np.meshgrid(grid, grid))
    found, shape, radius = [], [], []
    for which, draw in enumerate(SHAPES.values()):
        cover = np.stack([draw(x, y) < 0 for x, y in zip(across, down, strict=True)])
        different, drawn = np.unique(cover, axis=0, return_inverse=True)
        found.append(different)
        shape += [which] * len(different)
        radius += [BLOCK_RADII[drawn.ravel() == sprite].mean() for sprite in range(len(different))]
    blocks = np.concatenate(found).astype(np.float32)
    shown = np.flatnonzero(blocks.any((1, 2)))
    blocks, number = blocks[shown], np.arange(len(shown))
    area = blocks.sum((1, 2))
    middle_x, middle_y = (blocks.sum(axis) @ (grid + side / 2) / area for axis in (1, 2))
    spread = np.sqrt(area / math.pi)
    owner = ((number + 1)[:, None, None] * (blocks > 0)).astype(np.int32)
    pictures = crop(blocks, owner, number, middle_x, middle_y, spread)
    return np.array(shape)[shown], np.array(radius)[shown], spread, pictures.reshape(len(shown), -1)


def recognise_blocks(sight: Sight) -> Looks:
    """The same for pixel art, where the blocks leave less of a shape than its size and place would."""
    shape, radius, spread, known = sprites()
    mine, norm = sight.pictures.reshape(len(sight.frame), PATCH**2), np.einsum("mp,mp->m", known, known)
    table = (np.einsum("np,np->n", mine, mine)[:, None] - 2 * mine @ known.T) / norm + 1
    table += np.square(np.log(np.maximum(sight.spread[:, None] * sight.unit, 0.1) / spread))
    best = best_of_each(shape, table)
    misfit = np.take_along_axis(table, best, 1)
    return Looks(misfit, np.zeros_like(misfit), radius[best] / sight.unit)


# Tracks.


@dataclass(frozen=True, eq=False)
class Track:
    """One thing through time: NaN or -1 where it is not `present`. `whole`: neither cut off nor hidden."""

    seconds: Float[ndarray, "t"]
    present: Bool[ndarray, "t"]
    whole: Bool[ndarray, "t"]
    touches: Bool[ndarray, "t"]
    x: Float[ndarray, "t"]
    y: Float[ndarray, "t"]
    spread: Float[ndarray, "t"]
    pixels: Float[ndarray, "t"]  # of the screen, as many as its spread is
    colour: Int[ndarray, "t"]
    looks: Looks

    @property
    def use(self) -> Bool[ndarray, "t"]:
        """The frames in which shape and size can be told."""
        return self.whole if self.whole.any() else self.present

    @property
    def clear(self) -> Bool[ndarray, "t"]:
        """Of those, the frames in which it is not too small on the screen and stands alone, if there are enough."""
        clear = self.use & (np.nan_to_num(self.pixels) > CLEAR_PIXELS) & ~self.touches
        return clear if clear.sum() >= 0.25 * self.use.sum() else self.use

    @property
    def placed(self) -> Bool[ndarray, "t"]:
        """The frames in which its place can be told: enough of them to tell a motion."""
        return self.whole if self.whole.sum() > 3 else self.present

    @property
    def shapes(self) -> Int[ndarray, "t"]:
        """The shape that fits best in each frame."""
        return np.where(self.present, np.nan_to_num(self.looks.misfit, nan=IMPOSSIBLE).argmin(1), -1)

    def may_be(self, shape: int) -> Bool[ndarray, "t"]:
        """The frames in which no other shape fits clearly better."""
        best = np.min(self.looks.misfit, 1)
        return self.present & (np.nan_to_num(self.looks.misfit[:, shape], nan=IMPOSSIBLE) <= np.nan_to_num(best) + TIE)

    @property
    def shape(self) -> int:
        """The shape that fits best over all frames."""
        return int(np.minimum(self.looks.misfit[self.clear], 0.5).sum(0).argmin())

    @property
    def radius(self) -> Float[ndarray, "t"]:
        return self.looks.radius[:, self.shape]

    @property
    def expected(self) -> Bool[ndarray, "t"]:
        """The frames in which it should be seen: not those before it came in over the border, or after it left."""
        seen = np.flatnonzero(self.present)
        frame = np.arange(len(self.present))
        return ((frame >= seen[0]) | self.whole[seen[0]]) & ((frame <= seen[-1]) | self.whole[seen[-1]])

    def seen_by(self, x: Float[ndarray, "t"], y: Float[ndarray, "t"], zoom: Float[ndarray, "t"]) -> Track:
        """Where it is in the world if this is how the camera moves."""
        looks = self.looks._replace(radius=self.looks.radius / zoom[:, None])
        return replace(self, x=self.x / zoom + x, y=self.y / zoom + y, spread=self.spread / zoom, looks=looks)


def tracks(sight: Sight, seconds: Float[ndarray, "t"], looks: Looks) -> list[Track]:
    """Join what is seen from frame to frame: the nearest, preferably of the same colour and size."""
    chains: list[list[int]] = []
    for frame in range(len(seconds)):
        seen = np.flatnonzero(sight.frame == frame)
        last = [chain[-1] for chain in chains]
        taken = set()
        if len(last) and len(seen):
            leap = MAX_LEAP + LATER_LEAP * (frame - 1 - sight.frame[last])[:, None]
            apart = np.hypot(sight.x[last][:, None] - sight.x[seen], sight.y[last][:, None] - sight.y[seen])
            cost = apart + OTHER_COLOUR * (sight.colour[last][:, None] != sight.colour[seen])
            cost += OTHER_SPREAD * np.abs(np.log(sight.spread[last][:, None] / sight.spread[seen]))
            cost = np.where(apart < leap, cost, IMPOSSIBLE)
            for one, other in zip(*linear_sum_assignment(cost), strict=True):
                if cost[one, other] < IMPOSSIBLE:
                    chains[one].append(int(seen[other]))
                    taken.add(other)
        chains += [[int(index)] for other, index in enumerate(seen) if other not in taken]
    return [follow(sight, chain, seconds, looks) for chain in chains]


def follow(sight: Sight, chain: list[int], seconds: Float[ndarray, "t"], looks: Looks) -> Track:
    frames = sight.frame[chain]

    def through(values: ndarray, empty: float | int) -> ndarray:
        result = np.full((len(seconds), *values.shape[1:]), empty, type(empty))
        result[frames] = values[chain]
        return result

    present = through(np.ones(len(sight.frame), bool), False)
    whole = through(sight.whole | (looks.misfit.min(1) < COMPLETE), False)
    x, y, spread = (through(values, math.nan) for values in (sight.x, sight.y, sight.spread))
    appearance = Looks(*(through(values, math.nan) for values in looks))
    touches, colour = through(sight.touches, False), through(sight.colour, -1)
    return Track(seconds, present, whole, touches, x, y, spread, spread * sight.unit, colour, appearance)


# Motions.


class Family(NamedTuple):
    """The trajectories of one motion at one speed. Its path is a sum of two curves, weighted within `limits`."""

    motion: str
    speed: str
    curves: Float[ndarray, "t 2 2"]  # frame, curve, (x, y)
    limits: tuple[float, float] = (0.0, 0.0)
    growth: float = 0.0  # of the logarithm of the radius, a second
    turn: float = 0.0  # radians a second
    visible: Bool[ndarray, "t"] | None = None


class Fit(NamedTuple):
    """What a motion leaves unexplained of a track, a frame, in squares of the errors that mean nothing."""

    motion: str
    speed: str
    cost: float
    path: Float[ndarray, "t 2"]


@lru_cache(maxsize=8)
def families(times: tuple[float, ...]) -> tuple[Family, ...]:
    """Every motion at every speed. Of places nothing is known, of amounts only what the words mean."""
    seconds = np.array(times)
    none = np.zeros_like(seconds)

    def curves(*xy: Float[ndarray, "t"]) -> Float[ndarray, "t 2 2"]:
        return np.stack([*xy, *[none] * (4 - len(xy))], 1).reshape(-1, 2, 2)

    found = [Family("stays still", "", curves())]
    for speed, factor in SPEEDS.items():
        clock = seconds * factor
        part = clock / SPAN_SECONDS
        directions = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
        for name, (right, down) in directions.items():
            found.append(Family(f"moves {name}", speed, curves(right * part, down * part), (0.64, 1.27)))
        fall = clock % 1.0
        found.append(Family("bounces", speed, curves(none, -4 * fall * (1 - fall)), (0.3, 0.95)))
        sway = -0.7 * (1 - abs(3 * part % 2 - 1))
        for sign in (-1, 1):
            found.append(Family("zigzags", speed, curves(sign * part, sway), (0.45, 1.05)))
            cos, sin = np.cos(sign * 2 * math.pi * part), np.sin(sign * 2 * math.pi * part)
            found.append(Family("circles around", speed, curves(cos, sin, -sin, cos), (0.17, 0.42)))
            found.append(Family("spins", speed, curves(), turn=sign * 1.5 * math.pi * factor / SPAN_SECONDS))
        growth = math.log(1.8) * factor / SPAN_SECONDS
        found += [Family("grows", speed, curves(), growth=growth), Family("shrinks", speed, curves(), growth=-growth)]
        found.append(
            Family("blinks", speed, curves(), visible=(clock / BLINK_SECONDS + BLINK_PHASE) % 1.0 < BLINK_SHARE)
        )
    return tuple(found)


def fits(track: Track, shape: int, tolerance: float = 1.0) -> list[Fit]:
    """How well each motion explains a track, best first; a coarse picture needs more `tolerance`."""
    known, use = families(tuple(track.seconds)), track.placed
    place = np.stack([track.x, track.y], 1)
    paths = nearest_paths(place, use, known)
    off = np.square(place - paths).sum(2)[:, use] / (PLACE_ERROR * tolerance) ** 2
    cost = off.mean(1)

    growth = np.array([family.growth for family in known])[:, None] * track.seconds
    grown = (np.log(track.looks.radius[:, shape]) - growth)[:, use]
    grown -= np.median(grown, 1, keepdims=True)
    cost += np.minimum(np.square(grown / (GROWTH_ERROR * tolerance)), 32).mean(1)

    turn = np.array([family.turn for family in known])[:, None] * track.seconds
    if period := 2 * math.pi * list(TURNS.values())[shape]:
        turned = np.exp(2j * math.pi / period * (track.looks.angle[:, shape] - turn)[:, use])
        turned *= np.conj(turned.sum(1, keepdims=True))
        cost += np.minimum(np.square(np.angle(turned) * period / (2 * math.pi) / ANGLE_ERROR), 9).mean(1)
    visible = np.array([np.ones(len(use), bool) if family.visible is None else family.visible for family in known])
    cost += MISSING * ((track.present != visible) & track.expected).sum(1) / track.expected.sum()
    order = np.argsort(cost, kind="stable")
    return [Fit(known[i].motion, known[i].speed, float(cost[i]), paths[i]) for i in order]


def nearest_paths(
    place: Float[ndarray, "t 2"], use: Bool[ndarray, "t"], known: tuple[Family, ...]
) -> Float[ndarray, "f t 2"]:
    """The path of each family that comes nearest to the places in the frames in use."""
    curves = np.stack([family.curves for family in known])  # f t 2 2
    centre = place[use].mean(0)
    curves = curves - curves[:, use].mean(1, keepdims=True)
    gram = np.einsum("ftkd,ftld->fkl", curves[:, use], curves[:, use])
    right = np.einsum("ftkd,td->fk", curves[:, use], place[use] - centre)
    weights = np.linalg.solve(gram + 1e-6 * np.eye(2), right[..., None])[..., 0]
    low, high = np.array([family.limits for family in known]).T
    single = np.abs(curves[:, :, 1]).max((1, 2)) == 0
    length = np.where(single, weights[:, 0], np.linalg.norm(weights, axis=1))
    scale = np.clip(length, low, high) / np.where(np.abs(length) > 1e-9, length, 1)
    fallback = np.where(np.abs(length) > 1e-9, 0, low)  # a path without any extent: as small as the words allow
    weights = weights * scale[:, None] + np.stack([fallback, np.zeros_like(fallback)], 1)
    return centre + np.einsum("ftkd,fk->ftd", curves, weights)
