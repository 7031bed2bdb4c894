"""How sure a rate is."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959964
"""Standard deviations of a normal distribution that hold 95 %."""


@dataclass(frozen=True)
class Rate:
    """How often something passed: counts, so that shards add up to one run."""

    passed: int = 0
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
