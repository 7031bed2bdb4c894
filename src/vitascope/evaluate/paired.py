"""How far pictures are from those that they should be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class SquaredError:
    """Of pixels in [0, 1]: a sum and a count, so that shards add up to one run."""

    total: float = 0.0
    count: int = 0

    def __add__(self, other: SquaredError) -> SquaredError:
        return SquaredError(self.total + other.total, self.count + other.count)

    @property
    def psnr(self) -> float | None:
        """In dB, of the mean over all pixels, at most 100; None where nothing was compared.

        Not the mean over pictures of their own PSNR, which is higher: a picture returned exactly would count most.
        """
        return -10 * math.log10(max(self.total / self.count, 1e-10)) if self.count else None


def squared_error(made: Float[Tensor, "*shape"], true: Float[Tensor, "*shape"]) -> SquaredError:
    return SquaredError((made - true).square().sum().item(), made.numel())
