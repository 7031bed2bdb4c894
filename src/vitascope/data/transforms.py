"""How a clip is cut from its footage: which frames, which part of them, mirrored or not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from vitascope.data.decoding import Facts, read_frames
from vitascope.types import Framing

SIDED = re.compile(r"\b(left|right|(anti|counter)?-?clockwise|east|west)", re.IGNORECASE)
"""Words that a mirrored clip would belie, with all that begins with them: leftmost, right-handed, westwards."""


@dataclass(frozen=True)
class Shape:
    """What a cut shall be: width and height in pixels, frames, and how many of the footage's are one of the clip's."""

    width: int
    height: int
    num_frames: int
    stride: int = 1

    @property
    def span(self) -> int:
        """Frames of the footage from the first to the last."""
        return (self.num_frames - 1) * self.stride + 1


@dataclass(frozen=True)
class Cut:
    """A clip before it is decoded. The footage is scaled to `scaled`, of which the part at `corner` is kept."""

    shape: Shape
    first: int
    scaled: tuple[int, int]  # width, height
    corner: tuple[int, int]  # left, top
    mirrored: bool
    footage: tuple[int, int]  # width, height

    @property
    def numbers(self) -> range:
        """Of its frames in the footage."""
        return range(self.first, self.first + self.shape.span, self.shape.stride)

    @property
    def framing(self) -> Framing:
        """What a model is told of it. A mirrored cut tells where its corner lies in the mirrored footage."""
        left, top = self.corner
        if self.mirrored:
            left = self.scaled[0] - self.shape.width - left
        return Framing(self.footage, (left, top), float(self.shape.stride))


def draw_cut(facts: Facts, shape: Shape, rng: torch.Generator, *, mirror: bool = False, centred: bool = False) -> Cut:
    """A cut at a random moment and, where the footage is wider or higher than the shape, a random place.

    `mirror`: mirrored as often as not. `centred`: from the middle of both time and picture.
    """
    scale = max(shape.width / facts.width, shape.height / facts.height)
    scaled = max(round(facts.width * scale), shape.width), max(round(facts.height * scale), shape.height)
    room = facts.num_frames - shape.span, scaled[0] - shape.width, scaled[1] - shape.height
    moment, across, down, side = torch.rand(4, generator=rng).tolist()
    if centred:
        moment = across = down = 0.5
    first, left, top = (int(share * (most + 1)) for share, most in zip((moment, across, down), room, strict=True))
    return Cut(shape, first, scaled, (left, top), mirror and side < 0.5, (facts.width, facts.height))


def may_be_mirrored(captions: Iterable[str]) -> bool:
    """Whether no caption speaks of left or right."""
    return not any(SIDED.search(caption) for caption in captions)


def decode_cuts(file: Path | bytes, facts: Facts, cuts: Sequence[Cut]) -> list[UInt8[Tensor, "t 3 h w"]]:
    """The frames of cuts that are scaled alike; what they share is decoded once."""
    wanted = sorted({number for cut in cuts for number in cut.numbers})
    frames = read_frames(file, facts, wanted, cuts[0].scaled)
    place, clips = {number: row for row, number in enumerate(wanted)}, []
    for cut in cuts:
        (left, top), shape = cut.corner, cut.shape
        kept = frames[[place[number] for number in cut.numbers]]
        kept = kept[..., top : top + shape.height, left : left + shape.width]
        clips.append((kept.flip(-1) if cut.mirrored else kept).contiguous())
    return clips
