"""Flow matching: predict the velocity of the straight path (STIV, section 2.1; Lipman et al. 2023; SD3's levels)."""

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


class FlowConfig(Config):
    """The law of the level: logit-normal (SD3, section 3.1), since STIV does not say."""

    mean: float = 0.0  # of the logit of the level; higher trains more on noisy videos
    spread: Amount = 1.0

    def build(self) -> FlowMatching:
        return FlowMatching(self)


class FlowMatching:
    """STIV counts t from noise to data and predicts data - noise; here level = 1 - t and velocity = noise - clean."""

    def __init__(self, config: FlowConfig) -> None:
        self.config = config
        self.path = noise.Straight()

    def loss(
        self,
        denoise: Denoiser,
        clean: Float[Tensor, "b t c h w"],
        cond: Conditions,
        rng: torch.Generator,
        visible: Bool[Tensor, "b h w"] | None = None,
    ) -> Loss:
        """Mean squared error of the velocity over the frames to be made (and, of those, the visible cells).

        One level per clip. Known frames replace the noisy ones before the network sees them: a cube may hold both.
        """
        b, t = clean.shape[:2]
        drawn = self.config.mean + self.config.spread * torch.randn(b, 1, generator=rng)
        level = torch.sigmoid(drawn).to(clean.device).expand(b, t)
        ends = Estimate(clean, torch.randn(clean.shape, generator=rng).to(clean))
        z = cond.place(noise.mix(self.path, ends, level))
        error = (denoise(z, level, cond, visible).float() - noise.velocity(self.path, ends, level)).square().mean(2)
        counts = (~cond.known)[:, :, None, None].expand_as(error)
        if visible is not None:
            counts = counts & visible[:, None]
        total = (error * counts).sum() / counts.sum().clamp_min(1)
        return Loss(total, {"velocity": total.item()})

    def estimate(
        self, denoise: Denoiser, z: Float[Tensor, "b t c h w"], level: Float[Tensor, "b t"], cond: Conditions
    ) -> Estimate:
        """What the network believes both ends to be, seeing the known frames in their place.

        In every frame the ends mix back to the `z` that came. Of known frames the network was never asked: there they
        mean nothing.
        """
        velocity = denoise(cond.place(z), level, cond).float()
        return noise.from_velocity(self.path, velocity, z, level)
