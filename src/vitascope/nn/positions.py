"""Where a token is: rotary positions in one and two dimensions, interpolation to longer grids, sin-cos positions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.nn.layers import LONGEST_PERIOD, sinusoids

Turns = Float[Tensor, "... _ _ 2"]
"""Cosine and sine by token and pair of head dimensions (`... n k 2`, of whichever tokens they are)."""


def rotary_1d(positions: Float[Tensor, "n"], dim: int) -> Float[Tensor, "n k 2"]:
    """RoPE (Su et al. 2021, equation 34) for heads of `dim` dimensions."""
    frequencies = LONGEST_PERIOD ** (-torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32) / dim)
    angle = positions.float()[:, None] * frequencies
    return torch.stack([angle.cos(), angle.sin()], -1)


def rotary_2d(rows: Float[Tensor, "n"], columns: Float[Tensor, "n"], dim: int) -> Float[Tensor, "n k 2"]:
    """Half of the head turns with the row, half with the column (Unified-IO 2, which STIV cites)."""
    return torch.cat([rotary_1d(rows, dim // 2), rotary_1d(columns, dim // 2)], -2)


def rotate(x: Float[Tensor, "... n d"], turns: Float[Tensor, "... n k 2"]) -> Float[Tensor, "... n d"]:
    """Turn each pair of neighbouring dimensions by the angle of its token."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # fuses the real form, and cannot generate code for the complex one
        (even, odd), (cos, sin) = pairs.unbind(-1), turns.unbind(-1)
        turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(turns))
    return turned.flatten(-2).to(x.dtype)


def interpolated(length: int, trained_length: int, device: torch.device | None = None) -> Float[Tensor, "n"]:
    """Positions of a grid squeezed into the range it was trained on: p -> p * trained / length, never stretched.

    Shorter grids keep whole positions (STIV, section 2.3: interpolated RoPE for more pixels and more frames).
    """
    squeeze = min(1.0, trained_length / length)
    return torch.arange(length, device=device, dtype=torch.float32) * squeeze


def sincos_2d(rows: Float[Tensor, "n"], columns: Float[Tensor, "n"], width: int) -> Float[Tensor, "n d"]:
    """Fixed positions added to the tokens, half from the row and half from the column (DiT)."""
    return torch.cat([sinusoids(rows, width // 2), sinusoids(columns, width // 2)], -1)
