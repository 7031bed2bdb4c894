"""Laws of the kernel distance, and its known answers."""

from __future__ import annotations

import pytest
import torch

from vitascope.evaluate.intervals import resamples
from vitascope.evaluate.metrics import kernel
from vitascope.evaluate.metrics.kernel import JEDI, KVD, Kernel, kernel_distances
from vitascope.types import generator_for

A = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
B = torch.tensor([[7.0, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]])


def normal(num: int, *purpose: str | int) -> torch.Tensor:
    return torch.randn(num, 6, generator=generator_for(0, *purpose))


def distance(real: torch.Tensor, made: torch.Tensor, chosen: Kernel) -> float:
    """Of all rows, each once."""
    return kernel_distances(real, made, chosen, torch.ones(1, len(real)), torch.ones(1, len(made))).item()


@pytest.mark.parametrize(
    ("chosen", "truth"),
    [
        (Kernel(2, 0.0, unbiased=False), 270.7222),
        (Kernel(3, 1.0, unbiased=False), 23088.083),
        (KVD, -5062.0432),
        (JEDI, 27072.22),
    ],
)
def test_known_answers(chosen: Kernel, truth: float):
    assert distance(A, B, chosen) == pytest.approx(truth, rel=2e-7)


def test_the_unbiased_distance_of_equal_sources_is_zero_on_average_and_the_biased_is_not():
    draws = [(normal(12, "one", draw), normal(9, "other", draw)) for draw in range(150)]
    values = torch.tensor([distance(one, other, KVD) for one, other in draws])
    error = values.std() / len(values) ** 0.5
    assert values.mean().abs() < 3 * error
    assert values.min() < 0
    biased = torch.tensor([distance(one, other, Kernel(unbiased=False)) for one, other in draws])
    assert biased.mean() > 10 * error


def test_sums_by_definition_in_any_order_and_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch):
    one, other = normal(30, "one").double(), normal(40, "other").double() + 0.2
    inner = [(x @ y.T / 6 + 1) ** 3 for x, y in ((one, one), (other, other), (one, other))]
    within = sum((k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in inner[:2])
    truth = (within - 2 * inner[2].mean()).item()
    assert distance(one, other, KVD) == pytest.approx(truth, rel=1e-12)
    order = torch.randperm(40, generator=generator_for(1))
    assert distance(one, other[order], KVD) == pytest.approx(truth, rel=1e-9)
    monkeypatch.setattr(kernel, "BLOCK", 7)
    assert distance(one, other, KVD) == pytest.approx(truth, rel=1e-9)


def test_resamples_of_the_biased_distance_are_rows_repeated():
    one, other = normal(10, "one"), normal(12, "other")
    weights = resamples(10, 3, 0, "test")
    found = kernel_distances(one, other, JEDI, weights, torch.ones(3, 12))
    for value, row in zip(found.tolist(), weights, strict=True):
        assert value == pytest.approx(distance(one.repeat_interleave(row.long(), 0), other, JEDI), rel=1e-9)


def test_resamples_of_the_unbiased_distance_stay_unbiased():
    """A row drawn twice is not paired with itself, or every resample would seem further away."""
    one, other = normal(40, "one"), normal(40, "other")
    draws = kernel_distances(one, other, KVD, resamples(40, 300, 0, "a"), resamples(40, 300, 0, "b"))
    assert draws.mean().item() == pytest.approx(distance(one, other, KVD), abs=3 * draws.std().item() / 300**0.5)
