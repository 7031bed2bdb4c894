"""The kernel distance (squared maximum mean discrepancy): of I3D logits it is the KVD, of V-JEPA features the JEDi."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 1024


@dataclass(frozen=True)
class Kernel:
    """(<x, y> / d + offset) ^ degree. `unbiased` leaves out the kernel of a row with itself; it can fall below zero."""

    degree: int = 3
    offset: float = 1.0
    unbiased: bool = True
    times: float = 1.0

    def __call__(self, one: Float[Tensor, "n d"], other: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        return (one @ other.T / one.shape[1] + self.offset) ** self.degree


def kernel_distances(
    real: Float[Tensor, "n d"],
    made: Float[Tensor, "m d"],
    kernel: Kernel,
    real_weights: Float[Tensor, "b n"],
    made_weights: Float[Tensor, "b m"],
) -> Float[Tensor, "b"]:
    """The distance under each row of weights, which say how often a row counts: all ones give the value itself.

    The kernel is made in blocks, once for all weights, so memory does not grow with the square of the sets. Where
    `unbiased`, a row is never paired with itself, however often it was drawn: drawn twice it would count as agreement.
    """
    x, y, a, b = real.double(), made.double(), real_weights.double(), made_weights.double()
    within = _mean_within(x, a, kernel) + _mean_within(y, b, kernel)
    across = _summed(x, y, a, b, kernel) / (a.sum(1) * b.sum(1))
    return kernel.times * (within - 2 * across)


def _mean_within(rows: Float[Tensor, "n d"], weights: Float[Tensor, "b n"], kernel: Kernel) -> Float[Tensor, "b"]:
    total, pairs = _summed(rows, rows, weights, weights, kernel), weights.sum(1) ** 2
    if not kernel.unbiased:
        return total / pairs
    own = (rows.square().sum(1) / rows.shape[1] + kernel.offset) ** kernel.degree
    twice = weights.square()
    return (total - twice @ own) / (pairs - twice.sum(1))


def _summed(
    one: Float[Tensor, "n d"],
    other: Float[Tensor, "m d"],
    left: Float[Tensor, "b n"],
    right: Float[Tensor, "b m"],
    kernel: Kernel,
) -> Float[Tensor, "b"]:
    total = torch.zeros(len(left), dtype=torch.float64)
    for start in range(0, len(one), BLOCK):
        block = slice(start, start + BLOCK)
        total += (left[:, block] @ kernel(one[block], other) * right).sum(1)
    return total


KVD = Kernel()
JEDI = Kernel(degree=2, offset=0.0, unbiased=False, times=100.0)
