"""The door frames: what a part must offer so that the house can use it. Concrete parts never import each other."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitascope.conditions import Conditions
from vitascope.conditions import TextFeatures as TextFeatures
from vitascope.noise import Estimate, Path
from vitascope.types import Loss

Estimator = Callable[[Tensor, Tensor, Conditions], Estimate]
"""`estimate(z: b t c h w, level: b t, cond) -> Estimate`: all that samplers ever see of a model."""


@runtime_checkable
class Tokenizer(Protocol):
    """Pixels to clean latents of unit scale and back. Pixels are sRGB in [0, 1]."""

    stride: tuple[int, int, int]  # frames, rows, columns per latent cell
    channels: int

    def encode(self, pixels: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b lt c lh lw"]: ...

    def decode(self, latents: Float[Tensor, "b lt c lh lw"]) -> Float[Tensor, "b t 3 h w"]: ...


@runtime_checkable
class TextEncoder(Protocol):
    """Captions to features. The empty string is a caption like any other: the one that says nothing."""

    width: int
    max_tokens: int

    def count(self, caption: str) -> int: ...

    def __call__(self, captions: Sequence[str]) -> TextFeatures: ...


@runtime_checkable
class FrozenTextEncoder(TextEncoder, Protocol):
    """One that never learns, so that what it says of a caption can be kept."""

    def keep_in(self, folder: pathlib.Path) -> None:
        """Keep features below `folder`, under names made of all that they follow from."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """A backbone: from a noisy video and its level to a prediction of the same shape.

    `visible` names the latent cells that a backbone which can hide tokens shall see, alike in all frames
    or of each; None asks for no hiding.
    """

    blocks: nn.ModuleList  # the only thing that sharding, checkpointing and compiling need to know

    def __call__(
        self,
        z: Float[Tensor, "b t c h w"],
        level: Float[Tensor, "b t"],
        cond: Conditions,
        visible: Bool[Tensor, "b *t h w"] | None = None,
    ) -> Float[Tensor, "b t c h w"]: ...


@runtime_checkable
class Objective(Protocol):
    """What a backbone is trained to predict, and how that prediction is read as both ends of the path.

    `visible` is passed on to the backbone.
    """

    @property
    def path(self) -> Path: ...

    def loss(
        self,
        denoise: Denoiser,
        clean: Float[Tensor, "b t c h w"],
        cond: Conditions,
        rng: torch.Generator,
        visible: Bool[Tensor, "b *t h w"] | None = None,
    ) -> Loss: ...

    def estimate(
        self, denoise: Denoiser, z: Float[Tensor, "b t c h w"], level: Float[Tensor, "b t"], cond: Conditions
    ) -> Estimate: ...
