"""Laws of the solvers, on Gaussian data, where the estimator and the exact video are known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch

from vitascope.conditions import Conditions, TextFeatures
from vitascope.noise import Cosine, Estimate, Straight, from_noise, from_velocity, mix, velocity
from vitascope.samplers.solvers import SOLVERS, evolving, integrate, levels, renoised
from vitascope.types import UserError, generator_for

PATHS = [Straight(), Cosine()]
ORDINARY = [name for name in SOLVERS if name != "sde"]  # those that draw nothing


def conditions(like: torch.Tensor, known: tuple[int, ...] = ()) -> Conditions:
    b, t = like.shape[:2]
    text = TextFeatures(torch.zeros(b, 2, 3), torch.ones(b, 2).bool(), torch.zeros(b, 3))
    mask = torch.tensor([frame in known for frame in range(t)]).expand(b, -1)
    frames = torch.randn(like.shape, generator=generator_for(0, "frames")) * mask[:, :, None, None, None]
    return Conditions(mask, frames, text, text, torch.zeros(b, 6))


def noise_for(num_samples: int, num_frames: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    draws = [torch.randn(num_frames, 2, 1, 3, generator=generator_for(i, "noise")) for i in range(num_samples)]
    return torch.stack(draws).to(dtype)


@dataclass(frozen=True)
class Gaussian:
    """Data that is normal in every value: what an ideal model believes, and where the exact flow leads."""

    path: Straight | Cosine
    mean: float = 0.7
    spread: float = 0.4

    def variance(self, level: torch.Tensor) -> torch.Tensor:
        return (self.path.alpha(level) * self.spread) ** 2 + self.path.sigma(level) ** 2

    def estimate(self, z: torch.Tensor, level: torch.Tensor, cond: Conditions) -> Estimate:
        alpha, sigma, variance = (
            value[:, :, None, None, None]
            for value in (self.path.alpha(level), self.path.sigma(level), self.variance(level))
        )
        apart = (z - alpha * self.mean) / variance
        return Estimate(clean=self.mean + alpha * self.spread**2 * apart, noise=sigma * apart)

    def flow(self, z: torch.Tensor, here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        grown = (self.variance(there) / self.variance(here)).sqrt()
        return self.path.alpha(there) * self.mean + grown * (z - self.path.alpha(here) * self.mean)


def walk(name: str, data: Gaussian, noise: torch.Tensor, steps: torch.Tensor, **options) -> torch.Tensor:
    return integrate(SOLVERS[name], data.path, data.estimate, noise, steps, conditions(noise), **options)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpmpp", 2), ("unipc", 3)])
def test_error_falls_with_the_order_of_the_solver(name, order, path):
    """UniPC of order 2 reaches 3 by its corrector. Away from both ends, where log-SNR is finite, this is exact."""
    data, noise = Gaussian(path), noise_for(4, 2)

    def error(num_steps: int) -> float:
        steps = torch.linspace(0.9, 0.1, num_steps + 1, dtype=torch.float64)
        exact = data.flow(path.sigma(steps[0]) * noise, steps[0], steps[-1])
        return (walk(name, data, noise, steps) - exact).abs().max().item()

    assert math.log2(error(32) / error(64)) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize(("name", "error"), [("euler", 0.03), ("heun", 2e-3), ("dpmpp", 5e-3), ("unipc", 3e-3)])
def test_all_solvers_find_the_exact_video(name, error, path):
    data, noise = Gaussian(path), noise_for(4, 2, torch.float32)
    exact = data.flow(noise, torch.ones(()), torch.zeros(()))
    assert (walk(name, data, noise, levels(60)) - exact).abs().max() < error


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("name", list(SOLVERS))
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
def test_every_solver_is_finite_from_end_to_end_and_ends_on_the_clean_estimate(name, path, num_steps):
    data, noise, seen = Gaussian(path), noise_for(2, 2, torch.float32), []

    def estimate(z, level, cond):
        seen.append((level, data.estimate(z, level, cond)))
        return seen[-1][1]

    rng = [generator_for(i, "sde") for i in range(2)]
    video = integrate(SOLVERS[name], path, estimate, noise, levels(num_steps), conditions(noise), rng=rng)
    level, last = seen[-1]
    assert torch.isfinite(video).all()
    assert level.min() > 0
    assert torch.allclose(video, last.clean, atol=1e-5)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("name", ORDINARY)
def test_ends_held_fixed_cost_no_error_on_any_path(name, path):
    noise = noise_for(2, 3)
    ends = Estimate(noise.flip(0) + 1, noise)
    steps = torch.linspace(1, 0.3, 5, dtype=torch.float64)
    video = integrate(SOLVERS[name], path, lambda z, level, cond: ends, noise, steps, conditions(noise))
    assert torch.allclose(video, mix(path, ends, steps[-1].expand(2, 3)), atol=1e-6)


@pytest.mark.parametrize("name", ORDINARY)
def test_solvers_hear_only_the_ends_not_how_the_model_spoke_of_them(name):
    """Predicting noise or velocity is the same model, hence the same video."""
    path, noise, steps = Cosine(), noise_for(2, 2), torch.linspace(0.95, 0, 9, dtype=torch.float64)
    data, cond = Gaussian(path), conditions(noise)

    def by_noise(z, level, cond):
        return from_noise(path, data.estimate(z, level, cond).noise, z, level)

    def by_velocity(z, level, cond):
        return from_velocity(path, velocity(path, data.estimate(z, level, cond), level), z, level)

    first, second = (integrate(SOLVERS[name], path, model, noise, steps, cond) for model in (by_noise, by_velocity))
    assert torch.allclose(first, second, atol=1e-9)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_the_sde_reaches_the_distribution_of_the_data(path):
    data = Gaussian(path)
    noise = torch.randn(1, 1, 2, 100, 200, generator=generator_for(1, "many"))
    video = walk("sde", data, noise, levels(60), rng=[generator_for(2)])
    assert video.mean().item() == pytest.approx(data.mean, abs=0.01)
    assert video.std().item() == pytest.approx(data.spread, rel=0.02)
    flowed = data.flow(noise, torch.ones(()), torch.zeros(()))
    assert torch.corrcoef(torch.stack([video.flatten(), flowed.flatten()]))[0, 1] < 0.9  # it did not follow the flow


def test_the_sde_asks_for_a_generator_per_sample():
    with pytest.raises(ValueError, match="2 samples, 1 generators"):
        walk("sde", Gaussian(Straight()), noise_for(2, 1), levels(4), rng=[generator_for(0)])


@pytest.mark.parametrize("name", list(SOLVERS))
def test_a_sample_does_not_depend_on_its_batch(name):
    data, noise, steps = Gaussian(Straight()), noise_for(3, 2, torch.float32), levels(6)
    together = walk(name, data, noise, steps, rng=[generator_for(i) for i in range(3)])
    alone = [walk(name, data, noise[i : i + 1], steps, rng=[generator_for(i)]) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("name", list(SOLVERS))
def test_the_same_step_twice_gives_the_same_result(name):
    path, data, z = Straight(), Gaussian(Straight()), noise_for(2, 2, torch.float32)
    cond, memory = conditions(z), ()
    for here, there in pairwise(levels(4)):
        here, there = here.expand(2, 2), there.expand(2, 2)
        results = [
            SOLVERS[name](path, data.estimate, z, here, there, cond, memory, [generator_for(i) for i in range(2)])
            for _ in range(2)
        ]
        assert torch.equal(results[0][0], results[1][0])
        z, memory = results[0]


@pytest.mark.parametrize("name", ORDINARY)
def test_each_frame_may_walk_at_its_own_pace(name):
    """Frames that wait at their level are in nobody's way, and those that have arrived are left alone."""
    data, noise, even = Gaussian(Straight()), noise_for(1, 2, torch.float32), levels(10)
    waiting = torch.stack([torch.cat([even, torch.zeros(5)]), torch.cat([torch.ones(5), even])], dim=-1)[:, None]

    def lost_at_level_zero(z, level, cond):
        ends, arrived = data.estimate(z, level, cond), (level == 0)[:, :, None, None, None]
        return Estimate(ends.clean.masked_fill(arrived, math.nan), ends.noise.masked_fill(arrived, math.nan))

    apart = integrate(SOLVERS[name], data.path, lost_at_level_zero, noise, waiting, conditions(noise))
    assert torch.allclose(apart, walk(name, data, noise, even), atol=1e-5)


# Known frames.


@pytest.mark.parametrize("keep", [renoised, evolving])
@pytest.mark.parametrize("name", list(SOLVERS))
def test_known_frames_come_out_bit_for_bit(name, keep):
    noise, data = noise_for(2, 4, torch.float32), Gaussian(Straight())
    cond = conditions(noise, known=(0, 3))
    rng = [generator_for(i) for i in range(2)]
    video = integrate(SOLVERS[name], data.path, data.estimate, noise, levels(5), cond, rng=rng, keep=keep)
    assert torch.equal(video[cond.known], cond.frames[cond.known])
    assert not torch.equal(video[~cond.known], cond.frames[~cond.known])


@pytest.mark.parametrize("name", list(SOLVERS))
def test_a_forgetful_pass_sees_known_frames_renoised_to_the_level(name):
    noise, data = noise_for(2, 3, torch.float32), Gaussian(Cosine())
    cond = conditions(noise, known=(0,))

    def watching(z, level, cond):
        expected = mix(data.path, Estimate(cond.frames, noise), level)
        assert torch.equal(z[cond.known], expected[cond.known])
        return data.estimate(z, level, cond)

    integrate(SOLVERS[name], data.path, watching, noise, levels(5), cond, rng=[generator_for(i) for i in range(2)])


@pytest.mark.parametrize("name", ORDINARY)
def test_an_evolving_known_slot_walks_as_if_it_were_not_known(name):
    noise, data, seen = noise_for(2, 3, torch.float32), Gaussian(Straight()), []

    def watching(z, level, cond):
        seen.append(z)
        return data.estimate(z, level, cond)

    integrate(SOLVERS[name], data.path, watching, noise, levels(5), conditions(noise, known=(0,)), keep=evolving)
    known, seen = seen, []
    integrate(SOLVERS[name], data.path, watching, noise, levels(5), conditions(noise), keep=evolving)
    assert all(torch.equal(one, other) for one, other in zip(known, seen, strict=True))


# The walk itself.


def test_progress_is_told_of_every_step_and_may_cancel():
    told = []

    def progress(done, num_steps, z):
        told.append((done, num_steps, z.shape))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk("euler", Gaussian(Straight()), noise_for(1, 2), levels(5), progress=progress)
    assert told == [(done, 5, (1, 2, 2, 1, 3)) for done in (1, 2, 3)]


def test_the_first_video_that_is_not_finite_stops_the_walk():
    data, noise = Gaussian(Straight()), noise_for(1, 1)

    def failing(z, level, cond):
        ends = data.estimate(z, level, cond)
        return ends if level.max() > 0.5 else Estimate(ends.clean * math.nan, ends.noise)

    with pytest.raises(FloatingPointError, match="in step 6 of 10"):
        integrate(SOLVERS["euler"], data.path, failing, noise, levels(10), conditions(noise))


@pytest.mark.parametrize("shift", [0.3, 1.0, 3.1, 12.0])
@pytest.mark.parametrize("num_steps", [1, 7, 50])
def test_levels_fall_from_exactly_one_to_exactly_zero(num_steps, shift):
    steps = levels(num_steps, shift)
    assert steps.shape == (num_steps + 1,)
    assert steps[0] == 1
    assert steps[-1] == 0
    assert (steps.diff() < 0).all()


def test_a_shift_above_one_stays_longer_near_noise():
    assert (levels(10, 3.0)[1:-1] > levels(10)[1:-1]).all()
    assert levels(2, 3.0)[1].item() == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("num_steps", "shift"), [(0, 1.0), (-3, 1.0), (4, 0.0), (4, -1.0), (4, math.inf), (4, math.nan)]
)
def test_impossible_levels_are_refused(num_steps, shift):
    with pytest.raises(UserError):
        levels(num_steps, shift)


# Against the solvers of others.


def diffusers_walk(scheduler, data: Gaussian, noise: torch.Tensor) -> torch.Tensor:
    z, cond = noise, conditions(noise)
    for level, timestep in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
        level = level.to(noise.dtype).expand(noise.shape[:2])
        z = scheduler.step(velocity(data.path, data.estimate(z, level, cond), level), timestep, z).prev_sample
    return z


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(
    ("name", "scheduler", "options"),
    [
        ("dpmpp", "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_type": "midpoint"}),
        ("unipc", "UniPCMultistepScheduler", {"solver_type": "bh2"}),
    ],
)
def test_multistep_solvers_are_those_of_diffusers(name, scheduler, options, shift):
    diffusers = pytest.importorskip("diffusers")
    scheduler = getattr(diffusers, scheduler)(
        solver_order=2, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, **options
    )
    scheduler.set_timesteps(12)
    data, noise = Gaussian(Straight()), noise_for(2, 2)
    steps = scheduler.sigmas.double()
    ours = walk(name, data, noise / steps[0], steps)
    assert torch.allclose(ours, diffusers_walk(scheduler, data, noise), atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_and_its_levels_are_those_of_diffusers(shift):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=levels(9, shift)[:-1].tolist())
    data, noise = Gaussian(Straight()), noise_for(2, 2)
    ours = walk("euler", data, noise, levels(9, shift).double())
    assert torch.allclose(ours, diffusers_walk(scheduler, data, noise), atol=1e-5)


@pytest.mark.parametrize(("name", "method"), [("euler", "euler"), ("heun", "heun2"), ("unipc", "dopri5")])
def test_the_flow_is_that_of_torchdiffeq(name, method):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    data, noise = Gaussian(Straight()), noise_for(2, 2)
    steps = torch.linspace(0.9, 0.1, 65, dtype=torch.float64)

    def slope(level, z):
        level = level.expand(z.shape[:2])
        return velocity(data.path, data.estimate(z, level, conditions(z)), level)

    theirs = torchdiffeq.odeint(slope, 0.9 * noise, steps, method=method, rtol=1e-7, atol=1e-9)[-1]
    assert torch.allclose(walk(name, data, noise, steps), theirs, atol=3e-4 if name == "unipc" else 1e-9)
