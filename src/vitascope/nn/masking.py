"""Which tokens of a video some blocks see, and how the others come back: MaskDiT's hiding, in space and in time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitascope.nn.positions import Turns

Places = tuple[Turns | None, Turns | None]
"""How attention turns the tokens in space and in time; None where it does not."""


@dataclass(frozen=True, eq=False)
class Visible:
    """The tokens that are seen: in all frames the same places, and of all cubes in time or of some (`moments`).

    Every sample keeps as many as the others, but not the same ones.
    """

    places: Int[Tensor, "b m"]
    moments: Int[Tensor, "b k"] | None = None

    @classmethod
    def of_cells(cls, cells: Bool[Tensor, "b *t h w"], patch: tuple[int, int]) -> Visible:
        """From the cells of the latents that may be seen: a token is seen if all of its cells are."""
        if cells.ndim == 3:
            return cls(_places(cells, patch[1]))
        frames = patch[0]
        last = cells[:, -1:].expand(-1, -cells.shape[1] % frames, -1, -1)  # as the video itself is made to fit cubes
        seen = torch.cat([cells, last], 1).flatten(2).any(-1).unflatten(1, (-1, frames)).all(-1)
        return cls(_places(cells.any(1), patch[1]), _numbers_of(seen))

    def tokens(self, x: Float[Tensor, "b t n d"]) -> Float[Tensor, "b k m d"]:
        index = self.places[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[-1])
        return self.in_time(x.gather(2, index))

    def in_time(self, x: Float[Tensor, "b t ..."]) -> Float[Tensor, "b k ..."]:
        return x if self.moments is None else x.gather(1, _along_time(self.moments, x))

    def turns(self, places: Places) -> Places:
        """Those of the tokens that are seen: each keeps its own position."""
        in_space, in_time = places
        if in_space is not None:
            in_space = in_space[self.places][:, None, None]  # b 1 1 m k 2: the same in all frames and heads
        if in_time is not None and self.moments is not None:
            in_time = in_time[self.moments][:, None, None]
        return in_space, in_time

    def restore(self, seen: Float[Tensor, "b k m d"], blank: Float[Tensor, "b t n d"]) -> Float[Tensor, "b t n d"]:
        """The tokens that were seen, put back among `blank` ones."""
        blank = blank.to(seen.dtype)
        index = self.places[:, None, :, None].expand(-1, seen.shape[1], -1, seen.shape[-1])
        frames = self.in_time(blank).scatter(2, index, seen)
        return frames if self.moments is None else blank.scatter(1, _along_time(self.moments, blank), frames)


def _places(cells: Bool[Tensor, "b h w"], side: int) -> Int[Tensor, "b m"]:
    return _numbers_of(rearrange(cells, "b (h q) (w r) -> b (h w) (q r)", q=side, r=side).all(-1))


def _numbers_of(kept: Bool[Tensor, "b n"]) -> Int[Tensor, "b m"]:
    """Which ones are kept, of each sample as many."""
    counts = kept.sum(1)
    if (counts != counts[0]).any():
        raise ValueError(f"every sample must keep the same number of tokens, got {counts.tolist()}")
    return kept.nonzero()[:, 1].view(len(kept), -1)


def _along_time(moments: Int[Tensor, "b k"], x: Float[Tensor, "b t ..."]) -> Int[Tensor, "b k ..."]:
    """Numbers along the second dim of `x`, for all that lies there."""
    return moments.view(*moments.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
