"""A sampling is watched step by step: how far it is, and which part was the first to give what is no number."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vitascope.sample.latents import StepCallback
from vitascope.types import UserError

FLAT = 1 / 512  # less than half a step of 8 bits between the darkest and the brightest value


class Watch:
    """The callback of a pipeline. Raising from `progress`, or a Ctrl-C, ends the sampling at this step."""

    def __init__(self, steps: int, progress: StepCallback | None) -> None:
        self.steps, self.progress, self.done = steps, progress, 0
        self.finite: dict[str, Tensor] = {}  # by part, in the order in which they were called: left on their device

    def __call__(self, pipeline: Any, number: int, _time: Any, given: dict[str, Any]) -> dict[str, Any]:
        self.steps = getattr(pipeline, "num_timesteps", None) or self.steps
        self.done, latents = number + 1, given["latents"]
        if not bool(latents.isfinite().all()):
            raise UserError(f"step {self.done} of {self.steps}: {self.culprit()} gave what is no number; {ADVICE}")
        if is_flat(latents):
            raise UserError(f"step {self.done} of {self.steps}: {self.culprit()} gave latents of one value; {ADVICE}")
        if self.progress is not None:
            self.progress(self.done, self.steps, latents)
        return given

    def culprit(self) -> str:
        """The first part whose output was not finite, else the last that was called."""
        broken = [name for name, finite in self.finite.items() if not bool(finite)]
        return f"'{(broken or list(self.finite) or ['the pipeline'])[0 if broken else -1]}'"

    def look_at(self, pixels: Tensor) -> None:
        """Refuse a decoded video that is no picture; its latents have been looked at after each step."""
        if not bool(pixels.isfinite().all()):
            raise UserError(f"after step {self.done} of {self.steps}: 'vae' gave what is no number; {ADVICE}")
        if is_flat(pixels):
            raise UserError(f"after step {self.done} of {self.steps}: 'vae' gave a video of one flat colour; {ADVICE}")


@contextmanager
def heard(pipeline: Any, watch: Watch) -> Iterator[None]:
    """While it lasts, a pipeline that calls nobody back is heard by the steps of its scheduler."""
    scheduler, number = pipeline.scheduler, itertools.count()
    original = scheduler.step

    @functools.wraps(original)  # pipelines look at its signature
    def step(*args: Any, **options: Any) -> Any:
        made = original(*args, **options)
        watch(pipeline, next(number), None, {"latents": made[0]})
        return made

    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step  # the instance's; its class has the original


@contextmanager
def watched(parts: Mapping[str, Any], watch: Watch) -> Iterator[Watch]:
    """While it lasts, `watch` is told whether what each part of a pipeline gives is finite."""

    def told(name: str) -> Any:
        def hook(_module: Any, _given: Any, output: Any) -> None:
            watch.finite[name] = all_finite(output) & watch.finite.get(name, True)

        return hook

    modules = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
    hooks = [module.register_forward_hook(told(name)) for name, module in modules.items()]
    encoders: dict[str, Any] = {name: module for name, module in modules.items() if hasattr(module, "encode")}
    for name, module in encoders.items():  # which is called by that name, and so by no hook
        module.encode = _telling(module.encode, told(name))
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()
        for module in encoders.values():
            del module.encode  # the instance's; its class has the original


def _telling(encode: Callable[..., Any], hook: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(encode)
    def told(*args: Any, **options: Any) -> Any:
        output = encode(*args, **options)
        hook(None, None, output)
        return output

    return told


def all_finite(output: Any) -> Tensor:
    """Whether every number in what a part gives is finite, as a tensor, so that no device is waited for."""
    found = [tensor.isfinite().all() for tensor in _tensors(output)]
    return torch.stack(found).all() if found else torch.tensor(True)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, (Mapping, tuple, list)):
        for inner in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(inner)
    elif isinstance(spread := getattr(output, "mean", None), Tensor):  # a distribution of latents
        yield spread


def is_flat(values: Tensor) -> bool:
    low, high = values.aminmax()
    return bool(high - low < FLAT)


ADVICE = "try --dtype fp32 (or bf16 instead of fp16), less --guidance, or another --seed"
