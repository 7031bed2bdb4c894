"""What moves: optical flow between two frames, taken apart into the camera's part and that of the things shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

GRID = 8  # flow is read at one pixel in so many each way
ROUNDS = 8
EDGE = 0.06  # of each side: what leaves or enters there has no partner


@dataclass(frozen=True)
class Camera:
    """Movement of the picture from one frame to another, in pixels of the frames given; x to the right, y down."""

    dx: float
    dy: float
    zoom: float  # 1.01: everything is 1 % larger
    turn: float  # radians, clockwise
    camera: float  # mean length of the flow that the camera explains
    objects: float  # mean length of the rest
    total: float


class Flow:
    """DIS flow with its buffers."""

    def __init__(self) -> None:
        self.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def between(self, here: UInt8[np.ndarray, "h w"], there: UInt8[np.ndarray, "h w"]) -> Camera:
        if min(here.shape) < 32:  # too small for the pyramid
            return Camera(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
        return camera_of(self.dis.calc(here, there, None), here)


def camera_of(flow: Float[np.ndarray, "h w 2"], picture: UInt8[np.ndarray, "h w"]) -> Camera:
    """Shift, zoom and turn that explain the flow best, found by weighing down again and again what they do not explain.

    Only places with texture count for the camera: on plain ones flow is a guess.
    """
    height, width = picture.shape
    rows = np.arange(int(EDGE * height) + GRID // 2, height - int(EDGE * height), GRID)
    columns = np.arange(int(EDGE * width) + GRID // 2, width - int(EDGE * width), GRID)
    y, x = (part.ravel() for part in np.meshgrid(rows, columns, indexing="ij"))
    moved = flow[y, x].astype(np.float64)
    across, down = (cv2.Sobel(picture, cv2.CV_16S, one, 1 - one) for one in (1, 0))
    steep = cv2.add(cv2.convertScaleAbs(across), cv2.convertScaleAbs(down), dtype=cv2.CV_16U)
    texture = cv2.blur(steep, (GRID, GRID))[y, x].astype(np.float64)
    sure = texture / (texture + 20.0)
    px, py = x - (width - 1) / 2, y - (height - 1) / 2
    zero, one = np.zeros(len(x)), np.ones(len(x))
    design = np.concatenate([np.stack([one, zero, px, -py]), np.stack([zero, one, py, px])], 1)
    target, found, middle = moved.T.ravel(), np.zeros(4), len(x) // 2
    trust = sure.copy()
    for _ in range(ROUNDS):
        weighted = design * np.concatenate([trust, trust])
        found = np.linalg.solve(weighted @ design.T + 1e-6 * np.eye(4), weighted @ target)
        rest = target - found @ design
        squared = rest[: len(x)] ** 2 + rest[len(x) :] ** 2
        scale = max(0.01, 2.25 * float(np.partition(squared, middle)[middle]))
        trust = sure / (1 + squared / scale) ** 2
    off = np.sqrt(squared)
    explained = np.hypot(*(found @ design).reshape(2, -1))
    return Camera(
        float(found[0]), float(found[1]), math.hypot(1 + found[2], found[3]), math.atan2(found[3], 1 + found[2]),
        float(explained.mean()), float(off.mean()), float(np.hypot(*moved.T).mean()),
    )  # fmt: skip
