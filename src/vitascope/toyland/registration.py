"""How the camera moves: the motion that makes the background stand still."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from scipy import ndimage

from vitascope.toyland.scene import CAMERAS, SPAN_SECONDS
from vitascope.toyland.segment import Sight, Video


def find_camera(
    video: Video, sight: Sight, seconds: Float[ndarray, "t"]
) -> tuple[str, tuple[Float[ndarray, "t"], ...]]:
    """The camera motion that makes the background stand still, and where the camera is at each time."""
    gray = ndimage.uniform_filter(video.mean(-1), (0, 3, 3))

    def path(name: str, rate: float) -> tuple[Float[ndarray, "t"], ...]:
        right, down, zoom = CAMERAS[name] if name else (0.0, 0.0, 1.0)
        part = rate * seconds / SPAN_SECONDS
        return right * part, down * part, zoom**part

    def unrest(name: str, rate: float) -> float:
        return restlessness(gray, sight.free, sight.unit, path(name, rate))

    name = min(("", *CAMERAS), key=lambda name: unrest(name, 1.0))
    rate = min((1.0, 0.6, 0.8, 1.25, 1.5), key=lambda rate: unrest(name, rate)) if name else 0.0
    return name, path(name, rate)


def restlessness(
    gray: Float32[ndarray, "t h w"], free: Bool[ndarray, "t h w"], unit: float, path: tuple[Float[ndarray, "t"], ...]
) -> float:
    """The variance over time of points of the background that a camera on this path would hold fast."""
    frames, height, width = gray.shape
    middle = frames // 2
    inside, at = [], []
    for position, side in ((path[1], height), (path[0], width)):
        step = max(1, round(unit / 16))
        world = (np.arange(0, side, step) + 0.5 - side / 2) / unit / path[2][middle] + position[middle]
        pixel = np.floor((world - position[:, None]) * path[2][:, None] * unit + side / 2).astype(int)
        inside.append((pixel >= 0) & (pixel < side))
        at.append(np.clip(pixel, 0, side - 1))
    index = np.arange(frames)[:, None, None], at[0][:, :, None], at[1][:, None]
    weight = free[index] & inside[0][:, :, None] & inside[1][:, None]
    values = gray[index] * weight
    number = weight.sum(0)
    spread = (values**2).sum(0) - values.sum(0) ** 2 / np.maximum(number, 1)
    return float(spread.sum() / max(1, number.sum()))
