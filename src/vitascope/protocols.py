"""The door frames: what a part must offer so that the house can use it. Concrete parts never import each other.

A part is what the `build()` of its settings returns, a `config.Config` at the top of a module. All but the objective
are modules of torch: their weights are moved, learned and saved. `VideoModel` refuses what lacks anything named here.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitascope.conditions import Conditions
from vitascope.conditions import TextFeatures as TextFeatures
from vitascope.noise import Estimate, Path
from vitascope.types import Loss, UserError

Estimator = Callable[[Tensor, Tensor, Conditions], Estimate]
"""`estimate(z: b t c h w, level: b t, cond) -> Estimate`: all that samplers ever see of a model."""


@runtime_checkable
class Tokenizer(Protocol):
    """Pixels to clean latents of unit scale and back. Pixels are sRGB in [0, 1].

    Every frame has latents of its own, so that any frame can be given: a first stride other than 1 is refused.
    """

    stride: tuple[int, int, int]  # frames (1), rows, columns per latent cell
    channels: int  # of the latents

    def encode(self, pixels: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b lt c lh lw"]: ...

    def decode(self, latents: Float[Tensor, "b lt c lh lw"]) -> Float[Tensor, "b t 3 h w"]: ...


@runtime_checkable
class Autoencoder(Tokenizer, Protocol):
    """A tokenizer that a `TokenizerStage` can train, on single pictures."""

    def posterior(
        self, pictures: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n c lh lw"], Float[Tensor, "n c lh lw"]]:
        """Mean and log variance of the raw latents."""
        ...

    def reconstruct(self, raw: Float[Tensor, "n c lh lw"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures from raw latents, not clamped."""
        ...

    def standardise(self, batches: Iterable[Float[Tensor, "_ 3 _ _"]]) -> None:
        """At the end of its training: measure the raw latents of these pictures, so that `encode` gives unit scale."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Captions to features. The empty string is a caption like any other: the one that says nothing."""

    width: int  # of the features, of each token and of the whole
    max_tokens: int  # of a caption that can be read

    def count(self, caption: str) -> int:
        """Tokens of a caption, which may be more than can be read."""
        ...

    def __call__(self, captions: Sequence[str]) -> TextFeatures: ...


@runtime_checkable
class FrozenTextEncoder(TextEncoder, Protocol):
    """One that never learns, so that what it says of a caption can be kept."""

    def keep_in(self, folder: pathlib.Path) -> None:
        """Keep features below `folder`, under names made of all that they follow from."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """A backbone: from a noisy video and its level, 0 for clean and 1 for noise, to a prediction of the same shape.

    `visible` names the latent cells that a backbone which can hide tokens shall see, alike in all frames
    or of each; None asks for no hiding. One that does not heed it says so in `hides_tokens`: lessons that hide tokens
    (`mask_share`, `time_mask_share`) are then refused.
    """

    channels: int  # of the latents it takes
    text_width: int  # of the text features it takes
    patch: tuple[int, int]  # frames, rows and columns of latent cells in a cube: what sizes and lengths are rounded to
    hides_tokens: bool
    width: int  # of the stream of features: how much memory sampling takes is estimated by it
    blocks: nn.ModuleList  # compiled one by one with `compile`

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

    Known frames are for it to place (`cond.place`) and to leave out of the error (`cond.mean_of_made`); `visible` is
    passed on to the backbone.
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


def checked(part: Any, kind: type, where: str) -> Any:
    """`part`, which must have all that the protocol `kind` names; `where` it stands in the settings."""
    told = [name for base in kind.__mro__ for name in (*getattr(base, "__annotations__", ()), *vars(base))]
    public = (name for name in dict.fromkeys(told) if name == "__call__" or not name.startswith("_"))
    # Asked of its class first: a property may take long, or refuse to be asked.
    if lacks := [name for name in public if not (hasattr(type(part), name) or hasattr(part, name))]:
        raise UserError(
            f"{where}: a {type(part).__name__} is no {kind.__name__} ({kind.__module__}): it lacks {', '.join(lacks)}; "
            "give it those, or name settings of another class"
        )
    return part


def layers(part: Any, kind: type, where: str) -> Any:
    """As `checked`, for a part that is moved, learned and saved."""
    if not isinstance(checked(part, kind, where), nn.Module):
        raise UserError(
            f"{where}: a {type(part).__name__} must be a torch.nn.Module: those are what is learned and saved"
        )
    return part
