"""Gaussian diffusion as latent image models before flow matching learned it: predict the noise, on Stable Diffusion's
schedule (Ho et al. 2020, equation 14; Rombach et al. 2022). The baseline of STIV's table 2."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitascope import noise
from vitascope.conditions import Conditions
from vitascope.config import Amount, Config
from vitascope.noise import Estimate
from vitascope.protocols import Denoiser
from vitascope.types import Loss


class DiffusionConfig(Config):
    """Stable Diffusion's "scaled linear" schedule; its thousand steps are walked continuously."""

    first_beta: Amount = 0.00085
    last_beta: Amount = 0.012
    num_steps: Amount = 1000.0

    def build(self) -> Diffusion:
        return Diffusion(self)


class Diffusion:
    """Variance-preserving; noisy to the end, but never noise alone (a known flaw of the schedule, kept)."""

    def __init__(self, config: DiffusionConfig) -> None:
        self.config = config
        self.path = noise.ScaledLinear(config.first_beta, config.last_beta, config.num_steps)

    def loss(
        self,
        denoise: Denoiser,
        clean: Float[Tensor, "b t c h w"],
        cond: Conditions,
        rng: torch.Generator,
        visible: Bool[Tensor, "b *t h w"] | None = None,
    ) -> Loss:
        """Mean squared error of the noise over the frames to be made (and, of those, the visible cells).

        One level per clip, each as likely.
        """
        b, t = clean.shape[:2]
        level = torch.rand(b, 1, generator=rng).to(clean.device).expand(b, t)
        ends = Estimate(clean, torch.randn(clean.shape, generator=rng).to(clean))
        z = cond.place(noise.mix(self.path, ends, level))
        error = (denoise(z, level, cond, visible).float() - ends.noise).square().mean(2)
        total = cond.mean_of_made(error, visible)
        return Loss(total, {"noise": total.item()})

    def estimate(
        self, denoise: Denoiser, z: Float[Tensor, "b t c h w"], level: Float[Tensor, "b t"], cond: Conditions
    ) -> Estimate:
        """What the network believes both ends to be, seeing the known frames in their place."""
        return noise.from_noise(self.path, denoise(cond.place(z), level, cond).float(), z, level)
