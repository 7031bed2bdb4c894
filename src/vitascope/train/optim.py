"""Optimizers by their settings, the course of the learning rate, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vitascope.config import Amount, AmountOrZero, Config, Decay


def learned(module: nn.Module) -> list[nn.Parameter]:
    """The weights that learn."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


class OptimizerConfig(Config):
    """An optimizer by its settings."""

    def build(self, module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """It moves the weights of `module` that learn."""
        raise NotImplementedError


class AdamWConfig(OptimizerConfig):
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    weight_decay: AmountOrZero = 0.0

    def build(self, module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(learned(module), learning_rate, betas, weight_decay=self.weight_decay, foreach=True)


class AdafactorConfig(OptimizerConfig):
    """STIV's optimizer (its section 3.1): beta1 0.9, beta2 0.999, no weight decay. See `Adafactor`."""

    beta1: Decay = 0.9
    beta2: Decay = 0.999
    clip_update: Amount = 1.0
    scale_by_parameter: bool = False  # axlearn offers it; a fixed learning rate then means a relative one

    def build(self, module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        return Adafactor(learned(module), learning_rate, self)


class Adafactor(torch.optim.Optimizer):
    """Shazeer and Stern 2018, algorithm 4, with momentum and fixed betas as STIV uses them.

    The second moment of a matrix is kept as one vector per row and one per column. torch's own Adafactor has no
    momentum and no fixed beta2, both of which the paper names.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, config: AdafactorConfig) -> None:
        self.config = config
        super().__init__(parameters, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures here
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad.float(), group["lr"])

    def _update(self, parameter: nn.Parameter, gradient: Tensor, learning_rate: float) -> None:
        state, beta2 = self.state[parameter], self.config.beta2
        if not state:
            state["step"] = torch.zeros(())
            state["momentum"] = torch.zeros_like(parameter)
            for name, shape in _moments(gradient).items():
                state[name] = torch.zeros(shape, device=gradient.device)
        state["step"] += 1
        squared = gradient.square() + 1e-30
        if gradient.ndim < 2:
            state["moment"].lerp_(squared, 1 - beta2)
            scale = state["moment"].rsqrt()
        else:
            state["row"].lerp_(squared.mean(-1), 1 - beta2)
            state["column"].lerp_(squared.mean(-2), 1 - beta2)
            row = state["row"] / state["row"].mean(-1, keepdim=True)
            # Roots first: where a row and a column have no gradient the product of both moments is no number of fp32.
            scale = row.rsqrt()[..., None] * state["column"].rsqrt()[..., None, :]
        update = gradient * scale * (1 - beta2 ** state["step"]).sqrt()
        update = update / (update.square().mean().sqrt() / self.config.clip_update).clamp_min(1.0)
        if self.config.scale_by_parameter:
            update = update * parameter.square().mean().sqrt().clamp_min(1e-3)
        state["momentum"].lerp_(update, 1 - self.config.beta1)
        parameter.add_(state["momentum"], alpha=-learning_rate)


def _moments(gradient: Tensor) -> dict[str, torch.Size]:
    if gradient.ndim < 2:
        return {"moment": gradient.shape}
    return {"row": gradient.shape[:-1], "column": torch.Size((*gradient.shape[:-2], gradient.shape[-1]))}


def warmup_then_decay(step: int, done: float, warmup_steps: int, decay_share: float) -> float:
    """Factor on the learning rate: a linear warm-up in steps, constant, then linear to zero over the last share.

    `done` in [0, 1] is how far the stage is, in steps or in time, whichever ends it first.
    """
    warm = min(1.0, (step + 1) / max(warmup_steps, 1))
    cool = min(1.0, (1 - done) / decay_share) if decay_share else 1.0
    return warm * max(cool, 0.0)


class MovingAverage:
    """Exponential moving average of the weights; young averages forget faster, so that they are useful at once."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.num_updates = decay, 0
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        current = module.state_dict()
        floating = [name for name, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.weights[n] for n in floating], [current[n] for n in floating], 1 - decay)
        for name in current.keys() - set(floating):
            self.weights[name].copy_(current[name])
