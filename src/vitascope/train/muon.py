"""Muon: momentum whose update is made orthogonal, for the hidden matrices; AdamW for everything else."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitascope.config import AmountOrZero, Config, Decay

NARROWEST, LONGEST = 64, 4
"""A hidden matrix is at least so wide and at most so many times as long. Others lead into or out of the network, or are
embeddings or modulations: their directions are not alike."""


class MuonConfig(Config):
    """`learning_rate` of the stage is that of the hidden matrices; the rest learns `rest` times as fast."""

    momentum: Decay = 0.95
    rest: AmountOrZero = 0.1
    beta1: Decay = 0.9
    beta2: Decay = 0.99

    def build(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        return Muon(parameters, learning_rate, self)


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024 (kellerjordan.github.io/posts/muon): far fewer steps than AdamW, each a little dearer.

    torch's own Muon computes in bf16, which CPUs without bf16 instructions emulate, and refuses convolutions.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, config: MuonConfig) -> None:
        self.config = config
        given = list(parameters)
        groups = [
            {"params": [parameter for parameter in given if is_hidden(parameter)], "hidden": True},
            {"params": [parameter for parameter in given if not is_hidden(parameter)], "hidden": False},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            given = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["hidden"]:
                self._turn(given, group["lr"])
            else:
                for parameter in given:
                    parameter.add_(self._scaled(parameter), alpha=-group["lr"] * self.config.rest)

    def _turn(self, given: list[nn.Parameter], learning_rate: float) -> None:
        """Move along orthogonal updates; matrices of one shape are made orthogonal together, which is faster."""
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for parameter in given:
            by_shape.setdefault(parameter.shape, []).append(parameter)
        for shape, alike in by_shape.items():
            updates = orthogonal(torch.stack([self._ahead(parameter).flatten(1) for parameter in alike]))
            # Tall matrices step further, so that outputs change by as much.
            taller = max(1.0, updates.shape[-2] / updates.shape[-1]) ** 0.5
            for parameter, update in zip(alike, updates, strict=True):
                parameter.add_(update.view(shape), alpha=-learning_rate * taller)

    def _ahead(self, parameter: nn.Parameter) -> Tensor:
        """Nesterov momentum."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - self.config.momentum)
        return parameter.grad.lerp(state["momentum"], self.config.momentum)

    def _scaled(self, parameter: nn.Parameter) -> Tensor:
        """Adam's update."""
        assert parameter.grad is not None
        state, beta1, beta2 = self.state[parameter], self.config.beta1, self.config.beta2
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        mean = state["mean"].lerp_(parameter.grad, 1 - beta1) / (1 - beta1 ** state["step"])
        square = state["square"].lerp_(parameter.grad.square(), 1 - beta2) / (1 - beta2 ** state["step"])
        return mean / (square.sqrt() + 1e-8)


def is_hidden(parameter: nn.Parameter) -> bool:
    """A matrix, or a convolution read as one by its output and input channels, from inside the network."""
    if parameter.ndim < 2:
        return False
    narrow, long = sorted(parameter.shape[:2])
    return narrow >= NARROWEST and long <= LONGEST * narrow


def orthogonal(matrix: Float[Tensor, "*batch n m"], steps: int = 5) -> Float[Tensor, "*batch n m"]:
    """About U V^T of `matrix` = U S V^T, by Newton-Schulz iterations of fifth order (Jordan et al. 2024)."""
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if is_tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if is_tall else x
