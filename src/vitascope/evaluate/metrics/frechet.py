"""The Fréchet distance between two clouds of features, taken as Gaussians; of I3D logits it is the FVD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitascope.types import generator_for

BLOCK = 4096  # rows
LEAST = 0.0  # what lies below is rounding: the distance of a set to itself is a difference of equal traces


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter (sum of outer products of deviations) in float64; parts merge to the whole.

    Not raw second moments: where the mean is far from zero, those lose the digits in which two sets differ.
    """

    count: float
    mean: Float[Tensor, "d"]
    scatter: Float[Tensor, "d d"]

    @classmethod
    def of(cls, rows: Float[Tensor, "n d"], weights: Float[Tensor, "n"] | None = None) -> Moments:
        """`weights`: how often each row counts. Block by block, so that no float64 copy of all rows is made."""
        if weights is not None:
            rows, weights = rows[weights > 0], weights[weights > 0]
        starts = range(0, len(rows), BLOCK)
        blocks = (slice(start, start + BLOCK) for start in starts)
        return reduce(
            Moments.merge, (cls._of_block(rows[part], None if weights is None else weights[part]) for part in blocks)
        )

    @classmethod
    def _of_block(cls, rows: Float[Tensor, "n d"], weights: Float[Tensor, "n"] | None) -> Moments:
        values = rows.double()
        if weights is None:
            mean, count = values.mean(0), float(len(values))
            spread = values - mean
        else:
            weights = weights.double()
            count = float(weights.sum())
            mean = weights @ values / count
            spread = (values - mean) * weights[:, None].sqrt()
        return cls(count, mean, spread.T @ spread)

    def merge(self, other: Moments) -> Moments:
        """Chan, Golub, LeVeque 1983."""
        count = self.count + other.count
        away = other.mean - self.mean
        scatter = self.scatter + other.scatter + torch.outer(away, away) * (self.count * other.count / count)
        return Moments(count, self.mean + away * (other.count / count), scatter)

    def covariance(self, ddof: int) -> Float[Tensor, "d d"]:
        return self.scatter / (self.count - ddof)


def frechet_distance(real: Moments, made: Moments, ddof: int = 1) -> float:
    """|difference of means|^2 + tr(C_r + C_m - 2 (C_r C_m)^(1/2)). `ddof`: covariances are divided by n - ddof."""
    first, second = real.covariance(ddof), made.covariance(ddof)
    means = (real.mean - made.mean).square().sum()
    return max((means + first.trace() + second.trace()).item() - 2 * trace_of_root(first, second), LEAST)


def trace_of_root(first: Float[Tensor, "d d"], second: Float[Tensor, "d d"]) -> float:
    """tr (first second)^(1/2) of two covariances.

    With first = A A' and second = B B' it is the sum of the singular values of A' B: real by construction, and several
    times cheaper than a matrix root. Directions in which a covariance is zero to rounding are left out.
    """
    return sum_of_singular_values(_factor(first).T @ _factor(second)).item()


def sum_of_singular_values(matrix: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
    square = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return torch.linalg.eigvalsh(square).clamp_min(0).sqrt().sum()


def _factor(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d k"]:
    """A with A A' = covariance: Cholesky's where it is safe, else by eigenvectors."""
    lower, failed = torch.linalg.cholesky_ex(covariance)
    least = len(covariance) * torch.finfo(covariance.dtype).eps
    if not failed and (diagonal := lower.diagonal()).min() > least**0.5 * diagonal.max():
        return lower
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > least * values[-1].clamp_min(0)
    return vectors[:, kept] * values[kept].sqrt()


def resampled_distances(
    real: Float[Tensor, "n d"],
    made: Float[Tensor, "m d"],
    real_weights: Float[Tensor, "b n"],
    made_weights: Float[Tensor, "b m"],
    ddof: int,
) -> list[float]:
    """The distance for each pair of weights, by whichever way is cheaper: d x d matrices, or n x m ones."""
    if min(len(real), len(made)) <= real.shape[1]:
        return _of_few(real.double(), made.double(), real_weights.double(), made_weights.double(), ddof).tolist()
    return [
        frechet_distance(Moments.of(real, one), Moments.of(made, other), ddof)
        for one, other in zip(real_weights, made_weights, strict=True)
    ]


def _of_few(
    real: Float[Tensor, "n d"],
    made: Float[Tensor, "m d"],
    real_weights: Float[Tensor, "b n"],
    made_weights: Float[Tensor, "b m"],
    ddof: int,
) -> Float[Tensor, "b"]:
    """Of fewer rows than features: the singular values are those of the rows' inner products, which never change."""
    centre = real.mean(0)
    real, made = real - centre, made - centre
    inner = real @ made.T
    num_real, num_made = real_weights.sum(1, keepdim=True), made_weights.sum(1, keepdim=True)
    real_mean, made_mean = real_weights @ real / num_real, made_weights @ made / num_made
    # Each row by the other set's mean.
    to_made, to_real = made_weights @ inner.T / num_made, real_weights @ inner / num_real
    to_real -= (to_real * made_weights).sum(1, keepdim=True) / num_made
    roots = real.new_empty(len(real_weights), 1)
    for number, draw in enumerate(zip(real_weights, made_weights, to_made, to_real, strict=True)):
        roots[number] = sum_of_singular_values(_deviations(inner, *draw))
    roots /= ((num_real - ddof) * (num_made - ddof)).sqrt()
    traces = sum(
        ((weights @ rows.square().sum(1))[:, None] - count * mean.square().sum(1, keepdim=True)) / (count - ddof)
        for rows, weights, count, mean in (
            (real, real_weights, num_real, real_mean),
            (made, made_weights, num_made, made_mean),
        )
    )
    return ((real_mean - made_mean).square().sum(1, keepdim=True) + traces - 2 * roots).clamp_min(LEAST)[:, 0]


def _deviations(
    inner: Float[Tensor, "n m"],
    real_weights: Float[Tensor, "n"],
    made_weights: Float[Tensor, "m"],
    to_made: Float[Tensor, "n"],
    to_real: Float[Tensor, "m"],
) -> Float[Tensor, "_k _l"]:
    """Inner products of deviations from the weighted means, of the rows that have a weight, times its root."""
    rows, columns = real_weights.nonzero()[:, 0], made_weights.nonzero()[:, 0]
    drawn = inner.index_select(0, rows).index_select(1, columns)
    drawn -= to_made[rows, None]
    drawn -= to_real[columns]
    drawn *= real_weights[rows, None].sqrt()
    drawn *= made_weights[columns].sqrt()
    return drawn


def distance_of_rows(real: Float[Tensor, "n d"], made: Float[Tensor, "m d"], ddof: int) -> float:
    return resampled_distances(real, made, torch.ones(1, len(real)), torch.ones(1, len(made)), ddof)[0]


@dataclass(frozen=True)
class Extrapolation:
    """The distance at several shares of the sets, and the value to which a line in 1/n leads for n without end."""

    at_infinity: float
    counts: tuple[int, ...]  # videos of the smaller set
    distances: tuple[float, ...]


def extrapolated(
    real: Sequence[Float[Tensor, "_n d"]], made: Sequence[Float[Tensor, "_m d"]], ddof: int, seed: int
) -> Extrapolation | None:
    """The bias of the distance falls like 1/n: disjoint halves, thirds and quarters of both sets show how steeply.

    `real`, `made`: the rows of each video. They stay together, for parts that shared videos would be too alike.
    """
    if min(len(real), len(made)) < 16:
        return None
    orders = [
        torch.randperm(len(videos), generator=generator_for(seed, "parts", which))
        for videos, which in ((real, "real"), (made, "made"))
    ]
    shares, counts, distances = (1, 2, 3, 4), [], []
    for parts in shares:
        sizes = len(real) // parts, len(made) // parts
        drawn = [
            distance_of_rows(
                _rows_of(real, orders[0][part * sizes[0] : (part + 1) * sizes[0]]),
                _rows_of(made, orders[1][part * sizes[1] : (part + 1) * sizes[1]]),
                ddof,
            )
            for part in range(parts)
        ]
        counts.append(min(sizes))
        distances.append(sum(drawn) / parts)
    # Each point is a mean over as many parts as it has, of which none repeats a video: they weigh alike.
    _slope, intercept = np.polyfit([1 / count for count in counts], distances, 1)
    return Extrapolation(float(intercept), tuple(counts), tuple(distances))


def floor_of(
    real: Sequence[Float[Tensor, "_n d"]], num: int, ddof: int, seed: int, draws: int = 3
) -> tuple[float, int] | None:
    """The distance between two disjoint parts of the real set, and their size: `num` videos if there are so many.

    `real`: the rows of each video.
    """
    size = min(num, len(real) // 2)
    if size < 2:
        return None
    values = []
    for draw in range(draws):
        order = torch.randperm(len(real), generator=generator_for(seed, "floor", draw))
        one, other = _rows_of(real, order[:size]), _rows_of(real, order[size : 2 * size])
        values.append(distance_of_rows(one, other, ddof))
    return sum(values) / draws, size


def _rows_of(videos: Sequence[Float[Tensor, "_n d"]], numbers: Int[Tensor, "k"]) -> Float[Tensor, "n d"]:
    return torch.cat([videos[number] for number in numbers.tolist()])
