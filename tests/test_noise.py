"""Laws of the paths between a clean video and noise."""

from __future__ import annotations

import pytest
import torch

from vitascope.noise import (
    Cosine,
    Estimate,
    Straight,
    from_clean,
    from_noise,
    from_velocity,
    log_snr_half,
    mix,
    velocity,
)
from vitascope.types import generator_for

PATHS = [Straight(), Cosine()]
pytestmark = pytest.mark.parametrize("path", PATHS, ids=repr)

# A level per frame, each different.
LEVEL = torch.tensor([[0.02, 0.3, 0.5], [0.7, 0.9, 0.98]], dtype=torch.float64)


def ends(dtype: torch.dtype = torch.float64) -> Estimate:
    clean, noise = torch.randn(2, 2, 3, 2, 2, 2, generator=generator_for(0, "ends"), dtype=torch.float64).to(dtype)
    return Estimate(clean, noise)


def test_a_path_leads_from_clean_to_noise(path):
    known = ends(torch.float32)
    assert torch.allclose(mix(path, known, torch.zeros(2, 3)), known.clean, atol=1e-6)
    assert torch.allclose(mix(path, known, torch.ones(2, 3)), known.noise, atol=1e-6)


def test_slopes_are_the_derivatives_of_alpha_and_sigma(path):
    level = LEVEL.clone().requires_grad_()
    for value, slope in zip((path.alpha(level), path.sigma(level)), path.slopes(LEVEL), strict=True):
        (derivative,) = torch.autograd.grad(value.sum(), level)
        assert torch.allclose(derivative, slope)


def test_velocity_is_the_change_of_the_mixture_with_the_level(path):
    known, step = ends(), 1e-6
    change = (mix(path, known, LEVEL + step) - mix(path, known, LEVEL - step)) / (2 * step)
    assert torch.allclose(change, velocity(path, known, LEVEL), atol=1e-6)


def test_every_kind_of_prediction_gives_both_ends_back(path):
    known = ends()
    z = mix(path, known, LEVEL)
    for found in (
        from_velocity(path, velocity(path, known, LEVEL), z, LEVEL),
        from_noise(path, known.noise, z, LEVEL),
        from_clean(path, known.clean, z, LEVEL),
    ):
        assert torch.allclose(found.clean, known.clean)
        assert torch.allclose(found.noise, known.noise)


def test_whatever_a_model_predicts_its_two_ends_mix_to_z(path):
    z, prediction = ends().clean, ends().noise
    for convert in (from_velocity, from_noise, from_clean):
        assert torch.allclose(mix(path, convert(path, prediction, z, LEVEL), LEVEL), z)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_velocity_is_read_at_both_ends_without_loss(path, level):
    """Noise and clean predictions lose one end there, since they divide by nothing; they must still be finite."""
    known, there = ends(torch.float32), torch.full((2, 3), level)
    z = mix(path, known, there)
    found = from_velocity(path, velocity(path, known, there), z, there)
    assert torch.allclose(found.clean, known.clean, atol=1e-5)
    assert torch.allclose(found.noise, known.noise, atol=1e-5)
    for other in (from_noise(path, known.noise, z, there), from_clean(path, known.clean, z, there)):
        assert torch.isfinite(other.clean).all()
        assert torch.isfinite(other.noise).all()


def test_log_snr_falls_with_the_level_and_is_finite_at_both_ends(path):
    log_snr = log_snr_half(path, torch.linspace(0, 1, 50)[None])[0]
    assert torch.isfinite(log_snr).all()
    assert (log_snr.diff() < 0).all()


def test_log_snr_is_that_of_the_mixture(path):
    assert torch.allclose(log_snr_half(path, LEVEL).exp(), path.alpha(LEVEL) / path.sigma(LEVEL))


def test_the_cosine_path_keeps_the_variance_and_the_straight_one_the_sum(path):
    power = 2 if isinstance(path, Cosine) else 1
    assert torch.allclose(path.alpha(LEVEL) ** power + path.sigma(LEVEL) ** power, torch.ones_like(LEVEL))


def test_equal_paths_are_equal(path):
    assert path == type(path)()
    assert len({path, type(path)()}) == 1
