"""Scenes to pixels: analytic shapes with edges one pixel soft, the same world at every size, length and rate."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray

from vitascope.toyland.grammar import caption
from vitascope.toyland.scene import LUMA, PLAIN, Pose, Scene, camera_at, poses
from vitascope.types import Clip

LINE = 0.06  # width of the lines of a drawing: 2 pixels at 64
BLOCKS = 16  # of pixel art, along the short side
HORIZON = 0.2
PERIOD = 3.2  # scenery repeats to the sides, so that a wide picture or a pan never runs out of it

RGB255 = tuple[int, int, int]
Grid = Float32[ndarray, "... #h #w"]


# Distances to the edges of shapes of radius 1, negative inside. The area of each has its centre at the origin.


def circle(x: Grid, y: Grid) -> Grid:
    return np.hypot(x, y) - 1


def square(x: Grid, y: Grid) -> Grid:
    return np.maximum(abs(x), abs(y)) - 0.82


def triangle(x: Grid, y: Grid) -> Grid:
    return np.maximum(0.8660254 * abs(x) - 0.5 * y, y) - 0.5


def star(x: Grid, y: Grid) -> Grid:
    inner = 0.45
    fifth = np.float32(0.4 * np.pi)
    turn = np.arctan2(x, -y)
    turn = abs(turn - fifth * np.round(turn / fifth))  # each fifth of the star onto half of its upper point
    distance = np.hypot(x, y)
    edge_x, edge_y = inner * np.sin(0.2 * np.pi), 1 - inner * np.cos(0.2 * np.pi)
    length = np.hypot(edge_x, edge_y)
    return distance * np.sin(turn) * np.float32(edge_y / length) + (distance * np.cos(turn) - 1) * np.float32(
        edge_x / length
    )


def ring(x: Grid, y: Grid) -> Grid:
    return abs(np.hypot(x, y) - 0.775) - 0.225


def cross(x: Grid, y: Grid) -> Grid:
    x, y = abs(x), abs(y)
    return np.maximum(np.maximum(x, y) - 0.95, np.minimum(x, y) - 0.31)


def heart(x: Grid, y: Grid) -> Grid:
    """After Inigo Quilez: two arcs and two straight sides."""
    scale = np.float32(0.63)
    x, y = scale * abs(x), np.float32(0.657) - scale * y
    along = 0.5 * np.maximum(x + y, 0)
    sides = np.sqrt(np.minimum(x**2 + (y - 1) ** 2, (x - along) ** 2 + (y - along) ** 2)) * np.sign(x - y)
    arcs = np.hypot(x - 0.25, y - 0.75) - np.float32(0.125**0.5)
    return np.where(x + y > 1, arcs, sides) / scale


def diamond(x: Grid, y: Grid) -> Grid:
    return (abs(x) + 0.7 * abs(y) - 0.7) * np.float32(1 / np.hypot(1, 0.7))


def render(
    scene: Scene, num_frames: int = 16, height: int = 64, width: int = 64, fps: float = 8.0, start_seconds: float = 0.0
) -> Clip:
    """Draw a scene. The short side shows -1 to 1; frame `k` shows the time `start_seconds + k / fps`."""
    if min(num_frames, height, width) < 1 or fps <= 0:
        raise ValueError(f"a clip needs frames, rows, columns and a rate, got {num_frames}, {height}, {width}, {fps}")
    rows, columns = height, width
    if scene.style == "as pixel art":
        rows, columns = (max(1, round(BLOCKS * side / min(height, width))) for side in (height, width))
    frames = np.empty((num_frames, 3, rows, columns), np.float32)
    if not scene.camera:
        frames[:] = scenery(scene, 0.0, rows, columns)  # the same at all times
    for index, frame in enumerate(frames):
        seconds = start_seconds + index / fps
        if scene.camera:
            frame[:] = scenery(scene, seconds, rows, columns)
        for now in poses(scene, seconds):
            if now.visible:
                paint(frame, now, camera_at(scene, seconds), scene.style)
    if scene.style == "in black and white":
        red, green, blue = frames.swapaxes(0, 1)
        frames[:] = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]
    if scene.style == "as pixel art":
        down, right = np.arange(height) * rows // height, np.arange(width) * columns // width
        frames = frames[:, :, down[:, None], right]
    return Clip(torch.from_numpy(frames), fps, caption(scene), {"scene": asdict(scene)})


def paint(frame: Float32[ndarray, "3 h w"], now: Pose, camera: tuple[float, float, float], style: str) -> None:
    """Draw one thing into a frame, in place, within the square that it can touch."""
    (height, width), (camera_x, camera_y, zoom) = frame.shape[1:], camera
    unit = min(height, width) / 2  # pixels
    radius = now.radius * zoom * unit
    x, y = (now.x - camera_x) * zoom * unit + width / 2, (now.y - camera_y) * zoom * unit + height / 2
    if style == "as pixel art":  # a sprite on its grid: what moves keeps its shape
        x, y = round(x), round(y)
    reach = 1.1 * radius + 2
    left, right = max(0, int(x - reach)), min(width, int(x + reach) + 1)
    top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    if left >= right or top >= bottom:
        return
    across = ((np.arange(left, right, dtype=np.float32) + np.float32(0.5 - x)) / np.float32(radius))[None]
    down = ((np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - y)) / np.float32(radius))[:, None]
    if now.angle:
        cos, sin = np.float32(np.cos(now.angle)), np.float32(np.sin(now.angle))
        across, down = cos * across + sin * down, cos * down - sin * across
    distance = SHAPES[now.shape](across, down)
    if now.blend and now.into != now.shape:
        distance = distance + np.float32(now.blend) * (SHAPES[now.into](across, down) - distance)
    distance = distance * np.float32(radius)
    if style == "as a line drawing":
        half = np.float32(LINE * unit / 2)
        distance = abs(distance + half) - half
    cover = (distance < 0).astype(np.float32) if style == "as pixel art" else np.clip(0.5 - distance, 0, 1)
    patch = frame[:, top:bottom, left:right]
    patch += cover * (np.array(now.colour, np.float32)[:, None, None] - patch)


def scenery(scene: Scene, seconds: float, height: int, width: int) -> Float32[ndarray, "3 h w"]:
    """The background as the camera sees it; a plain one looks the same from everywhere."""
    if scene.background in PLAIN:
        return np.broadcast_to(tint(PLAIN[scene.background]), (3, height, width))
    camera_x, camera_y, zoom = camera_at(scene, seconds)
    scale = np.float32(2 / min(height, width) / zoom)  # of one pixel, in the world
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) * scale + np.float32(camera_x)
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) * scale + np.float32(camera_y)
    look = SCENERY[scene.background]
    ground = np.clip((y - HORIZON) / scale + 0.5, 0, 1)[:, None]
    picture = tint(look.sky) + ground * (tint(look.ground) - tint(look.sky))
    picture = np.repeat(picture, width, axis=2)
    for scatter, places in zip(look.scatters, patches(scene.background, scene.seed), strict=True):
        down, aside = y - places[:, 1:], x - places[:, :1]
        aside = (aside + np.float32(PERIOD / 2)) % np.float32(PERIOD) - np.float32(PERIOD / 2)
        cover = np.exp(-0.5 * (down / scatter.height) ** 2).T @ np.exp(-0.5 * (aside / scatter.width) ** 2)
        picture += np.minimum(cover, 1) * (tint(scatter.colour) - picture)
    return np.round(picture * 12) / 12 if scene.style == "as pixel art" else picture


def tint(colour: RGB255) -> Float32[ndarray, "3 1 1"]:
    return np.array(colour, np.float32)[:, None, None] / 255


class Scatter(NamedTuple):
    """Soft clouds, tufts or stars, spread from side to side: what a moving camera can be seen by."""

    patches: int
    y: tuple[float, float]
    width: float
    height: float
    colour: RGB255


class Look(NamedTuple):
    """A scene background: sky, ground below the horizon, and what is scattered over them."""

    sky: RGB255
    ground: RGB255
    scatters: tuple[Scatter, ...]


@lru_cache(maxsize=256)
def patches(background: str, seed: int) -> list[Float32[ndarray, "patches 2"]]:
    """Where the patches of each scatter are; only the seed of the scene decides."""
    rng = random.Random(f"{background} {seed}")
    found = []
    for scatter in SCENERY[background].scatters:
        start, count = rng.random(), scatter.patches
        across = [((index + start + rng.uniform(-0.25, 0.25)) / count - 0.5) * PERIOD for index in range(count)]
        found.append(np.array([(x, rng.uniform(*scatter.y)) for x in across], np.float32))
    return found


SHAPES: dict[str, Callable[[Grid, Grid], Grid]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "ring": ring,
    "cross": cross,
    "heart": heart,
    "diamond": diamond,
}
SCENERY: dict[str, Look] = {
    "meadow": Look(
        (150, 200, 240),
        (92, 150, 62),
        (Scatter(3, (-0.85, -0.35), 0.2, 0.08, (235, 242, 250)), Scatter(4, (0.45, 0.95), 0.16, 0.06, (66, 116, 44))),
    ),
    "beach": Look(
        (150, 205, 240),
        (228, 204, 146),
        (Scatter(3, (-0.85, -0.35), 0.2, 0.08, (235, 242, 250)), Scatter(4, (0.45, 0.95), 0.16, 0.06, (200, 172, 114))),
    ),
    "night": Look((30, 32, 68), (8, 12, 16), (Scatter(8, (-1.3, 0.05), 0.035, 0.035, (205, 210, 230)),)),
    "snow": Look(
        (150, 156, 168),
        (238, 242, 247),
        (Scatter(3, (-0.85, -0.35), 0.2, 0.08, (188, 193, 202)), Scatter(4, (0.45, 0.95), 0.16, 0.06, (202, 212, 228))),
    ),
}
