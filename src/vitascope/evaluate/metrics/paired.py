"""How far pictures are from those that they should be, and from the ones before them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from vitascope.types import UserError

MOST_PSNR = 100.0
"""Of frames that are equal to the last bit: their PSNR is without end, which no mean survives."""


@dataclass(frozen=True)
class SquaredError:
    """Of pixels in [0, 1]: a sum and a count, so that shards add up to one run."""

    total: float = 0.0
    count: int = 0

    def __add__(self, other: SquaredError) -> SquaredError:
        return SquaredError(self.total + other.total, self.count + other.count)

    @property
    def psnr(self) -> float | None:
        """In dB, of the mean over all pixels, at most 100; None where nothing was compared.

        Not the mean over pictures of their own PSNR, which is higher: a picture returned exactly would count most.
        """
        return -10 * math.log10(max(self.total / self.count, 1e-10)) if self.count else None


def squared_error(made: Float[Tensor, "*shape"], true: Float[Tensor, "*shape"]) -> SquaredError:
    return SquaredError((made - true).square().sum().item(), made.numel())


@dataclass(frozen=True)
class PairReader:
    """What a pair of clips gives: the score and that of its worst frame. `about` says by which conventions.

    `whole`: the score is that of all frames as one picture, not the mean of the frames' scores.
    """

    per_frame: Callable[[Float[Tensor, "t 3 h w"], Float[Tensor, "t 3 h w"]], Float[Tensor, "t"]]
    about: Mapping[str, Any]
    higher_is_better: bool = True
    whole: Callable[[Float[Tensor, "t 3 h w"], Float[Tensor, "t 3 h w"]], float] | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.about

    @torch.inference_mode()
    def __call__(self, made: UInt8[Tensor, "t 3 h w"], real: UInt8[Tensor, "t 3 _h _w"]) -> Float[Tensor, "1 2"]:
        if made.shape != real.shape:
            sizes = " and ".join(f"{clip.shape[-1]}x{clip.shape[-2]}" for clip in (made, real))
            raise UserError(f"the frames of a pair must be of one size, got {sizes}; scale one, or set a resolution")
        one, other = made.double() / 255, real.double() / 255
        frames = self.per_frame(one, other).cpu().double()
        score = frames.mean().item() if self.whole is None else self.whole(one, other)
        return torch.tensor([[score, self.worst(frames)]], dtype=torch.float64)

    def worst(self, values: Float[Tensor, "n"]) -> float:
        return (values.min() if self.higher_is_better else values.max()).item()


def psnr(made: Float[Tensor, "t 3 h w"], real: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t"]:
    """Of each frame, in dB."""
    error = (made - real).square().mean((1, 2, 3))
    return (-10 * error.log10()).clamp_max(MOST_PSNR)


def ssim(made: Float[Tensor, "t 3 h w"], real: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t"]:
    """Of each frame (Wang et al. 2004): a Gaussian window of 11 pixels, where it fits; the mean over the colours."""
    if min(made.shape[-2:]) < WINDOW:
        raise UserError(
            f"SSIM needs frames of {WINDOW}x{WINDOW} pixels at least, got {made.shape[-1]}x{made.shape[-2]}"
        )
    mean_one, mean_other = blurred(made), blurred(real)
    spread_one = blurred(made * made) - mean_one.square()
    spread_other = blurred(real * real) - mean_other.square()
    together = blurred(made * real) - mean_one * mean_other
    light, contrast = 0.01**2, 0.03**2
    alike = (2 * mean_one * mean_other + light) * (2 * together + contrast)
    size = (mean_one.square() + mean_other.square() + light) * (spread_one + spread_other + contrast)
    return (alike / size).mean((1, 2, 3))


WINDOW, SIGMA = 11, 1.5


def blurred(frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 height width"]:
    """By the window of SSIM, row by row and column by column."""
    place = torch.arange(WINDOW, dtype=frames.dtype) - WINDOW // 2
    bell = torch.exp(-place.square() / (2 * SIGMA**2))
    line = (bell / bell.sum()).expand(3, 1, WINDOW)
    return functional.conv2d(functional.conv2d(frames, line[..., None, :], groups=3), line[..., None], groups=3)


@dataclass(frozen=True)
class FlickerReader:
    """Temporal flickering as in VBench, without its filter of videos that move: 1 - mean change from frame to frame.

    Of bytes as the file gives them; a still video gets 1.
    """

    identity: Mapping[str, Any] = field(default_factory=lambda: {"measure": "temporal flickering"})

    def __call__(self, clips: Sequence[UInt8[Tensor, "_t 3 _h _w"]]) -> Float[Tensor, "n 1"]:
        return torch.tensor([[steadiness(clip)] for clip in clips])


def steadiness(clip: UInt8[Tensor, "t 3 h w"]) -> float:
    """In bytes throughout: a copy in floating point would be four times as large."""
    if len(clip) < 2:
        raise UserError(f"flickering needs at least 2 frames, got {len(clip)}")
    before, after = clip[:-1], clip[1:]
    changes = torch.maximum(before, after) - torch.minimum(before, after)
    return 1 - changes.sum().item() / (255 * changes.numel())


PSNR = PairReader(psnr, {"measure": "PSNR", "mean": "of frames", "range": [0, 1], "most": MOST_PSNR})
PSNR_OF_CLIP = PairReader(
    psnr,
    {"measure": "PSNR", "mean": "of squared errors over the clip", "range": [0, 1], "most": MOST_PSNR},
    whole=lambda made, real: squared_error(made, real).psnr or 0.0,
)
SSIM = PairReader(
    ssim,
    {"measure": "SSIM", "window": WINDOW, "sigma": SIGMA, "k1": 0.01, "k2": 0.03, "border": "valid", "channels": "RGB"},
)
