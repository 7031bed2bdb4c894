"""Everything a model may be told about the video it should make, and what it means to forget it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitascope.types import Clip, Framing

MICRO = ("height", "width", "top", "left", "stride", "num_frames")
"""The micro-conditions (STIV, section 2.1; SDXL): original size, crop, sampling stride, number of frames."""


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """What a text encoder says of captions: a feature per token, which tokens are real, and one for the whole."""

    tokens: Float[Tensor, "b l d"]
    mask: Bool[Tensor, "b l"]
    pooled: Float[Tensor, "b d"]


@dataclass(frozen=True, eq=False)
class Conditions:
    """What is known before generation starts. Absent frames are zero and not known; absent text is the empty string."""

    known: Bool[Tensor, "b t"]  # True for latent frames the user gave
    frames: Float[Tensor, "b t c h w"]  # clean latents of those frames, zero elsewhere; all zero for "blank" guidance
    text: TextFeatures
    empty_text: TextFeatures  # of the empty string: what forgetting the text leaves
    micro: Float[Tensor, "b m"]  # in the order of MICRO

    def without(self, *, text: bool = False, frames: bool = False) -> Conditions:
        """The same conditions with some of them forgotten, for guidance."""
        kept = replace(self, text=self.empty_text) if text else self
        if frames:
            kept = replace(kept, known=torch.zeros_like(self.known), frames=torch.zeros_like(self.frames))
        return kept

    def place(self, z: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t c h w"]:
        """Put the known frames, clean, into a noisy video (STIV, section 2.2: frame replacement)."""
        return torch.where(per_frame(self.known), self.frames.to(z.dtype), z)

    def mean_of_made(
        self, error: Float[Tensor, "b t h w"], visible: Bool[Tensor, "b *t h w"] | None = None
    ) -> Float[Tensor, ""]:
        """The mean over the frames to be made and, of those, the visible cells (alike in all frames, or of each)."""
        counts = (~self.known)[:, :, None, None].expand_as(error)
        if visible is not None:
            counts = counts & (visible if visible.ndim == 4 else visible[:, None])
        return (error * counts).sum() / counts.sum().clamp_min(1)


def micro_conditions(framings: Sequence[Framing], num_frames: int) -> Float[Tensor, "b m"]:
    """What a model is told of how clips were cut, in the order of MICRO, and how many frames it sees of each."""
    told = [(*one.size[::-1], *one.corner[::-1], one.stride, num_frames) for one in framings]
    return torch.tensor(told, dtype=torch.float32)


def framing_of(clip: Clip) -> Framing:
    """How a clip was cut; one that does not say is whole."""
    return clip.framing or Framing(clip.size)


def per_frame(value: Tensor) -> Tensor:
    """`b t` shaped for multiplication with a video `b t c h w`."""
    return value[:, :, None, None, None]
