"""A per-frame KL autoencoder: each picture by itself, as STIV does (its appendix B), to latents eight times smaller.

Residual blocks without norms keep flat colours exact and are the fastest on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vitascope.config import Config, Count, CountOrZero
from vitascope.nn.layers import ResidualBlock


class FrameVaeConfig(Config):
    channels: Count = 8  # STIV's final autoencoder; 4 is its baseline
    widths: tuple[Count, Count] = (64, 128)  # at a quarter and an eighth of the resolution
    encoder_blocks: tuple[CountOrZero, CountOrZero] = (1, 2)
    decoder_blocks: tuple[CountOrZero, CountOrZero] = (3, 2)

    def build(self) -> FrameVae:
        return FrameVae(self)


class Residual(ResidualBlock):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d h w"]:
        return x + self.second(F.silu(self.first(F.silu(x))))


def blocks(widths: tuple[int, int], counts: tuple[int, int]) -> list[list[Residual]]:
    return [[Residual(width) for _ in range(count)] for width, count in zip(widths, counts, strict=True)]


class FrameVae(nn.Module):
    """Pixels in [0, 1] to latents of unit variance per channel (by stored statistics) and back."""

    def __init__(self, config: FrameVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.channels = config.channels
        self.stride = (1, 8, 8)
        quarter, eighth = config.widths
        in_quarter, in_eighth = blocks(config.widths, config.encoder_blocks)
        # Nothing runs at the full resolution: 4x4 pixels enter and leave as 48 numbers, which is what makes it fast.
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, quarter, 3, padding=1),
            *in_quarter,
            nn.Conv2d(quarter, eighth, 3, stride=2, padding=1),
            *in_eighth,
            nn.SiLU(),
            nn.Conv2d(eighth, 2 * config.channels, 3, padding=1),
        )
        in_quarter, in_eighth = blocks(config.widths, config.decoder_blocks)
        self.decoder = nn.Sequential(
            nn.Conv2d(config.channels, eighth, 3, padding=1),
            *in_eighth,
            nn.Upsample(scale_factor=2),
            nn.Conv2d(eighth, quarter, 3, padding=1),
            *in_quarter,
            nn.SiLU(),
            nn.Conv2d(quarter, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("std", torch.ones(config.channels))
        for weight in self.parameters():
            if weight.ndim == 4:  # in this layout convolutions are faster on CPUs, in bf16 by a quarter
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def encode(self, pixels: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t c lh lw"]:
        """The means of the posteriors, normalised. Height and width must be multiples of 8."""
        mean, _ = self.posterior(rearrange(pixels, "b t c h w -> (b t) c h w"))
        latents = rearrange(mean, "(b t) c h w -> b t c h w", b=len(pixels))
        return (latents - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: Float[Tensor, "b t c lh lw"]) -> Float[Tensor, "b t 3 h w"]:
        raw = latents * self.std[:, None, None] + self.mean[:, None, None]
        pixels = self.reconstruct(rearrange(raw, "b t c h w -> (b t) c h w"))
        return rearrange(pixels, "(b t) c h w -> b t c h w", b=len(latents)).clamp(0, 1)

    def posterior(
        self, pictures: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n c lh lw"], Float[Tensor, "n c lh lw"]]:
        """Mean and log variance of the raw latents."""
        if pictures.shape[-2] % 8 or pictures.shape[-1] % 8:
            raise ValueError(
                f"the autoencoder needs a height and width that 8 divides, got {tuple(pictures.shape[-2:])}"
            )
        mean, log_variance = self.encoder(2 * pictures - 1).chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def reconstruct(self, raw: Float[Tensor, "n c lh lw"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures from raw latents, not clamped: the loss must see what lies outside [0, 1]."""
        return (self.decoder(raw) + 1) / 2

    @torch.no_grad()
    def standardise(self, batches: Iterable[Float[Tensor, "_ 3 _ _"]]) -> None:
        """Measure mean and standard deviation of each latent channel and keep them with the weights."""
        total, squares = torch.zeros(2, self.channels, dtype=torch.float64)
        count = 0
        for pictures in batches:
            mean = self.posterior(pictures)[0].cpu().double()  # in single precision a large mean drowns the variance
            total += mean.sum((0, 2, 3))
            squares += mean.square().sum((0, 2, 3))
            count += mean[:, 0].numel()
        average = total / count
        self.mean.copy_(average)
        self.std.copy_((squares / count - average.square()).clamp_min(1e-8).sqrt())
