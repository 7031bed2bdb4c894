"""What moves: optical flow between two frames, taken apart into the camera's part and that of the things shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Complex128, Float, Int64, UInt8

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
    x, y, place = _grid(*picture.shape)
    across, down = flow[y, x].astype(np.float64).T
    moved = across + 1j * down
    along, below = (cv2.convertScaleAbs(cv2.Sobel(picture, cv2.CV_16S, one, 1 - one)) for one in (1, 0))
    steep = cv2.add(along, below, dtype=cv2.CV_16U)
    texture = cv2.blur(steep, (GRID, GRID))[y, x].astype(np.float64)
    sure = texture / (texture + 20.0)
    # Least squares of shift + grow * place, weighed; all sums that they need at once.
    squares = np.abs(place) ** 2, place.conj() * moved
    summed = np.stack([np.ones(len(x)), place, squares[0], moved, squares[1]], 1).view(np.float64)
    trust, middle = sure, len(x) // 2
    for _ in range(ROUNDS):
        whole, first, second, met, turned = (trust @ summed).view(np.complex128)
        whole, second = whole.real + 1e-6, second.real + 1e-6
        sides = whole * second - abs(first) ** 2
        shift, grow = (second * met - first * turned) / sides, (whole * turned - first.conjugate() * met) / sides
        explained = shift + grow * place
        rest = moved - explained
        squared = rest.real**2 + rest.imag**2
        scale = max(0.01, 2.25 * float(np.partition(squared, middle)[middle]))
        trust = sure / (1 + squared / scale) ** 2
    return Camera(
        float(shift.real), float(shift.imag), float(abs(1 + grow)), float(np.angle(1 + grow)),
        float(np.abs(explained).mean()), float(np.sqrt(squared).mean()), float(np.abs(moved).mean()),
    )  # fmt: skip


@lru_cache(8)
def _grid(
    height: int, width: int
) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"], Complex128[np.ndarray, "n"]]:
    """Columns and rows at which flow is read, and where these places lie from the middle: right, and down times i."""
    rows = np.arange(int(EDGE * height) + GRID // 2, height - int(EDGE * height), GRID)
    columns = np.arange(int(EDGE * width) + GRID // 2, width - int(EDGE * width), GRID)
    y, x = (part.ravel() for part in np.meshgrid(rows, columns, indexing="ij"))
    return x, y, (x - (width - 1) / 2) + 1j * (y - (height - 1) / 2)
