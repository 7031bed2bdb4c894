"""Telling matching captions from others: how a text encoder learns what sentences mean before it sees a video."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitascope.config import Amount, Config
from vitascope.types import Loss


class ContrastConfig(Config):
    """InfoNCE both ways, as CLIP has it (Radford et al. 2021, section 2.3), between two captions of each clip."""

    temperature: Amount = 0.05  # fixed, as in SimCSE (Gao et al. 2021)

    def build(self) -> Contrast:
        return Contrast(self)


class Contrast:
    def __init__(self, config: ContrastConfig) -> None:
        self.config = config

    def loss(self, ones: Float[Tensor, "b d"], others: Float[Tensor, "b d"]) -> Loss:
        """How badly row i of `ones` is told from all rows of `others` to be the partner of row i, and the reverse.

        `found` is the share of partners found.
        """
        likeness = F.normalize(ones.float(), dim=1) @ F.normalize(others.float(), dim=1).T / self.config.temperature
        partners = torch.arange(len(ones), device=ones.device)
        total = (F.cross_entropy(likeness, partners) + F.cross_entropy(likeness.T, partners)) / 2
        found = (likeness.argmax(1) == partners).float().mean()
        return Loss(total, {"contrast": total.item(), "found": found.item()})
