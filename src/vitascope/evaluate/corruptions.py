"""Damage to clips, of a kind and by an amount: what a metric ought to notice."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor
from torch.nn import functional

Corruption = Callable[[UInt8[Tensor, "t 3 h w"], float, Generator], UInt8[Tensor, "t 3 h w"]]
"""A clip, how much of it in (0, 1], and where chance comes from."""

AMOUNTS = (0.2, 0.4, 0.6, 0.8, 1.0)


def blur(clip: UInt8[Tensor, "t 3 h w"], amount: float, rng: Generator) -> UInt8[Tensor, "t 3 h w"]:
    """Gaussian, of up to a 25th of the short side."""
    del rng
    sigma = amount * min(clip.shape[-2:]) / 25
    reach = max(1, math.ceil(3 * sigma))
    bell = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    line = (bell / bell.sum()).expand(3, 1, -1)
    padded = functional.pad(clip.float(), (reach,) * 4, mode="replicate")
    rows = functional.conv2d(padded, line[..., None, :], groups=3)
    return as_bytes(functional.conv2d(rows, line[..., None], groups=3))


def noise(clip: UInt8[Tensor, "t 3 h w"], amount: float, rng: Generator) -> UInt8[Tensor, "t 3 h w"]:
    """Gaussian, of up to 50 of 255, another in each frame."""
    return as_bytes(clip + 50 * amount * torch.randn(clip.shape, generator=rng))


def shuffle(clip: UInt8[Tensor, "t 3 h w"], amount: float, rng: Generator) -> UInt8[Tensor, "t 3 h w"]:
    """So large a part of the frames, drawn at random, change places; none of those stays where it was."""
    moved = torch.randperm(len(clip), generator=rng)[: max(2, round(amount * len(clip)))]
    order = torch.arange(len(clip))
    order[moved] = moved.roll(1)
    return clip[order]


def freeze(clip: UInt8[Tensor, "t 3 h w"], amount: float, rng: Generator) -> UInt8[Tensor, "t 3 h w"]:
    """So large a part at the end stands still; all of it is the first frame alone."""
    del rng
    last = max(1, round((1 - amount) * len(clip))) - 1
    return clip[torch.arange(len(clip)).clamp_max(last)]


def drop(clip: UInt8[Tensor, "t 3 h w"], amount: float, rng: Generator) -> UInt8[Tensor, "t 3 h w"]:
    """Up to three quarters of the frames, but the first, are lost; in place of each the one before is seen again."""
    lost = 1 + torch.randperm(len(clip) - 1, generator=rng)[: round(0.75 * amount * len(clip))]
    order = torch.arange(len(clip))
    order[lost] = 0
    return clip[order.cummax(0).values]


def shift_colour(clip: UInt8[Tensor, "t 3 h w"], amount: float, rng: Generator) -> UInt8[Tensor, "t 3 h w"]:
    """All hues turned by up to half a circle, brightness kept."""
    del rng
    to_chroma = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = math.cos(math.pi * amount), math.sin(math.pi * amount)
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    matrix = torch.linalg.inv(to_chroma) @ turn @ to_chroma
    return as_bytes(torch.einsum("dc,tchw->tdhw", matrix, clip.float()))


def flicker(clip: UInt8[Tensor, "t 3 h w"], amount: float, rng: Generator) -> UInt8[Tensor, "t 3 h w"]:
    """Each frame by a brightness of its own, of a spread of up to 0.3."""
    brightness = 1 + 0.3 * amount * torch.randn(len(clip), 1, 1, 1, generator=rng)
    return as_bytes(clip * brightness)


def as_bytes(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    return values.round().clamp(0, 255).to(torch.uint8)


CORRUPTIONS: dict[str, Corruption] = {
    "blur": blur,
    "noise": noise,
    "colour shift": shift_colour,
    "flicker": flicker,
    "frame shuffle": shuffle,
    "freeze": freeze,
    "drop": drop,
}
