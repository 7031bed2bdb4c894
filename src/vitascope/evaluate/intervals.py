"""How sure a rate is, or any number that follows from a set of videos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.types import generator_for

Z = 1.959964
"""Standard deviations of a normal distribution that hold 95 %."""


@dataclass(frozen=True)
class Rate:
    """How often something passed: counts, so that shards add up to one run."""

    passed: int | float = 0  # half where something passed by half
    count: int = 0

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.passed + other.passed, self.count + other.count)

    @property
    def value(self) -> float:
        return self.passed / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % score interval (Wilson 1927): stays within [0, 1] and is sound near both ends."""
        if not self.count:
            return 0.0, 1.0
        spread = Z**2 / self.count
        middle = (self.value + spread / 2) / (1 + spread)
        half = Z / (1 + spread) * math.sqrt(self.value * (1 - self.value) / self.count + spread / (4 * self.count))
        return max(middle - half, 0.0), min(middle + half, 1.0)


def resamples(num: int, times: int, seed: int, *purpose: str) -> Float[Tensor, "times num"]:
    """How often each of `num` things occurs in each of `times` draws of `num` with replacement (Efron 1979).

    The same seed and purpose give the same draws, so that two values of the same things are resampled together.
    """
    drawn = torch.randint(num, (times, num), generator=generator_for(seed, "resamples", *purpose))
    return torch.zeros(times, num).scatter_add_(1, drawn, torch.ones(times, num))


def bootstrap_interval(value: float, replicates: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval: the spread of the replicates about their own mean, laid around the value.

    About their own mean, because a resample repeats the bias that the value has already: a Fréchet distance of
    resampled sets lies above that of the sets. The interval is of the value at this n, not of one without bias.
    """
    if len(replicates) < 2:
        return None
    values = torch.tensor(replicates, dtype=torch.float64)
    low, high = torch.quantile(values - values.mean(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return value + low, value + high


def mean_with_interval(values: Sequence[float], *purpose: str) -> dict[str, Any]:
    """Over things drawn by chance, with the 95 % interval of other draws of them; of one thing there is none."""
    if len(values) < 2:
        return {"mean": values[0], "interval": None, "n": len(values)}
    numbers = torch.tensor(values, dtype=torch.float64)
    drawn = resamples(len(values), 1000, 0, *purpose).double() @ numbers / len(values)
    mean = numbers.mean().item()
    return {"mean": mean, "interval": bootstrap_interval(mean, drawn.tolist()), "n": len(values)}
