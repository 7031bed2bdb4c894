"""Norms, modulation, the feed-forward layer and embedders of numbers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-6
LONGEST_PERIOD = 10_000.0  # of sines that tell numbers or places, in radians (Vaswani et al. 2017)
FREQUENCIES = 256  # of a number that is embedded (DiT)


class ResidualBlock(nn.Module):
    """A part that adds to the stream it stands in. Its matrices lead from inside the network to inside the network,
    which is what some optimizers want to know."""


def stateless_norm(x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Layer norm without learned scale or shift (STIV, section 2.1)."""
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON)


def rms_norm(x: Float[Tensor, "... d"], scale: Float[Tensor, "..."]) -> Float[Tensor, "... d"]:
    """Divide by the root mean square. Written out: on CPUs torch's `rms_norm` is several times slower for small d."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return x * torch.rsqrt(length.square() / x.shape[-1] + EPSILON).to(x.dtype) * scale.to(x.dtype)


def modulate(x: Float[Tensor, "... d"], shift: Tensor, scale: Tensor) -> Float[Tensor, "... d"]:
    return torch.addcmul(shift, x, 1 + scale)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them, four times as wide inside (STIV is silent).

    The exact GELU: PixArt's tanh form is never farther from it than 0.0005, and on CPUs takes two to four times as long
    in bf16.
    """

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def sinusoids(value: Float[Tensor, "..."], width: int) -> Float[Tensor, "... d"]:
    """cos and sin of `value` at `width / 2` frequencies from 1 to 1 / LONGEST_PERIOD (DiT's timestep embedding)."""
    exponent = torch.arange(width // 2, device=value.device, dtype=torch.float32) / (width // 2)
    angle = value.float()[..., None] * torch.exp(-math.log(LONGEST_PERIOD) * exponent)
    return torch.cat([angle.cos(), angle.sin()], -1)


class NumberEmbedder(nn.Module):
    """A number as sinusoids through two linear layers (DiT). `scale` brings it to the range of the sinusoids."""

    def __init__(self, width: int, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, value: Float[Tensor, "..."]) -> Float[Tensor, "... d"]:
        return self.layers(sinusoids(self.scale * value, FREQUENCIES).to(next(self.parameters()).dtype))
