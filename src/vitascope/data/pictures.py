"""Single pictures and details of them, from which an autoencoder learns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.data.cache import ClipSource
from vitascope.types import generator_for

FRAMES_OF_EACH = 8
"""At most, of one clip, which is made or decoded whole for them."""
PIECES_OF_EACH = 2
"""Of one picture."""


@runtime_checkable
class PictureSource(Protocol):
    """Pictures by step, new ones at each, and details of such pictures, as large as half of one or so."""

    def pictures(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]: ...

    def details(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]: ...


def pictures_of(source: ClipSource) -> PictureSource:
    """Those that a source of clips has itself, or frames of its clips."""
    return source if isinstance(source, PictureSource) else Frames(source)


class Frames:
    """Random frames of a source's clips, and pieces of them half as high and wide."""

    def __init__(self, source: ClipSource) -> None:
        self.source = source

    def pictures(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        rng = generator_for(0, "pictures", step)
        return torch.stack(list(self._frames(step, count, rng)))

    def details(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        rng = generator_for(0, "details", step)
        pictures = self._frames(step, -(-count // PIECES_OF_EACH), rng)
        return torch.stack([piece for picture in pictures for piece in pieces(picture, rng)][:count])

    def _frames(self, step: int, count: int, rng: torch.Generator) -> Iterator[Float[Tensor, "3 h w"]]:
        clip, frames = step * count, list[Tensor]()  # `count` clips a step are enough if they have one frame
        for _ in range(count):
            if not frames:
                pixels = self.source.clip(clip).pixels
                frames = list(pixels[torch.randperm(len(pixels), generator=rng)[:FRAMES_OF_EACH]])
                clip += 1
            yield frames.pop()


def pieces(picture: Float[Tensor, "3 h w"], rng: torch.Generator) -> list[Float[Tensor, "3 _ _"]]:
    """Random cuts from a picture, half as high and wide."""
    height, width = (side // 2 for side in picture.shape[1:])
    places = torch.rand(PIECES_OF_EACH, 2, generator=rng).tolist()
    corners = [
        (int(down * (picture.shape[1] - height + 1)), int(across * (picture.shape[2] - width + 1)))
        for down, across in places
    ]
    return [picture[:, top : top + height, left : left + width] for top, left in corners]
