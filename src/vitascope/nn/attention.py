"""Multi-head attention: one module for self and cross attention, with a core that may be replaced from outside."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitascope.nn.layers import rms_norm
from vitascope.nn.positions import Turns, rotate

FEW = 128**2
"""On a CPU, up to so many weights of a head are faster as two batched matrix products than through the fused kernel."""


def dot_product(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The core of an attention: q `... heads n k`, k and v `... heads m k`, mask None or broadcastable to
    `... heads n m` (True: may look)."""
    if q.is_cuda or q.shape[-2] * k.shape[-2] > FEW:
        # Four dims: given more, torch takes the kernel that keeps all weights in memory.
        lead = q.shape[:-3]
        if mask is not None and mask.ndim > 2:
            mask = mask.expand(*lead, *mask.shape[-3:]).flatten(0, -4)
        q, k, v = (x.reshape(-1, *x.shape[-3:]) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).unflatten(0, lead)
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        weights = weights.masked_fill(~mask, torch.finfo(weights.dtype).min)
    return weights.softmax(-1) @ v


class Attention(nn.Module):
    """Multi-head attention. `axis` says what it mixes, in errors; `core` may be replaced.

    Queries come from `x`; keys and values from `context`, which is `x` itself for self attention. With `qk_norm`
    queries and keys are divided by their RMS and multiplied by a learned scale (STIV, section 2.1; Dehghani et al.).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        axis: Literal["space", "time", "all", "text"],
        *,
        context_width: int | None = None,
        qk_norm: bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention needs a width that its heads divide, got width {width} and {heads} heads")
        self.heads, self.axis, self.causal, self.core = heads, axis, causal, dot_product
        self.query = nn.Linear(width, width) if context_width is not None else None
        self.enter = nn.Linear(context_width or width, (3 if context_width is None else 2) * width)
        self.leave = nn.Linear(width, width)
        self.qk_scale = nn.Parameter(torch.ones(2, width // heads)) if qk_norm else None

    @property
    def num_fused(self) -> int:
        """How many matrices stand one above another in `enter`: queries, keys and values, or the last two."""
        return self.enter.out_features // self.leave.in_features

    def forward(
        self,
        x: Float[Tensor, "... n d"],
        context: Float[Tensor, "... m e"] | None = None,
        mask: Bool[Tensor, "... m"] | None = None,
        turns: Turns | None = None,
        along: int = -2,
    ) -> Float[Tensor, "... n d"]:
        """`mask` says which tokens of the context (or of `x`) are real.

        `along`, counted from the end, is the dim attended over: the copy that puts heads first moves it too, so self
        attention over another dim than the last but one costs nothing. `turns` are of the tokens along it.
        """
        if (context is None) != (self.query is None):
            raise ValueError(
                f"attention over {self.axis} was built {'without' if self.query is None else 'with'} a context "
                f"and was called {'without' if context is None else 'with'} one"
            )
        if context is not None and along != -2:
            raise ValueError(f"attention to a context goes along dim -2, got {along}")
        q, k, v = self.of_itself(x, turns, along) if context is None else self.of_context(x, context)
        allowed = None if mask is None else mask[..., None, None, :]
        if self.causal:
            past = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
            allowed = past if allowed is None else allowed & past
        mixed = self.core(q, k, v, allowed).transpose(-3, -2)  # ... n heads k
        return self.leave(mixed.transpose(-3, along - 1).flatten(-2))

    def of_itself(self, x: Float[Tensor, "... n d"], turns: Turns | None, along: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of one sequence; queries and keys are normed and turned together, in one pass."""
        # Taken apart by split and unbind: gradients of slices would be sums of tensors that are mostly zero.
        qk, v = self.heads_first(self.enter(x).transpose(-2, along), 3).split([2, 1])
        if self.qk_scale is not None:
            qk = rms_norm(qk, self.qk_scale.unflatten(0, (2, *[1] * (qk.ndim - 2))))
        if turns is not None:
            qk = rotate(qk, turns)
        q, k = qk.unbind()
        return q, k, v.squeeze(0)

    def of_context(
        self, x: Float[Tensor, "... n d"], context: Float[Tensor, "... m e"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of `x`, keys and values of `context`."""
        assert self.query is not None
        q, (k, v) = self.heads_first(self.query(x), 1).squeeze(0), self.heads_first(self.enter(context), 2).unbind()
        if self.qk_scale is not None:
            q, k = rms_norm(q, self.qk_scale[0]), rms_norm(k, self.qk_scale[1])
        return q, k, v

    def heads_first(self, x: Float[Tensor, "... n s"], parts: int) -> Float[Tensor, "parts ... heads n k"]:
        """Cut the last axis into parts and heads; contiguous, so that what follows is batched matrix products."""
        return x.unflatten(-1, (parts, self.heads, -1)).movedim(-3, 0).transpose(-3, -2).contiguous()
