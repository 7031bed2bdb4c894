"""Toyland in the round: a cube or a pyramid with coloured faces on a turntable, seen from any side.

World: x right, y up, z towards the camera at azimuth 0. Azimuth goes round the vertical axis, elevation up from the
horizon, both in degrees; the camera looks at the origin, where the solid stands.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from vitascope.toyland.scene import COLOURS, PLAIN

AZIMUTHS = (30.0, 90.0, 150.0, 210.0, 270.0, 330.0)
ELEVATIONS = (30.0, -20.0, 30.0, -20.0, 30.0, -20.0)
"""Of the novel views, those of Zero123++; azimuths count from the first view, elevations from the horizon."""

NUM_VIEWS = 1 + len(AZIMUTHS)
UNPAINTED = (60, 60, 60)
CAMERA_DISTANCE = 5.0
SAMPLES = 3  # per pixel, in each direction

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """A convex solid whose opposite faces are alike, so that one look from above at a corner tells what all sides are.

    Of a pyramid `colours` are those of its four sides, two by two; its base, which only a look from below shows, is
    never painted. `turn` is the angle about the vertical at which it stands, `elevation` that of the first view.
    """

    shape: str
    colours: tuple[str, ...]
    background: str
    radius: float
    turn: float
    elevation: float


def sample_solid(rng: random.Random) -> Solid:
    """A solid of which the first view shows two sides and the top."""
    shape, background = rng.choice(list(FACES)), rng.choice(list(PLAIN))
    clear = [name for name in COLOURS if background != "beige" or name not in ("white", "yellow")]
    colours = tuple(rng.sample(clear, 3 if shape == "cube" else 2))
    turn = rng.uniform(25.0, 65.0)
    return Solid(shape, colours, background, rng.uniform(0.42, 0.52), turn, rng.uniform(20.0, 40.0))


def cameras(solid: Solid) -> list[tuple[float, float]]:
    """Azimuth and elevation of the first view and of the novel ones."""
    return [(0.0, solid.elevation), *zip(AZIMUTHS, ELEVATIONS, strict=True)]


def render_views(solid: Solid, size: int = 64) -> Float[Tensor, "v 3 h w"]:
    """The first view and the novel ones, in order."""
    return torch.stack([render_view(solid, azimuth, elevation, size) for azimuth, elevation in cameras(solid)])


def render_view(solid: Solid, azimuth: float, elevation: float, size: int = 64) -> Float[Tensor, "3 h w"]:
    """One look at a solid. The picture spans -1 to 1 at the distance of its centre."""
    fine = size * SAMPLES
    picture = np.empty((3, fine, fine), np.float32)
    picture[:] = _rgb(PLAIN[solid.background])
    line = (np.arange(fine, dtype=np.float32) + 0.5) * (2 / fine) - 1
    for corners, colour in FACES[solid.shape]:
        seen = [project(_turned(corner, solid.turn), azimuth, elevation, solid.radius) for corner in corners]
        if inside := _polygon(seen, line):
            inside_rows, inside_columns, mask = inside
            paint = UNPAINTED if colour is None else COLOURS[solid.colours[colour]]
            piece = picture[:, inside_rows, inside_columns]
            piece[:] = np.where(mask, _rgb(paint), piece)
    coarse = picture.reshape(3, size, SAMPLES, size, SAMPLES).mean((2, 4))
    return torch.from_numpy(coarse)


def project(point: Point, azimuth: float, elevation: float, radius: float) -> tuple[float, float]:
    """Where a point of a solid of this radius is seen: right and down."""
    x, y, z = _turned((radius * point[0], radius * point[1], radius * point[2]), -azimuth)
    tilt = math.radians(elevation)
    up, towards = y * math.cos(tilt) - z * math.sin(tilt), y * math.sin(tilt) + z * math.cos(tilt)
    scale = CAMERA_DISTANCE / (CAMERA_DISTANCE - towards)
    return x * scale, -up * scale


def _turned(point: Point, degrees: float) -> Point:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y, z = point
    return cos * x + sin * z, y, cos * z - sin * x


def _polygon(corners: list[tuple[float, float]], line: Float[ndarray, "n"]) -> tuple[slice, slice, ndarray] | None:
    """The rows and columns that a convex face can touch, and which of their points it covers; None from behind.

    Corners of a face go round it clockwise as its outside is seen.
    """
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    if sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in edges) <= 0:
        return None
    rows, columns = (
        slice(*np.searchsorted(line, (min(values), max(values))))
        for values in ([y for _, y in corners], [x for x, _ in corners])
    )
    down, right = line[rows, None], line[None, columns]
    mask = np.ones((down.shape[0], right.shape[1]), bool)
    for (x, y), (next_x, next_y) in edges:
        mask &= (next_x - x) * (down - y) - (next_y - y) * (right - x) >= 0
    return rows, columns, mask


def _rgb(colour: tuple[int, int, int]) -> Float[ndarray, "3 1 1"]:
    return np.array(colour, np.float32)[:, None, None] / 255


def _cube() -> list[tuple[list[Point], int | None]]:
    front: list[Point] = [(-1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, -1.0, 1.0), (-1.0, -1.0, 1.0)]
    top: list[Point] = [(-1.0, 1.0, -1.0), (1.0, 1.0, -1.0), (1.0, 1.0, 1.0), (-1.0, 1.0, 1.0)]
    bottom: list[Point] = [(-1.0, -1.0, 1.0), (1.0, -1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, -1.0, -1.0)]
    return [*_round(front), (top, 2), (bottom, 2)]


def _pyramid() -> list[tuple[list[Point], int | None]]:
    front: list[Point] = [(0.0, 1.1, 0.0), (1.0, -0.7, 1.0), (-1.0, -0.7, 1.0)]
    base: list[Point] = [(-1.0, -0.7, 1.0), (1.0, -0.7, 1.0), (1.0, -0.7, -1.0), (-1.0, -0.7, -1.0)]
    return [*_round(front), (base, None)]


def _round(front: list[Point]) -> list[tuple[list[Point], int | None]]:
    """Four sides like the front one, opposite ones in one colour."""
    return [([_turned(point, 90.0 * side) for point in front], side % 2) for side in range(4)]


FACES = {"cube": _cube(), "pyramid": _pyramid()}
"""Corners of each face, clockwise from outside, and the number of its colour; None: unpainted."""
