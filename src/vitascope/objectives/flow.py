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
    place_known: bool = True  # False: no frame replacement; the backbone must hear of known frames in another way
    known_loss: bool = False  # True: known frames count in the loss (the "first frame loss" of STIV's table 3)

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
        visible: Bool[Tensor, "b *t h w"] | None = None,
    ) -> Loss:
        """Mean squared error of the velocity over the frames to be made (and, of those, the visible cells).

        One level per clip. Known frames replace the noisy ones before the network sees them: a cube may hold both.
        """
        b, t = clean.shape[:2]
        drawn = self.config.mean + self.config.spread * torch.randn(b, 1, generator=rng)
        level = torch.sigmoid(drawn).to(clean.device).expand(b, t)
        ends = Estimate(clean, torch.randn(clean.shape, generator=rng).to(clean))
        z = self.seen(noise.mix(self.path, ends, level), cond)
        error = (denoise(z, level, cond, visible).float() - noise.velocity(self.path, ends, level)).square().mean(2)
        counted = cond.without(frames=True) if self.config.known_loss else cond
        total = counted.mean_of_made(error, visible)
        return Loss(total, {"velocity": total.item()})

    def estimate(
        self, denoise: Denoiser, z: Float[Tensor, "b t c h w"], level: Float[Tensor, "b t"], cond: Conditions
    ) -> Estimate:
        """What the network believes both ends to be, seeing the known frames in their place.

        In every frame the ends mix back to the `z` that came. Of known frames the network was never asked: there they
        mean nothing.
        """
        velocity = denoise(self.seen(z, cond), level, cond).float()
        return noise.from_velocity(self.path, velocity, z, level)

    def seen(self, z: Float[Tensor, "b t c h w"], cond: Conditions) -> Float[Tensor, "b t c h w"]:
        """What the network is shown of a noisy video."""
        return cond.place(z) if self.config.place_known else z
