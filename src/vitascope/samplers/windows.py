"""Videos longer than a model's own length in one walk: overlapping windows, each estimated alone, blended at each step.

Where two windows overlap they agree after every step, so that there is no seam to be mended afterwards (Bar-Tal et al.
2023, MultiDiffusion, over time instead of space). Like guidance it wraps an estimator and returns one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.conditions import MICRO, Conditions
from vitascope.noise import Estimate
from vitascope.protocols import Estimator


def windowed(estimate: Estimator, length: int, overlap: int) -> Estimator:
    """`estimate` for videos of any length: windows of `length` frames, of which neighbours share `overlap` or more."""
    if not 0 <= overlap < length:
        raise ValueError(f"windows of {length} frames can share 0 to {length - 1}, got {overlap}")

    def whole(z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
        num_frames = z.shape[1]
        if num_frames <= length:
            return estimate(z, level, cond)
        clean, noise = torch.zeros_like(z), torch.zeros_like(z)
        starts, weight = window_starts(num_frames, length, overlap), ramp(length, overlap).to(z)
        total = torch.zeros(num_frames).to(z)
        for start in starts:
            total[start : start + length] += weight
        for start in starts:
            here = slice(start, start + length)
            ends, share = estimate(z[:, here], level[:, here], during(cond, here)), weight / total[here]
            clean[:, here] += share[:, None, None, None] * ends.clean
            noise[:, here] += share[:, None, None, None] * ends.noise
        return Estimate(clean, noise)

    return whole


def window_starts(num_frames: int, length: int, overlap: int) -> list[int]:
    """The first frames of windows that cover all; the last one ends with the video and may overlap more."""
    last = num_frames - length
    return [*range(0, last, length - overlap), last]


def ramp(length: int, overlap: int) -> Float[Tensor, "{length}"]:
    """The weight of each frame of a window: rising over the overlap, falling over the next."""
    place = torch.arange(1, length + 1)
    return torch.minimum(place, place.flip(0)).clamp_max(overlap + 1) / (overlap + 1)


def during(cond: Conditions, frames: slice) -> Conditions:
    """What is known of some of the frames, as if they were the whole video."""
    micro = cond.micro.clone()
    micro[:, MICRO.index("num_frames")] = frames.stop - frames.start
    return replace(cond, known=cond.known[:, frames], frames=cond.frames[:, frames], micro=micro)
