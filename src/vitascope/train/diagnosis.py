"""What goes wrong in the middle of a stage, as one line that says where it began and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vitascope.errors import NonFinite, is_out_of_memory
from vitascope.train.learner import Learner, eager
from vitascope.train.session import Session
from vitascope.train.stages import BackboneStage, Stage, VideoStage
from vitascope.types import Loss, UserError


@contextmanager
def enough_memory(session: Session, step: int) -> Iterator[None]:
    """Memory that runs out in a step, as one line that says how to go on with less."""
    stage = session.stage
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        knobs = list(_less_at_once(stage, recompute=session.run.recompute))
        less = f"Set {', or '.join(knobs)} in {session.way_on()}"
        raise UserError(
            f"{stage.name}, step {step}: the memory ran out with a batch of {stage.batch}; the last checkpoint is "
            f"kept. {less if knobs else 'Begin another run with a smaller model or smaller clips'}"
        ) from error


def _less_at_once(stage: Stage, *, recompute: bool) -> Iterator[str]:
    """Settings with which a step needs less memory."""
    if isinstance(stage, BackboneStage) and not recompute:
        yield "recompute to true"
    if stage.batch > 1:
        yield f"the batch of {stage.name} to {stage.batch // 2}"
    if isinstance(stage, VideoStage) and stage.pictures_beside > 1:
        yield f"the pictures_beside of {stage.name} to {stage.pictures_beside // 2}"


def refuse_broken_lesson(session: Session, learner: Learner, loss: Loss, norm: Tensor, step: int) -> None:
    """Before the weights move: neither a loss nor a gradient that is not finite may reach them."""
    if torch.isfinite(loss.total) and torch.isfinite(norm):
        return
    with learner.cast(), eager(session.run):
        name = culprit(learner.module, learner.course.loss, step)
    raise _broken(f"the loss is {loss.total.item():g} and the gradient's norm {norm.item():g}", name, session, step)


def refuse_broken_weights(session: Session, module: nn.Module, step: int) -> None:
    """Before a checkpoint: the weights of a step too large may be broken although its loss was not."""
    if name := _first_broken(dict(module.named_parameters())):
        raise _broken("a weight is not finite", name, session, step)


def culprit(module: nn.Module, loss: Callable[[int], Loss], step: int) -> str:
    """The first part whose weights, output or gradient is not finite, found by giving the lesson again."""
    if name := _first_broken(dict(module.named_parameters())):
        return name
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        return hook

    hooks = [part.register_forward_hook(look(name)) for name, part in module.named_modules()]
    with torch.no_grad():
        loss(step)
    for hook in hooks:
        hook.remove()
    if found:
        return found[0]
    return _first_broken({n: p.grad for n, p in module.named_parameters() if p.grad is not None}) or "the loss itself"


def _first_broken(tensors: Mapping[str, Tensor]) -> str | None:
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


def _broken(what: str, name: str, session: Session, step: int) -> NonFinite:
    """The error of a number that is not finite, and the way out."""
    stage = session.stage.name
    return NonFinite(
        f"{stage}, step {step}: {what}, first seen in '{name}'; the last good checkpoint is kept. Lower the "
        f"learning_rate of {stage} in {session.way_on()}"
    )
