"""Muon: momentum whose update is made orthogonal, for the hidden matrices; Adam for everything else."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitascope.config import AmountOrZero, Decay
from vitascope.device import fast_bf16
from vitascope.nn.attention import Attention
from vitascope.nn.layers import ResidualBlock
from vitascope.train.optim import OptimizerConfig, learned

LONGEST = 4
"""A hidden matrix is at most so many times as long as it is wide; others are modulations and scales."""


class MuonConfig(OptimizerConfig):
    """`learning_rate` of the stage is that of the hidden matrices; the rest learns `rest` times as fast.

    Without `weight_decay` of the hidden matrices they grow for as long as they learn, since every update is as large as
    any other, and so each moves them by a smaller share (Liu et al. 2025, arXiv 2502.16982, section 2.2).

    Updates are made orthogonal in bf16 wherever that is fast, whatever the precision of the passes: see `orthogonal`.
    """

    weight_decay: AmountOrZero = 0.0
    momentum: Decay = 0.95
    rest: AmountOrZero = 0.1
    beta1: Decay = 0.9
    beta2: Decay = 0.99

    def build(self, module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        return Muon(module, learning_rate, self)


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024 (kellerjordan.github.io/posts/muon): far fewer steps than AdamW, each dearer.

    Hidden are the matrices of residual blocks; what leads into or out of the network moves as by Adam, as there.
    torch's own Muon computes in bf16 everywhere, also where it is emulated, and refuses convolutions.
    """

    def __init__(self, module: nn.Module, learning_rate: float, config: MuonConfig) -> None:
        self.config = config
        self.parts = {weight: parts for weight, parts in hidden_matrices(module) if weight.requires_grad}
        groups = [
            {"params": list(self.parts), "hidden": True},
            {"params": [weight for weight in learned(module) if weight not in self.parts], "hidden": False},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures here
        for group in self.param_groups:
            given = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["hidden"]:
                self._turn(given, group["lr"])
            else:
                for parameter in given:
                    parameter.add_(self._scaled(parameter), alpha=-group["lr"] * self.config.rest)

    def _turn(self, given: list[nn.Parameter], learning_rate: float) -> None:
        """Move along orthogonal updates; matrices of one shape are made orthogonal together, which is faster."""
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for parameter in given:
            parts = self.parts[parameter]
            aims = self._ahead(parameter).chunk(parts)
            for weight, aim in zip(parameter.chunk(parts), aims, strict=True):
                by_shape.setdefault(weight.shape, []).append((weight, aim))
        for shape, alike in by_shape.items():
            updates = orthogonal(torch.stack([aim.flatten(1) for _, aim in alike]))
            # Tall matrices step further, so that outputs change by as much.
            taller = max(1.0, updates.shape[-2] / updates.shape[-1]) ** 0.5
            for (weight, _), update in zip(alike, updates, strict=True):
                weight.mul_(1 - learning_rate * self.config.weight_decay)
                weight.add_(update.view(shape), alpha=-learning_rate * taller)

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


def hidden_matrices(module: nn.Module) -> Iterator[tuple[nn.Parameter, int]]:
    """Matrices of residual blocks, convolutions read as such by their output and input channels; and of how many each
    is made, one above another: queries, keys and values are matrices of their own."""
    fused = {part.enter.weight: part.num_fused for part in module.modules() if isinstance(part, Attention)}
    blocks = (part for part in module.modules() if isinstance(part, ResidualBlock))
    for weight in dict.fromkeys(weight for block in blocks for weight in block.parameters()):
        if weight.ndim > 1:
            parts = fused.get(weight, 1)
            narrow, long = sorted((weight.shape[0] // parts, weight.shape[1]))
            if long <= LONGEST * narrow:
                yield weight, parts


def orthogonal(matrix: Float[Tensor, "n rows columns"], steps: int = 5) -> Float[Tensor, "n rows columns"]:
    """About U V^T of each `matrix` = U S V^T, by Newton-Schulz iterations of fifth order (Jordan et al. 2024), in bf16
    where that is fast: they correct their own rounding."""
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if is_tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if fast_bf16(matrix.device):
        x = x.bfloat16()
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return (x.mT if is_tall else x).to(matrix.dtype)
