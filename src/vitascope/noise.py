"""The path between a clean video (level 0) and noise (level 1), and what each kind of prediction says of both ends.

STIV and SiT count time the other way (t = 1 - level, velocity = data - noise). That flip happens in this file only:
here velocity is the derivative of z by level, which on the straight path is noise - clean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.conditions import per_frame

Video = Float[Tensor, "b t c h w"]
Level = Float[Tensor, "b t"]

SMALLEST = 1e-6
"""Divisors are kept above this; levels nearer to an end than this are indistinguishable from it in float32."""


@runtime_checkable
class Path(Protocol):
    """z = alpha(level) clean + sigma(level) noise."""

    def alpha(self, level: Tensor) -> Tensor: ...

    def sigma(self, level: Tensor) -> Tensor: ...

    def slopes(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of alpha and of sigma by level."""
        ...


@dataclass(frozen=True)
class Straight:
    """Flow matching's path (Lipman et al. 2023, equation 22; Liu et al. 2023)."""

    def alpha(self, level: Tensor) -> Tensor:
        return 1 - level

    def sigma(self, level: Tensor) -> Tensor:
        return level

    def slopes(self, level: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(level), torch.ones_like(level)


@dataclass(frozen=True)
class Cosine:
    """Variance-preserving: alpha^2 + sigma^2 = 1 (Nichol and Dhariwal 2021, without their offset)."""

    def alpha(self, level: Tensor) -> Tensor:
        return torch.cos(level * math.pi / 2)

    def sigma(self, level: Tensor) -> Tensor:
        return torch.sin(level * math.pi / 2)

    def slopes(self, level: Tensor) -> tuple[Tensor, Tensor]:
        return -math.pi / 2 * self.sigma(level), math.pi / 2 * self.alpha(level)


@dataclass(frozen=True)
class ScaledLinear:
    """Variance-preserving, with Stable Diffusion's rate of noise: its root grows evenly with the level.

    The product of 1 - beta over the steps of the discrete schedule is here the exponential of an integral.
    """

    first_beta: float
    last_beta: float
    num_steps: float

    def alpha(self, level: Tensor) -> Tensor:
        return torch.exp(-self._spent(level) / 2)

    def sigma(self, level: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self._spent(level)))

    def slopes(self, level: Tensor) -> tuple[Tensor, Tensor]:
        alpha, half = self.alpha(level), self._root(level) ** 2 * self.num_steps / 2
        return -half * alpha, half * alpha**2 / self.sigma(level).clamp_min(SMALLEST)

    def _root(self, level: Tensor) -> Tensor:
        low, high = self.first_beta**0.5, self.last_beta**0.5
        return low + level * (high - low)

    def _spent(self, level: Tensor) -> Tensor:
        """The integral of beta: of a square of something that grows evenly."""
        low, slope = self.first_beta**0.5, self.last_beta**0.5 - self.first_beta**0.5
        return self.num_steps * (low**2 * level + low * slope * level**2 + slope**2 * level**3 / 3)


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a model believes both ends of the path to be, given a noisy video between them."""

    clean: Video
    noise: Video


def mix(path: Path, ends: Estimate, level: Level) -> Video:
    """The noisy video at `level` between both ends."""
    return per_frame(path.alpha(level)) * ends.clean + per_frame(path.sigma(level)) * ends.noise


def velocity(path: Path, ends: Estimate, level: Level) -> Video:
    """dz/dlevel along the path between both ends."""
    by_clean, by_noise = path.slopes(level)
    return per_frame(by_clean) * ends.clean + per_frame(by_noise) * ends.noise


def from_velocity(path: Path, velocity: Video, z: Video, level: Level) -> Estimate:
    """Both ends from the velocity: solves z = alpha clean + sigma noise, velocity = alpha' clean + sigma' noise."""
    alpha, sigma = per_frame(path.alpha(level)), per_frame(path.sigma(level))
    by_clean, by_noise = (per_frame(slope) for slope in path.slopes(level))
    determinant = alpha * by_noise - sigma * by_clean  # 1 on the straight path, pi/2 on the cosine one
    return Estimate(
        clean=(by_noise * z - sigma * velocity) / determinant,
        noise=(alpha * velocity - by_clean * z) / determinant,
    )


def from_noise(path: Path, noise: Video, z: Video, level: Level) -> Estimate:
    """Both ends from a prediction of the noise (DDPM's epsilon)."""
    alpha, sigma = per_frame(path.alpha(level)), per_frame(path.sigma(level))
    return Estimate(clean=(z - sigma * noise) / alpha.clamp_min(SMALLEST), noise=noise)


def from_clean(path: Path, clean: Video, z: Video, level: Level) -> Estimate:
    """Both ends from a prediction of the clean video (x0)."""
    alpha, sigma = per_frame(path.alpha(level)), per_frame(path.sigma(level))
    return Estimate(clean=clean, noise=(z - alpha * clean) / sigma.clamp_min(SMALLEST))


def log_snr_half(path: Path, level: Level) -> Level:
    """lambda = log(alpha / sigma), the time in which DPM++ and UniPC count."""
    return torch.log(path.alpha(level).clamp_min(SMALLEST)) - torch.log(path.sigma(level).clamp_min(SMALLEST))
