"""Solvers: from pure noise to a video, level by level, with no state but what each step returns.

Every step asks the estimator for both ends of the path. On the straight path this is flow matching's sampling, on a
variance-preserving one it is that of Gaussian diffusion: one file serves both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitascope.choices import KnownSlots
from vitascope.conditions import Conditions, per_frame
from vitascope.noise import SMALLEST, Estimate, Level, Path, Video, from_clean, log_snr_half, mix
from vitascope.protocols import Estimator
from vitascope.types import UserError


@dataclass(frozen=True, eq=False)
class Past:
    """What a multistep solver remembers of a level: the video there and the clean video then believed in."""

    z: Video
    level: Level
    clean: Video


Memory = tuple[Past, ...]
"""Newest first; empty before the first step, and always for solvers of one step."""

Rng = Sequence[torch.Generator]
"""One generator per sample, so that a sample does not depend on what shares its batch; none if nothing is drawn."""


@runtime_checkable
class Step(Protocol):
    """From the noisy video at level `here` to the one at `there`, and what the next step should remember."""

    def __call__(
        self,
        path: Path,
        estimate: Estimator,
        z: Video,
        here: Level,
        there: Level,
        cond: Conditions,
        memory: Memory,
        rng: Rng,
        /,
    ) -> tuple[Video, Memory]: ...


@runtime_checkable
class Keep(Protocol):
    """A rule for what the estimator sees in the slots of known frames; like guidance it wraps an estimator."""

    def __call__(self, estimate: Estimator, path: Path, noise: Video, /) -> Estimator: ...


def levels(num_steps: int, shift: float = 1.0) -> Float[Tensor, "{num_steps}+1"]:
    """The levels to walk through, from exactly 1 to exactly 0.

    A `shift` above 1 spends more steps near noise, as large videos need (Esser et al. 2024, SD3, equation 23).
    """
    if num_steps < 1:
        raise UserError(f"sampling needs at least 1 step, got {num_steps}")
    if not (math.isfinite(shift) and shift > 0):
        raise UserError(f"the shift of the levels must be a number above 0, got {shift}")
    even = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
    return (shift * even / (1 + (shift - 1) * even)).float()


# Known frames. The conditional pass sees them clean whatever z holds, since the estimator places them itself. A pass
# that was told to forget them sees z, and must find there a noisy frame of the right level, not a clean one.


def renoised(estimate: Estimator, path: Path, noise: Video) -> Estimator:
    """A pass that forgets the known frames sees them at the current level, always with the noise they began with."""

    def seen(z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
        slots = mix(path, Estimate(cond.frames.to(noise.dtype), noise), level)
        return estimate(torch.where(per_frame(cond.known), slots, z), level, cond)

    return seen


def evolving(estimate: Estimator, path: Path, noise: Video) -> Estimator:
    """A pass that forgets the known frames sees what it has made of them itself so far.

    Guidance returns the estimate of its weakest pass in those slots. Where there is no such pass (outside a guidance
    interval) nothing meaningful moves them: use `renoised` there.
    """
    return estimate


@torch.no_grad()
def integrate(
    step: Step,
    path: Path,
    estimate: Estimator,
    noise: Video,
    levels: Float[Tensor, "s *bt"],
    cond: Conditions,
    *,
    rng: Rng = (),
    keep: Keep = renoised,
    progress: Callable[[int, int, Tensor], None] | None = None,
) -> Video:
    """Walk from noise to video through `levels`, which are the same for all frames or given for each (`s b t`).

    A frame whose level does not change in a step is left alone. Known frames come out bit for bit. `progress` hears
    (steps done, steps in all, the noisy video) after every step and may raise to cancel.
    """
    num_steps = len(levels) - 1
    walk = [level.expand(noise.shape[:2]) for level in levels.to(noise.device)]
    seen = keep(estimate, path, noise)
    z = per_frame(path.sigma(walk[0])) * noise
    memory: Memory = ()
    for done, (here, there) in enumerate(pairwise(walk), start=1):
        moved, memory = step(path, seen, z, here, there, cond, memory, rng)
        z = torch.where(per_frame(here == there), z, moved)
        video = cond.place(z)
        if not torch.isfinite(video).all():
            raise FloatingPointError(
                f"the video stopped being finite in step {done} of {num_steps} (from level {float(here.max()):.4f} to "
                f"{float(there.max()):.4f}); try more steps, less guidance or a higher precision"
            )
        if progress is not None:
            progress(done, num_steps, video)
    return cond.place(z)


# Solvers.


def euler(
    path: Path, estimate: Estimator, z: Video, here: Level, there: Level, cond: Conditions, memory: Memory, rng: Rng
) -> tuple[Video, Memory]:
    """First order: Euler on the straight path, DDIM (Song et al. 2021, equation 12, eta 0) on a Gaussian one."""
    return mix(path, estimate(z, here, cond), there), ()


def heun(
    path: Path, estimate: Estimator, z: Video, here: Level, there: Level, cond: Conditions, memory: Memory, rng: Rng
) -> tuple[Video, Memory]:
    """Second order, two estimates a step (Karras et al. 2022, algorithm 1); the step to level 0 stays first order.

    Written with steps along the path instead of velocity times time, so that both ends held fixed cost no error on
    any path; on the straight path the two are the same.
    """
    ahead = mix(path, estimate(z, here, cond), there)
    arrived = _is_clean(path, there)
    if arrived.all():
        return ahead, ()
    back = mix(path, estimate(ahead, there, cond), here)
    return torch.where(per_frame(arrived), ahead, ahead + (z - back) / 2), ()


def dpmpp_2m(
    path: Path, estimate: Estimator, z: Video, here: Level, there: Level, cond: Conditions, memory: Memory, rng: Rng
) -> tuple[Video, Memory]:
    """DPM-Solver++ 2M (Lu et al. 2022, algorithm 2): second order at one estimate a step."""
    clean = estimate(z, here, cond).clean
    return _toward(path, _extrapolated(path, clean, here, there, memory), z, here, there), (Past(z, here, clean),)


def unipc(
    path: Path, estimate: Estimator, z: Video, here: Level, there: Level, cond: Conditions, memory: Memory, rng: Rng
) -> tuple[Video, Memory]:
    """UniPC of order 2 with B(h) = exp(h) - 1 on clean predictions (Zhao et al. 2023, algorithms 5 and 6).

    Each estimate serves twice: to correct the step that led here, which then is of third order, and to predict the
    next one. With this B(h) the predictor is that of DPM-Solver++ 2M.
    """
    clean = estimate(z, here, cond).clean
    z = _corrected(path, clean, here, memory) if memory else z
    ahead = _toward(path, _extrapolated(path, clean, here, there, memory), z, here, there)
    return ahead, (Past(z, here, clean), *memory[:1])


def sde(
    path: Path, estimate: Estimator, z: Video, here: Level, there: Level, cond: Conditions, memory: Memory, rng: Rng
) -> tuple[Video, Memory]:
    """SiT's reverse SDE (Ma et al. 2024, equation 4) by their Heun step.

    dz = velocity dlevel - w score dlevel + sqrt(2 w) dB, level falling, with w = sigma: then w score is -noise and
    nothing is divided by a vanishing sigma. Noise is added first, then a deterministic Heun step is taken. The step to
    level 0 adds none and returns the posterior mean, as SiT's "Tweedie" last step.
    """
    arrived = _is_clean(path, there)
    if arrived.all():
        return mix(path, estimate(z, here, cond), there), ()
    gap = per_frame(here - there)
    kick = per_frame(torch.sqrt(2 * path.sigma(here) * (here - there)).masked_fill(arrived, 0))
    shaken = z + kick * _draw(z, rng)
    first = estimate(shaken, here, cond)
    straight_ahead = mix(path, first, there)
    ahead = straight_ahead - gap * first.noise
    second = estimate(ahead, there, cond)
    back = mix(path, second, here) + gap * second.noise
    return torch.where(per_frame(arrived), straight_ahead, ahead + (shaken - back) / 2), ()


def _draw(z: Tensor, rng: Rng) -> Tensor:
    if len(rng) != len(z):
        raise ValueError(f"a stochastic solver needs one generator per sample: {len(z)} samples, {len(rng)} generators")
    return torch.stack([torch.randn(z.shape[1:], generator=one) for one in rng]).to(z)


def _is_clean(path: Path, level: Level) -> Bool[Tensor, "b t"]:
    return path.sigma(level) <= SMALLEST


def _toward(path: Path, clean: Video, z: Video, here: Level, there: Level) -> Video:
    """To level `there` on the way from z to `clean`: sigma'/sigma z - alpha' (exp(-h) - 1) clean, without its poles."""
    return mix(path, from_clean(path, clean, z, here), there)


def _extrapolated(path: Path, clean: Video, here: Level, there: Level, memory: Memory) -> Video:
    """The clean video expected halfway between `here` and `there`, from its change over the step before.

    Log-SNR is infinite at level 0, so the step that ends there does not extrapolate.
    """
    if not memory:
        return clean
    before, now, then = (log_snr_half(path, level) for level in (memory[0].level, here, there))
    weight = (_ratio(then - now, now - before) / 2).masked_fill(_is_clean(path, there), 0)
    return clean + per_frame(weight) * (clean - memory[0].clean)


def _corrected(path: Path, clean: Video, here: Level, memory: Memory) -> Video:
    """The step that led here once more, now that the clean video expected here is known (UniC)."""
    last, older = memory[0], memory[-1]
    now = log_snr_half(path, last.level)
    gap = log_snr_half(path, here) - now
    place = _ratio(log_snr_half(path, older.level) - now, gap)  # of the older level, in steps: about -1
    # Weights of both changes, to solve sum(w_k r_k^(n-1)) = n! h^n phi_(n+1)(-h) / B(h) for n = 1, 2. Where the older
    # level is the last one there is one change and one weight: a half.
    growth = torch.expm1(-gap)
    first = _ratio(growth, -gap) - 1
    one, two = _ratio(first, growth), _ratio(_ratio(first, -gap) - 0.5, growth) * 2
    alone = place == 0
    of_older = _ratio(one - two, 1 - place).masked_fill(alone, 0)
    of_newer = (one - of_older).masked_fill(alone, 0.5)
    change = per_frame(_ratio(of_older, place)) * (older.clean - last.clean)
    change = change + per_frame(of_newer) * (clean - last.clean)
    return _toward(path, last.clean + change, last.z, last.level, here)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below, and 0 where below is 0: a frame that did not move has nothing to extrapolate from."""
    still = below == 0
    return (above / below.masked_fill(still, 1)).masked_fill(still, 0)


KNOWN_SLOTS: dict[KnownSlots, Keep] = {"renoised": renoised, "evolving": evolving}
SOLVERS: dict[str, Step] = {"euler": euler, "heun": heun, "dpmpp": dpmpp_2m, "unipc": unipc, "sde": sde}
