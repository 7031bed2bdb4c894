"""A public image autoencoder (diffusers' AutoencoderKL, such as sd-vae-ft-ema), frozen, each picture by itself."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vitascope.config import Config, Count
from vitascope.errors import install
from vitascope.nn.frozen import Frozen
from vitascope.types import UserError


class HubVaeConfig(Config):
    """Which autoencoder and where it lies. Nothing is downloaded: files that are missing are asked for."""

    source: str  # a folder, or a name whose files are in the Hugging Face cache
    subfolder: str = ""  # of a whole pipeline: "vae"
    frames_at_once: Count = 16  # encoded or decoded together: what bounds the memory

    def build(self) -> HubVae:
        try:
            from diffusers import AutoencoderKL
        except ImportError:
            raise UserError(f"the autoencoder '{self.source}' needs diffusers: {install('hub')}") from None
        try:
            with quietly():
                network, told = AutoencoderKL.from_pretrained(
                    self.source, subfolder=self.subfolder or None, local_files_only=True, output_loading_info=True
                )
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise UserError(
                f"the files of the autoencoder '{self.source}' are not on this machine, are damaged, or are no "
                f"AutoencoderKL. Either run 'hf download {self.source}' where there is a network, or copy its folder "
                f"(config, safetensors) and give that as source (diffusers: {str(error).partition(chr(10))[0]})"
            ) from None
        if lacking := sorted(told["missing_keys"]):
            raise UserError(f"'{self.source}' is not complete: it has no weights named '{lacking[0]}'")
        return HubVae(self, Frozen(network))


@contextmanager
def quietly() -> Iterator[None]:
    """diffusers looks for files with an argument of which huggingface_hub says that it means nothing now."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*local_dir_use_symlinks", UserWarning)
        yield


class HubVae(nn.Module):
    """Pixels in [0, 1] to latents of about unit scale, by the scale and shift that the autoencoder's config states.

    The weights stay in their own files. What is kept with a model is their fingerprint, so that latents of one
    autoencoder are never read by another.
    """

    def __init__(self, config: HubVaeConfig, frozen: Frozen) -> None:
        super().__init__()
        self.config, self.frozen, network = config, frozen, frozen.network
        self.channels: int = network.config.latent_channels
        cell = 2 ** (len(network.config.block_out_channels) - 1)
        self.stride = (1, cell, cell)
        self.scale: float = network.config.scaling_factor
        self.shift: float = getattr(network.config, "shift_factor", None) or 0.0
        self.fingerprint: UInt8[Tensor, " _"]
        told = f"{frozen.digest} {self.scale} {self.shift}"  # all that rules what latents mean
        digest = hashlib.blake2b(told.encode(), digest_size=20).digest()
        self.register_buffer("fingerprint", torch.tensor(list(digest), dtype=torch.uint8))

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t c lh lw"]:
        """The means of the posteriors. Height and width must be multiples of the stride."""
        cell, size = self.stride[1], tuple(pixels.shape[-2:])
        if any(side % cell for side in size):
            raise ValueError(f"the autoencoder needs a height and width that {cell} divides, got {size}")
        pictures = rearrange(2 * pixels - 1, "b t c h w -> (b t) c h w").to(self.dtype)
        means = (self.frozen.network.encode(part).latent_dist.mode() for part in self.parts(pictures))
        latents = (torch.cat(list(means)).float() - self.shift) * self.scale
        return rearrange(latents, "(b t) c h w -> b t c h w", b=len(pixels))

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "b t c lh lw"]) -> Float[Tensor, "b t 3 h w"]:
        raw = rearrange(latents / self.scale + self.shift, "b t c h w -> (b t) c h w").to(self.dtype)
        made = torch.cat([self.frozen.network.decode(part).sample.float() for part in self.parts(raw)])
        return rearrange((made + 1) / 2, "(b t) c h w -> b t c h w", b=len(latents)).clamp(0, 1)

    def parts(self, pictures: Float[Tensor, "n c h w"]) -> Iterable[Float[Tensor, "_ c h w"]]:
        return pictures.split(self.config.frames_at_once)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.frozen.network.parameters()).dtype

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Refuse the weights of a model that was made with another autoencoder."""
        given = state.get(f"{prefix}fingerprint")
        if given is not None and not torch.equal(given.cpu(), self.fingerprint.cpu()):
            raise UserError(
                f"this model was trained with another autoencoder than '{self.config.source}' now holds: its latents "
                "would mean something else; give the files that it was trained with"
            )
        super()._load_from_state_dict(state, prefix, *rest)
