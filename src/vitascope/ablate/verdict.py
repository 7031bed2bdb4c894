"""What seeds say of a claim: the difference, how sure it is, and whether it holds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vitascope.ablate.table import Claim, Side
from vitascope.evaluate.intervals import Z

Results = Mapping[tuple[str, int], Mapping[str, float]]
"""Metrics by row and seed."""

SECOND = {
    "error": "toyland distance",
    "text error": "toyland distance",
    "error of pixels": "toyland distance",
    "energy distance": "toyland distance",
    "renormed energy distance": "renormed toyland distance",
}
"""What else claims on these numbers are asked of, where both rows have it."""

Verdict = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True)
class Finding:
    """The mean difference over seeds with its 95 % interval; infinite with less than two seeds."""

    claim: Claim
    differences: tuple[float, ...]
    eventless: bool = False  # both sides are zero in every seed

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences) if self.differences else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        return mean_interval(self.differences)

    @property
    def verdict(self) -> Verdict:
        if self.eventless:  # what never happened on either side tells of no difference between them
            return "cannot be told"
        low, high = self.interval
        margin = self.claim.margin
        if self.claim.expected == "no higher":
            return told(high <= margin, low > margin)
        if self.claim.expected == "same":
            return told(-margin <= low and high <= margin, low > margin or high < -margin)
        if self.claim.expected == "lower":
            low, high = -high, -low
        return told(low > 0, high < 0)


def told(holds: bool, fails: bool) -> Verdict:
    return "holds" if holds else "does not hold" if fails else "cannot be told"


def find(claim: Claim, results: Results) -> Finding:
    """The difference within each seed, of those in which both sides were measured: draws that both share cancel."""
    differences, eventless = [], True
    for seed in sorted({seed for _, seed in results}):
        left, right = (of(side, results, seed) for side in (claim.left, claim.right))
        if not is_meant(claim, results, seed):
            continue
        if left is not None and right is not None and not (claim.relative and right == 0):
            differences.append(left / right - 1 if claim.relative else left - right)
            eventless &= left == right == 0
    return Finding(claim, tuple(differences), eventless and bool(differences))


def second_look(claim: Claim, results: Results) -> Finding | None:
    """The same claim asked of another number, which is known of both rows or there is nothing to look at.

    A margin that is a share stays the same share, of the mean over seeds of the right side.
    """
    left, right = (Side(row=side.row, metric=SECOND.get(side.metric, "")) for side in (claim.left, claim.right))
    there = [value for seed in sorted({seed for _, seed in results}) if (value := of(right, results, seed)) is not None]
    if claim.guard is not None or not there:
        return None
    margin = claim.margin * (abs(statistics.fmean(there)) if claim.relative else 1.0)
    changes = {"left": left, "right": right, "relative": False, "margin": margin}
    found = find(claim.model_copy(update=changes), results)
    return found if found.differences else None


def is_meant(claim: Claim, results: Results, seed: int) -> bool:
    """Whether both rows keep to the guard, so that their comparison means what the claim says."""
    if claim.guard is None:
        return True
    sides = (Side(row=side.row, metric=claim.guard.metric) for side in (claim.left, claim.right))
    values = [of(side, results, seed) for side in sides]
    return all(value is not None and value <= claim.guard.most for value in values)


def of(side: Side, results: Results, seed: int) -> float | None:
    value = results.get((side.row, seed), {}).get(side.metric)
    return value if value is not None and math.isfinite(value) else None


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of a few normal draws (Student 1908)."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = student(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    middle = statistics.fmean(values)
    return middle - half, middle + half


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t: printed values, and beyond them the expansion of Cornish and Fisher."""
    if freedom <= len(PRINTED):
        return PRINTED[freedom - 1]
    first, second = (Z**3 + Z) / 4, (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / freedom + second / freedom**2 + third / freedom**3


PRINTED = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
