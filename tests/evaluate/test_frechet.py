"""Laws of the Fréchet distance: closed forms, parts that merge, a bias that falls like 1/n, intervals that hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

from vitascope.evaluate.intervals import bootstrap_interval, resamples
from vitascope.evaluate.measured import Features
from vitascope.evaluate.metrics.frechet import (
    Moments,
    distance_of_rows,
    extrapolated,
    floor_of,
    frechet_distance,
    resampled_distances,
    trace_of_root,
)
from vitascope.evaluate.metrics.metric import Bootstrap, Frechet, between_sets
from vitascope.types import generator_for


def normal(num: int, dims: int, *purpose: str | int, decay: float | None = None) -> torch.Tensor:
    rows = torch.randn(num, dims, generator=generator_for(0, *purpose), dtype=torch.float64)
    return rows if decay is None else rows * torch.exp(-torch.arange(dims) / (2 * decay))


def covariance(dims: int, *purpose: str | int) -> torch.Tensor:
    root = normal(dims, dims, *purpose)
    return root @ root.T / dims


def by_scipy(real: torch.Tensor, made: torch.Tensor, ddof: int) -> float:
    one, other = (np.cov(rows.numpy(), rowvar=False, ddof=ddof) for rows in (real, made))
    root = scipy.linalg.sqrtm(one @ other).real
    means = (real.mean(0) - made.mean(0)).square().sum().item()
    return means + np.trace(one + other - 2 * root)


def test_gaussians_on_the_same_axes_have_a_closed_form():
    one, other = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 1.0, 16.0]).double()
    means = torch.tensor([1.0, 0.0, -2.0]).double(), torch.tensor([0.0, 0.0, 1.0]).double()
    first = Moments(10.0, means[0], torch.diag(one) * 10)
    second = Moments(20.0, means[1], torch.diag(other) * 20)
    truth = 10 + (one.sqrt() - other.sqrt()).square().sum().item()
    assert frechet_distance(first, second, ddof=0) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("dims", [1, 3, 24])
def test_the_trace_of_the_root_is_that_of_the_matrix_root(dims: int):
    one, other = covariance(dims, "one"), covariance(dims, "other")
    root = scipy.linalg.sqrtm((one @ other).numpy())
    assert trace_of_root(one, other) == pytest.approx(np.trace(root).real, rel=1e-9)
    assert trace_of_root(one, one) == pytest.approx(one.trace().item(), rel=1e-9)


def test_a_covariance_without_full_rank_has_a_root_too():
    rows = normal(5, 24, "few")
    flat = torch.cov(rows.T)
    assert trace_of_root(flat, flat) == pytest.approx(flat.trace().item(), rel=1e-9)
    assert trace_of_root(flat, torch.zeros(24, 24).double()) == 0


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("num", [12, 200])
def test_few_rows_and_many_rows_give_the_same_as_scipy(num: int, ddof: int):
    """With 12 rows of 20 dims the way through inner products is taken, with 200 that through covariances."""
    real, made = normal(num, 20, "real"), 0.5 + 1.3 * normal(num + 3, 20, "made")
    truth = by_scipy(real, made, ddof)
    assert distance_of_rows(real, made, ddof) == pytest.approx(truth, rel=1e-6)
    assert frechet_distance(Moments.of(real), Moments.of(made), ddof) == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("num", [12, 200])
def test_no_distance_lies_below_zero_not_even_of_a_set_to_itself(num: int):
    for seed in range(8):
        rows = 100 * normal(num, 20, "itself", seed)
        assert 0 <= distance_of_rows(rows, rows, 1) < 1e-6


@pytest.mark.parametrize("num", [12, 200])
def test_weights_are_rows_repeated(num: int):
    real, made = normal(num, 20, "real"), normal(num, 20, "made") + 1
    weights, others = resamples(num, 3, 0, "test"), resamples(num, 3, 0, "other")
    distances = resampled_distances(real, made, weights, others, 1)
    for distance, one, other in zip(distances, weights, others, strict=True):
        repeated = real.repeat_interleave(one.long(), 0), made.repeat_interleave(other.long(), 0)
        # Rows fewer than dims: singular values of zero are found as large as the root of rounding.
        assert distance == pytest.approx(distance_of_rows(*repeated, 1), rel=1e-8)
    assert resampled_distances(real, made, torch.zeros(0, num), torch.zeros(0, num), 1) == []


def test_moments_of_parts_merge_to_those_of_the_whole_even_far_from_zero():
    rows = normal(300, 8, "far") * 1e-3 + 1e4
    whole = Moments.of(rows)
    parts = [Moments.of(part) for part in rows.split([1, 99, 200])]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    assert merged.count == whole.count
    assert torch.allclose(merged.mean, whole.mean, rtol=1e-14)
    assert torch.allclose(merged.scatter, whole.scatter, rtol=1e-6, atol=1e-9)


def test_the_order_of_rows_does_not_matter():
    real, made = normal(64, 8, "real"), normal(64, 8, "made") + 0.3
    order = torch.randperm(64, generator=generator_for(3))
    assert distance_of_rows(real[order], made, 1) == pytest.approx(distance_of_rows(real, made, 1), rel=1e-9)
    assert distance_of_rows(made, real, 1) == pytest.approx(distance_of_rows(real, made, 1), rel=1e-9)
    assert abs(distance_of_rows(real, real, 1)) < 1e-9


@pytest.mark.parametrize(
    ("decay", "num", "share"), [(40, 64, 0.753), (40, 256, 0.229), (None, 64, 1.374), (None, 256, 0.744)]
)
def test_the_bias_of_small_sets_is_that_of_the_table(decay: float | None, num: int, share: float):
    """Two draws from one Gaussian of 400 dims: the distance by the trace of its covariance, at 64 and 256 rows."""
    real, made = (normal(num, 400, which, num, decay=decay) for which in ("real", "made"))
    variances = torch.ones(400) if decay is None else torch.exp(-torch.arange(400) / decay)
    assert distance_of_rows(real, made, 1) / variances.sum().item() == pytest.approx(share, rel=0.06)


def test_the_extrapolation_takes_most_of_the_bias_away():
    real, made = (normal(512, 48, which, decay=8.0) for which in ("real", "made"))
    line = extrapolated(real.split(1), made.split(1), 1, seed=0)
    assert line is not None
    assert line.counts == (512, 256, 170, 128)
    assert list(line.distances) == sorted(line.distances)
    assert abs(line.at_infinity) < 0.2 * line.distances[0]
    assert extrapolated(real[:15].split(1), made.split(1), 1, seed=0) is None


def test_the_floor_is_what_sets_of_that_size_show_without_any_difference():
    real = normal(512, 16, "real")
    floor, size = floor_of(real.split(1), 128, 1, seed=0) or (math.nan, 0)
    assert size == 128
    again = distance_of_rows(normal(128, 16, "one"), normal(128, 16, "other"), 1)
    assert floor == pytest.approx(again, rel=0.3)
    assert floor_of(real[:3].split(1), 128, 1, seed=0) is None
    drawn = [torch.randperm(512, generator=generator_for(0, "floor", draw)) for draw in range(3)]
    values = [distance_of_rows(real[order[:128]], real[order[128:256]], 1) for order in drawn]
    assert floor == pytest.approx(sum(values) / 3, rel=1e-12)


def test_clips_that_repeat_their_video_change_nothing():
    """Parts that shared videos would be too alike, and the more so the more clips each video has."""
    names, sets = tuple(map(str, range(64))), [normal(64, 6, which) for which in ("made", "real")]

    def beside(clips: int) -> Mapping[str, Any]:
        videos = torch.arange(64).repeat_interleave(clips)
        made, real = (Features(names, ("",) * 64, "", rows.repeat_interleave(clips, 0), videos) for rows in sets)
        return between_sets("frechet", Frechet("n"), {}, made, real, Bootstrap(0)).beside

    once, thrice = beside(1), beside(3)
    assert once["floor n"] == thrice["floor n"] == 32
    for name in ("floor", "at n", "at infinite n"):
        assert thrice[name] == pytest.approx(once[name], rel=1e-6, abs=1e-9)


def test_the_interval_is_as_wide_as_the_distance_scatters():
    num, dims, draws = 96, 6, 60
    values = [
        distance_of_rows(normal(num, dims, "r", draw), normal(num, dims, "m", draw) + 0.5, 1) for draw in range(draws)
    ]
    truth = torch.tensor(values).std().item()
    real, made = normal(num, dims, "r", 0), normal(num, dims, "m", 0) + 0.5
    replicates = resampled_distances(real, made, resamples(num, 120, 0, "real"), resamples(num, 120, 0, "made"), 1)
    low, high = bootstrap_interval(values[0], replicates) or (math.nan, math.nan)
    assert low < values[0] < high
    assert (high - low) / (2 * 1.96) == pytest.approx(truth, rel=0.35)
