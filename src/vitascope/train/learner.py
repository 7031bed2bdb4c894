"""What learns in a stage: its weights, and all that moves with them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vitascope.device import fast_bf16
from vitascope.train.optim import MovingAverage, learned
from vitascope.train.stages import Course, Run, Stage
from vitascope.types import Loss

Cast = Callable[[], AbstractContextManager[Any]]


class Learner:
    """The module of a course with its optimizer and the moving average of its weights."""

    def __init__(self, stage: Stage, course: Course, cast: Cast) -> None:
        self.course, self.cast, self.clip_norm = course, cast, stage.clip_norm
        self.module = course.module.train()
        self.parameters = learned(self.module)
        self.optimizer = stage.optimizer.build(self.module, stage.learning_rate)
        self.average = MovingAverage(self.module, stage.ema_decay)

    def lesson(self, step: int) -> tuple[Loss, Tensor]:
        """The loss of a lesson, and the norm of its gradient, which the weights now have."""
        with self.cast():
            loss = self.course.loss(step)
        loss.total.backward()
        return loss, nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    def follow(self, norm: Tensor, rate: float) -> None:
        """Take a step along the gradient of that norm, which is then gone, and let the average follow."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.module)


def autocast(run: Run, device: torch.device) -> Cast:
    """bf16 where the hardware multiplies it faster than fp32, unless told otherwise."""
    if run.precision == "bf16" or (run.precision == "auto" and fast_bf16(device)):
        # Cast weights are kept for a second call; one that is made again must find what the first one found: nothing.
        return lambda: torch.autocast(device.type, torch.bfloat16, cache_enabled=not run.recompute)
    return nullcontext


def eager(run: Run) -> AbstractContextManager[Any]:
    """Without compiled blocks: what happens once, in other shapes, is not worth compiling."""
    return torch.compiler.set_stance("force_eager") if run.compile else nullcontext()
