"""The Inception Score: how sure a classifier is of each clip, and how much its answers vary from clip to clip."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SPLITS = 10


def inception_scores(probabilities: Float[Tensor, "n classes"], order: np.ndarray, splits: int = SPLITS) -> list[float]:
    """exp of the mean divergence of each row from the mean of its split, for each split of the rows in `order`."""
    size = len(probabilities) // splits
    rows = probabilities.double()[torch.from_numpy(order)]
    scores = []
    for part in rows[: size * splits].split(size):
        whole = part.mean(0, keepdim=True)
        # 0 log 0 is 0: a class that is out of the question says nothing.
        terms = torch.xlogy(part, part) - torch.xlogy(part, whole)
        scores.append(terms.sum(1).mean().exp().item())
    return scores


def shuffled(num: int, seed: int = 42) -> np.ndarray:
    """The order of StyleGAN-V: NumPy's old generator, seed 42."""
    order = np.arange(num)
    np.random.RandomState(seed).shuffle(order)
    return order
