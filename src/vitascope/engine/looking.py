"""What a single frame tells without any network: borders, clarity, exposure, words burnt in, a hash."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

WORK_HEIGHT = 360  # words are looked for at this height
CLARITY_SIDE = 512  # of the middle part, at full size, on which clarity is measured


@dataclass(frozen=True)
class Look:
    top: int
    bottom: int
    left: int
    right: int
    clarity: float
    under: float
    over: float
    text: float


def look(luma: UInt8[np.ndarray, "h w"], black_level: int) -> Look:
    top, bottom, left, right = borders(luma, black_level)
    inside = luma[top : luma.shape[0] - bottom, left : luma.shape[1] - right]
    thin = inside[::4, ::4]
    return Look(
        top,
        bottom,
        left,
        right,
        clarity(inside),
        float((thin < 8).mean()),
        float((thin > 247).mean()),
        text_area(inside),
    )


def borders(luma: UInt8[np.ndarray, "h w"], black_level: int) -> tuple[int, int, int, int]:
    """Rows above and below and columns left and right in which nothing is brighter than black; none if all is black."""
    rows, columns = _lit(luma, 1, black_level), _lit(luma, 0, black_level)
    if not rows.size or not columns.size:
        return 0, 0, 0, 0
    height, width = luma.shape
    return int(rows[0]), int(height - 1 - rows[-1]), int(columns[0]), int(width - 1 - columns[-1])


def _lit(luma: UInt8[np.ndarray, "h w"], axis: int, black_level: int) -> np.ndarray:
    """Numbers of the rows or columns that hold a picture: bright in more than one pixel in a hundred."""
    if axis:
        bright = cv2.reduce(luma, 1, cv2.REDUCE_MAX).ravel() > black_level
    else:
        bright = cv2.reduce(luma, 0, cv2.REDUCE_MAX).ravel() > black_level
    return np.flatnonzero(bright)


def clarity(luma: UInt8[np.ndarray, "h w"]) -> float:
    """Strength of the finest detail: deviation of the Laplacian, in grey values, at full size."""
    height, width = luma.shape
    top, left = max(0, (height - CLARITY_SIDE) // 2), max(0, (width - CLARITY_SIDE) // 2)
    middle = np.ascontiguousarray(luma[top : top + CLARITY_SIDE, left : left + CLARITY_SIDE])
    return float(cv2.meanStdDev(cv2.Laplacian(middle, cv2.CV_16S))[1][0, 0]) if min(middle.shape) > 2 else 0.0


def text_area(luma: UInt8[np.ndarray, "h w"]) -> float:
    """Share of the picture that looks like lines of letters: rows of strong strokes of one height.

    No network reads them, so fences and leaves in rows are taken for words now and then.
    """
    height, width = luma.shape
    scale = WORK_HEIGHT / height
    if min(height, width) < 32:
        return 0.0
    small = cv2.resize(luma, (max(32, round(width * scale)), WORK_HEIGHT), interpolation=cv2.INTER_AREA)
    edges = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    strong = (edges > 100).astype(np.uint8)
    lines = cv2.morphologyEx(strong, cv2.MORPH_CLOSE, np.ones((1, 11), np.uint8))
    lines = cv2.morphologyEx(lines, cv2.MORPH_OPEN, np.ones((5, 11), np.uint8))
    _, _, boxes, _ = cv2.connectedComponentsWithStats(lines)
    area = 0
    for left, top, wide, high, filled in boxes[1:]:
        if 8 <= high <= 72 and wide > 2.5 * high and filled > 0.5 * wide * high:
            strokes = strong[top : top + high, left : left + wide]
            # Letters are many strokes with gaps: count how often a row goes from stroke to gap.
            changes = np.abs(np.diff(strokes.astype(np.int8), axis=1)).sum(1).mean() / (wide / high)
            area += int(wide * high) if changes > 1.5 else 0
    return area / small.size


def picture_hash(small: UInt8[np.ndarray, "h w"]) -> np.uint64:
    """64 signs of the lowest waves of the picture: the same for the same picture at another size or compression."""
    waves = cv2.dct(cv2.resize(small, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32))[:8, :8].ravel()
    bits = waves > np.median(waves[1:])
    return np.packbits(bits).view(np.uint64)[0]
