"""Native aspects: every sample goes to the size and length that keep most of it, and every batch costs the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pydantic
from jaxtyping import Float64, Int64

from vitascope.config import Amount, Config, Count, Share
from vitascope.data.footage import Table
from vitascope.data.transforms import Shape
from vitascope.types import UserError


class Limits(Config):
    """How far a sample may be changed to fit; what would need more is left out, and counted."""

    most_cropped: Share = 0.6  # share of the picture that is cut away
    most_enlarged: Amount = 1.0  # times
    most_off_pace: Annotated[float, pydantic.Field(ge=1)] = 1.5  # times faster or slower than asked for


@dataclass(frozen=True, eq=False)
class Placement:
    """Which size and length each row of a table is cut to. Rows that are left out have -1."""

    sizes: tuple[tuple[int, int], ...]  # width, height
    lengths: tuple[int, ...]  # frames
    size: Int64[np.ndarray, "n"]
    length: Int64[np.ndarray, "n"]
    stride: Int64[np.ndarray, "n"]
    cropped: Float64[np.ndarray, "n"]  # share of the picture
    pace: Float64[np.ndarray, "n"]  # frames a second that the stride gives
    left_out: Mapping[str, Int64[np.ndarray, "_"]]  # rows by reason

    def rows(self) -> Int64[np.ndarray, "_"]:
        """Those that are kept."""
        return np.flatnonzero(self.size >= 0)

    def shape(self, row: int) -> Shape:
        width, height = self.sizes[self.size[row]]
        return Shape(width, height, self.lengths[self.length[row]], int(self.stride[row]))


def place(
    table: Table, sizes: Sequence[tuple[int, int]], lengths: Sequence[int], fps: float, limits: Limits
) -> Placement:
    """Each row to the size of which least is cut away, the stride nearest to `fps`, and the longest length that fits.

    A single picture has no pace; it goes to length 1, if that is among the lengths.
    """
    width, height = table.width.astype(np.float64), table.height.astype(np.float64)
    scale = np.stack([np.maximum(w / width, h / height) for w, h in sizes])  # sizes x rows
    area = np.array([w * h for w, h in sizes])[:, None]
    kept = np.minimum(area / (scale**2 * width * height), 1)
    size = kept.argmax(0)
    rows = np.arange(len(table))
    cropped, enlarged = 1 - kept[size, rows], scale[size, rows]
    stride = np.maximum(np.round(table.fps / fps), 1).astype(np.int64)
    pace = table.fps / stride
    ordered = np.sort(np.array(lengths))
    fits = (ordered[:, None] - 1) * stride + 1 <= table.num_frames  # lengths x rows, true up to the longest
    length = fits.sum(0) - 1
    off_pace = np.maximum(pace / fps, fps / pace)
    moving = ordered[np.maximum(length, 0)] > 1
    reasons = {
        f"too short for {ordered[0]} frames at {fps:g} fps": length < 0,
        f"more than {limits.most_off_pace:g} times off the pace of {fps:g} fps": moving
        & (off_pace > limits.most_off_pace),
        f"to be enlarged more than {limits.most_enlarged:g} times": enlarged > limits.most_enlarged,
        f"to be cropped by more than {limits.most_cropped:.0%}": cropped > limits.most_cropped + 1e-9,
    }
    out, left_out = np.zeros(len(table), bool), {}
    for reason, applies in reasons.items():
        if (first := applies & ~out).any():
            left_out[reason] = np.flatnonzero(first)
        out |= applies
    size, length = np.where(out, -1, size), np.where(out, -1, length)
    return Placement(tuple(sizes), tuple(ordered.tolist()), size, length, stride, cropped, pace, left_out)


def sizes_of(area: int, multiple: int, most_aspect: float) -> tuple[tuple[int, int], ...]:
    """Widths and heights in steps of `multiple`, of at most `area` pixels and, of each height, the widest."""
    side = int(area**0.5)
    if side < multiple:
        raise UserError(f"an area of {area} pixels holds no block of {multiple}x{multiple}; make it larger")
    found = set()
    for one in range(multiple, int(side * most_aspect**0.5) + 1, multiple):
        other = area // one // multiple * multiple
        if other and max(one / other, other / one) <= most_aspect:
            found |= {(one, other), (other, one)}
    return tuple(sorted(found))


class BucketsConfig(Config):
    """Sizes of one area in many aspects, and lengths; a batch takes as many clips as its tokens allow."""

    area: Count = 64 * 64  # pixels of a frame
    multiple: Count = 16  # sides are multiples of it: the tokenizer's stride times the patch
    frames_multiple: Count = 1  # frames to a token
    most_aspect: Annotated[float, pydantic.Field(ge=1)] = 2.0
    lengths: Annotated[tuple[Count, ...], pydantic.Field(min_length=1)] = (1, 16)  # 1: pictures
    fps: Amount = 8.0
    batch_tokens: Count = 4096
    limits: Limits = Limits()

    def tokens(self, size: tuple[int, int], length: int) -> int:
        """What a clip of these pixels and frames costs."""
        return -(-length // self.frames_multiple) * (size[0] // self.multiple) * (size[1] // self.multiple)

    def batch(self, size: tuple[int, int], length: int) -> int:
        """Clips of a batch of them."""
        each = self.tokens(size, length)
        if each > self.batch_tokens:
            raise UserError(
                f"a clip of {size[0]}x{size[1]} pixels and {length} frames has {each} tokens and a batch "
                f"{self.batch_tokens}; raise batch_tokens to {each} or more, or lower the area or the lengths"
            )
        return self.batch_tokens // each

    def place(self, table: Table) -> Placement:
        return place(table, sizes_of(self.area, self.multiple, self.most_aspect), self.lengths, self.fps, self.limits)
