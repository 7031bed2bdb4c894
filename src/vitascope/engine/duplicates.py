"""Clips that show the same, found by hashes of their pictures; the best one stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from vitascope.engine.config import Duplicates
from vitascope.engine.pieces import Piece

BITS = 64


def hashes_of(frames: np.ndarray, piece: Piece, num: int) -> tuple[int, ...]:
    """Hashes of pictures spread evenly over the piece, its ends left out."""
    places = piece.start + (np.arange(num) + 0.5) / num * piece.num_frames
    return tuple(int(value) for value in frames["hash"][places.astype(np.int64)])


def without_duplicates(pieces: Sequence[Piece], hashes: Sequence[tuple[int, ...]], settings: Duplicates) -> list[Piece]:
    """Pieces in the order given; of those that look alike all but the best are dropped, each naming what it repeats."""
    if not settings.on:
        return list(pieces)
    best_first = sorted(range(len(pieces)), key=lambda number: _rank(pieces[number]))
    kept_by_band: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    num_bands = settings.most_bits + 1  # pictures that differ in fewer bits than there are bands agree in one of them
    result = list(pieces)
    for number in best_first:
        near = {other for band in _bands(hashes[number], num_bands) for other in kept_by_band[band]}
        twin = next(
            (other for other in sorted(near) if _alike(hashes[number], hashes[other], settings.most_bits)), None
        )
        if twin is not None:
            result[number] = pieces[number].drop("duplicates", "shows the same as a better clip")
            continue
        for band in _bands(hashes[number], num_bands):
            kept_by_band[band].append(number)
    return result


def _rank(piece: Piece) -> tuple:
    """Larger, clearer, longer; then by name, so that the choice never depends on order."""
    features = piece.features
    size = features["width"] * features["height"]
    return -size, -features["clarity"], -piece.num_frames, piece.file, piece.start


def _bands(hashes: tuple[int, ...], num: int) -> list[tuple[int, int, int]]:
    """Parts of the hash of each picture, by which near ones find each other without comparing all with all."""
    ends = [BITS * band // num for band in range(num + 1)]
    return [
        (place, band, (value >> start) & ((1 << (stop - start)) - 1))
        for place, value in enumerate(hashes)
        for band, (start, stop) in enumerate(pairwise(ends))
    ]


def _alike(one: tuple[int, ...], other: tuple[int, ...], most_bits: int) -> bool:
    """Most pictures are the same: four of five, so that one at a change of light may differ."""
    same = sum((a ^ b).bit_count() <= most_bits for a, b in zip(one, other, strict=True))
    return same >= 0.8 * len(one)
