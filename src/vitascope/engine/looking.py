"""What a single frame tells without any network: borders, clarity, exposure, words burnt in, a hash."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8, UInt64
from scipy.fft import dct

WORK_HEIGHT = 360  # words are looked for at this height
CLARITY_SIDE = 512  # of the middle part, at full size, on which clarity is measured
SQUARE = 32
WAVES = dct(np.eye(SQUARE, dtype=np.float32), norm="ortho").T[:8]
"""The lowest eight cosine waves of a side; not by OpenCV, whose threads must not be there when a process is forked."""


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


def look(luma: UInt8[np.ndarray, "h w"], meaning: UInt8[np.ndarray, "256"], black_level: int) -> Look:
    """`meaning`: brightness of each value of `luma`. Only the parts that a feature needs are turned into it."""
    black = int(np.searchsorted(meaning, black_level, "right")) - 1
    top, bottom, left, right = borders(luma, black)
    inside = luma[top : luma.shape[0] - bottom, left : luma.shape[1] - right]
    thin = np.ascontiguousarray(inside[::4, ::4])
    dark, bright = map(int, np.searchsorted(meaning, (8, 248)))  # the first values that are no longer, or already, so
    return Look(
        top,
        bottom,
        left,
        right,
        clarity(inside, meaning),
        np.count_nonzero(thin < dark) / thin.size,
        np.count_nonzero(thin >= bright) / thin.size,
        text_area(inside, meaning),
    )


def borders(luma: UInt8[np.ndarray, "h w"], black_level: int) -> tuple[int, int, int, int]:
    """Rows above and below and columns left and right in which nothing is brighter than black; none if all is black."""
    rows, columns = (np.flatnonzero(luma.max(axis) > black_level) for axis in (1, 0))
    if not rows.size or not columns.size:
        return 0, 0, 0, 0
    height, width = luma.shape
    return int(rows[0]), int(height - 1 - rows[-1]), int(columns[0]), int(width - 1 - columns[-1])


def clarity(luma: UInt8[np.ndarray, "h w"], meaning: UInt8[np.ndarray, "256"]) -> float:
    """Strength of the finest detail: deviation of the Laplacian, in grey values, at full size."""
    height, width = luma.shape
    top, left = max(0, (height - CLARITY_SIDE) // 2), max(0, (width - CLARITY_SIDE) // 2)
    middle = luma[top : top + CLARITY_SIDE, left : left + CLARITY_SIDE]
    if min(middle.shape) < 3:
        return 0.0
    fine = cv2.Laplacian(cv2.LUT(middle, meaning), cv2.CV_16S)
    # The same as cv2.meanStdDev, which is many times slower on 16 bits.
    mean, square = cv2.sumElems(fine)[0] / fine.size, cv2.norm(fine, cv2.NORM_L2SQR) / fine.size
    return math.sqrt(max(square - mean**2, 0.0))


def text_area(luma: UInt8[np.ndarray, "h w"], meaning: UInt8[np.ndarray, "256"]) -> float:
    """Share of the picture that looks like lines of letters: rows of strong strokes of one height.

    No network reads them, so fences and leaves in rows are taken for words now and then.
    """
    if min(luma.shape) < 32:
        return 0.0
    small = cv2.LUT(_reduced(luma), meaning)
    edges = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    _, strong = cv2.threshold(edges, 100, 1, cv2.THRESH_BINARY)
    lines = cv2.morphologyEx(strong, cv2.MORPH_CLOSE, np.ones((1, 11), np.uint8))
    lines = cv2.morphologyEx(lines, cv2.MORPH_OPEN, np.ones((5, 11), np.uint8))
    area = 0
    for outline in cv2.findContours(lines, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
        left, top, wide, high = cv2.boundingRect(outline)
        box = slice(top, top + high), slice(left, left + wide)
        if 8 <= high <= 72 and wide > 2.5 * high and cv2.countNonZero(lines[box]) > 0.5 * wide * high:
            # Letters are many strokes with gaps: count how often a row goes from stroke to gap.
            changes = np.abs(np.diff(strong[box].astype(np.int8), axis=1)).sum(1).mean() / (wide / high)
            area += wide * high if changes > 1.5 else 0
    return area / small.size


def _reduced(luma: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "height width"]:
    """At the height for words; halved as often as it goes, which is the fast way to average."""
    height, width = luma.shape
    size = max(32, round(width * WORK_HEIGHT / height)), WORK_HEIGHT
    while luma.shape[0] >= 2 * WORK_HEIGHT:
        luma = cv2.resize(luma, (luma.shape[1] // 2, luma.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(luma, size, interpolation=cv2.INTER_LINEAR)


def square_of(small: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "32 32"]:
    """What the hash of a picture is made of."""
    return cv2.resize(small, (SQUARE, SQUARE), interpolation=cv2.INTER_AREA)


def picture_hashes(squares: UInt8[np.ndarray, "n 32 32"]) -> UInt64[np.ndarray, "n"]:
    """64 signs of the lowest waves of each picture: the same for the same picture at another size or compression."""
    waves = WAVES @ squares.astype(np.float32) @ WAVES.T
    waves = waves.reshape(len(squares), 64).round(2)  # a plain picture has none: errors of rounding are no signs
    bits = waves > np.partition(waves[:, 1:], 31)[:, 31:32]  # the median
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]
