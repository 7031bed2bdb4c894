"""The training loop: lessons to gradients to weights, stage after stage, stoppable and resumable at any moment."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitascope.config import from_json, to_json
from vitascope.system import VideoModel, load_model, save_model
from vitascope.train import checkpoint
from vitascope.train.checkpoint import Progress
from vitascope.train.log import Log
from vitascope.train.optim import MovingAverage, warmup_then_decay
from vitascope.train.stages import Run, Stage, TokenizerCourse, VideoCourse, VideoStage, initialised
from vitascope.types import Loss, UserError

Watch = Callable[[VideoModel, Path, str], dict[str, float]]
"""`watch(model with averaged weights, folder for previews, name)` looks at the model and returns scalars to write down."""


class NonFinite(UserError):
    """The loss or a gradient is infinite or not a number; the last good checkpoint is untouched."""


def fit(
    run: Run,
    folder: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    watch: Watch | None = None,
    cache_root: Path | None = None,
) -> VideoModel:
    """Train `run` in `folder` and return the model with averaged weights, which is also in `folder/model`.

    `minutes` is the time for all stages together, shared by their `share`; the learning rate then decays with the time.
    """
    _claim(folder, run, resume)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = initialised(run.model, run.seed).to(device)
    total_share = sum(stage.share for stage in run.stages)
    with Log(folder) as log:
        for stage in run.stages:
            done = folder / "stages" / stage.name
            if (done / "model.json").is_file():
                model.load_state_dict(load_model(done).state_dict())
                continue
            seconds = math.inf if minutes is None else 60 * minutes * stage.share / total_share
            course = stage.begin(run, model, cache_root or folder / "cache", log.track)
            average = _learn(run, stage, course, model, folder, log, seconds, watch)
            course.module.load_state_dict(average.weights)
            course.finish()
            report = {"stage": stage.name, "run": to_json(run)}
            save_model(run.model, model.state_dict(), folder / "model", report)
            save_model(run.model, model.state_dict(), done, report)
    return model.eval()


def _claim(folder: Path, run: Run, resume: bool) -> None:
    """A folder belongs to one run: refuse to overwrite, and refuse to go on with other settings."""
    path = folder / "run.json"
    wanted = to_json(run)
    if path.is_file():
        if not resume:
            raise UserError(f"'{folder}' already holds a run; add --resume to go on with it, or choose another folder")
        if to_json(from_json(json.loads(path.read_text()))) != wanted:
            raise UserError(
                f"'{folder}' was begun with other settings (see '{path}'); resume with those, or choose another folder"
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(wanted, indent=1))
    except OSError as error:
        raise UserError(f"cannot write to '{folder}' ({error.strerror}); choose another --out") from None


def _learn(
    run: Run,
    stage: Stage,
    course: TokenizerCourse | VideoCourse,
    model: VideoModel,
    folder: Path,
    log: Log,
    seconds: float,
    watch: Watch | None,
) -> MovingAverage:
    """One stage, from its beginning or from its checkpoint, to its last step or the end of its time."""
    module = course.module.train()
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = stage.optimizer.build(parameters, stage.learning_rate)  # type: ignore[attr-defined]
    average = MovingAverage(module, stage.ema_decay)
    step, spent = 0, 0.0
    state = checkpoint.load(folder / "checkpoints")
    if state is not None and state["progress"]["stage"] == stage.name:
        progress = checkpoint.restore(state, module, average, optimizer)
        step, spent = progress.step, progress.seconds
    cast = autocast(run.precision, model.device)
    if run.compile and isinstance(stage, VideoStage):
        for block in model.backbone.blocks:
            block.compile(dynamic=False)

    log.begin(stage.name, step, stage.steps)
    begun = saved = time.monotonic()
    first = step
    while step < stage.steps and spent < seconds:
        done = max(step / stage.steps, spent / seconds)
        rate = stage.learning_rate * warmup_then_decay(step, done, stage.warmup_steps, stage.decay_share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with cast():
            loss = course.loss(step)
        loss.total.backward()
        norm = nn.utils.clip_grad_norm_(parameters, stage.clip_norm)
        if not (torch.isfinite(loss.total) and torch.isfinite(norm)):
            raise NonFinite(
                f"{stage.name}, step {step}: the loss is {loss.total.item()}, the gradient's norm {norm.item()}; "
                f"first seen in '{culprit(module, course.loss, step)}'; the last good checkpoint is in "
                f"'{folder / 'checkpoints'}': resume with a lower learning rate"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(module)
        step += 1
        now = time.monotonic()
        spent, begun = spent + now - begun, now
        speed = _speed(log, now, stage.batch)
        left = min(seconds - spent, (stage.steps - step) * stage.batch / speed)
        log.show(step, course.unit, speed, loss.total.item(), left)
        log.scalars(
            stage.name,
            step,
            {"loss": loss.total.item(), "norm": norm.item(), "rate": rate, "per_second": speed, **loss.parts},
        )
        if now - saved > run.checkpoint_seconds:
            checkpoint.save(
                folder / "checkpoints", Progress(stage.name, step, spent), module, average, optimizer, to_json(run)
            )
            saved = now
        if watch is not None and step % run.preview_steps == 0:
            _look(run, stage, course, model, average, folder, log, step, watch)
            begun = time.monotonic()
    checkpoint.save(folder / "checkpoints", Progress(stage.name, step, spent), module, average, optimizer, to_json(run))
    log.say(f"{stage.name}: {step - first} steps in {spent / 60:.1f} min")
    return average


def _look(
    run: Run,
    stage: Stage,
    course: TokenizerCourse | VideoCourse,
    model: VideoModel,
    average: MovingAverage,
    folder: Path,
    log: Log,
    step: int,
    watch: Watch,
) -> None:
    """Show the averaged weights to `watch`, then put the training weights back."""
    kept = {name: value.clone() for name, value in course.module.state_dict().items()}
    course.module.load_state_dict(average.weights)
    course.module.eval()
    scores = watch(model, folder / "previews", f"{stage.name}-{step:06d}")
    course.module.load_state_dict(kept)
    course.module.train()
    log.scalars(stage.name, step, scores)


def autocast(precision: str, device: torch.device) -> Callable[[], Any]:
    """bf16 where the hardware multiplies it faster than fp32, unless told otherwise."""
    if precision == "bf16" or (precision == "auto" and fast_bf16(device)):
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return nullcontext


def fast_bf16(device: torch.device) -> bool:
    """GPUs since Ampere and CPUs with AVX-512 bf16 or AMX multiply bf16 faster than fp32; other CPUs emulate it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def culprit(module: nn.Module, loss: Callable[[int], Loss], step: int) -> str:
    """The first part whose weights, output or gradient is not finite, found by giving the lesson again."""
    for name, parameter in module.named_parameters():
        if not parameter.isfinite().all():
            return name
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if not found and isinstance(output, torch.Tensor) and not output.isfinite().all():
                found.append(name)

        return hook

    hooks = [part.register_forward_hook(look(name)) for name, part in module.named_modules()]
    with torch.no_grad():
        loss(step)
    for hook in hooks:
        hook.remove()
    if found:
        return found[0]
    broken = [n for n, p in module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    return broken[0] if broken else "the loss itself"


def _speed(log: Log, now: float, batch: int, memory: int = 20) -> float:
    """Samples a second over the last steps."""
    times = log.__dict__.setdefault("times", [])
    times.append(now)
    del times[:-memory]
    return batch * (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else float(batch)
