"""The training loop: lessons to gradients to weights, stage after stage, stoppable and resumable at any moment."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitascope.card import CARD, load_model, read_card, save_model
from vitascope.config import code_options, nearest, to_json
from vitascope.device import fast_bf16, usual_device
from vitascope.errors import NonFinite, first_line, is_out_of_memory
from vitascope.protocols import FrozenTextEncoder
from vitascope.system import VideoModel
from vitascope.train import checkpoint
from vitascope.train.check import refuse_what_cannot_be_read_back, refuse_what_does_not_fit
from vitascope.train.checkpoint import Progress
from vitascope.train.folder import CHECKPOINTS, RUN, claimed, refuse_folder, refuse_other_shapes, writing
from vitascope.train.initialise import inherit, initialised, weights_of
from vitascope.train.log import Log, Speed
from vitascope.train.optim import MovingAverage, learned, warmup_then_decay
from vitascope.train.stages import Course, Run, Stage, VideoStage, Watch, is_folder
from vitascope.train.stop import Stopped, StopRequest
from vitascope.types import Loss, UserError


@dataclass(frozen=True)
class Session:
    """What stays the same in a stage of a run."""

    run: Run  # as the stage sees it
    model: VideoModel
    folder: Path
    log: Log
    watch: Watch | None

    def checkpoints(self, stage: Stage) -> Path:
        return self.folder / CHECKPOINTS / stage.name


def fit(
    run: Run,
    folder: Path,
    *,
    resume: bool = False,
    only: str | None = None,
    watch: Watch | None = None,
    cache_root: Path | None = None,
    device: str | None = None,
) -> VideoModel:
    """Train `run` in `folder`, or one stage of it, and return the model with averaged weights, also in `folder/model`.

    The minutes of a run are for all that its stages need; what is left is shared by their `share`. Trained on the GPU
    where there is one unless `device` says otherwise; the model that is returned is on the CPU.
    """
    refuse_what_cannot_be_read_back(run)
    refuse_folder(folder, run, resume)
    stages = chosen(run, only)
    refuse_missing_stages(run, stages, folder)
    device = usual_device(device)
    refuse_what_does_not_fit(run, device)
    torch.set_flush_denormal(True)  # a CPU multiplies denormal numbers many times more slowly
    try:
        with claimed(folder, run, resume), Log(folder) as log:
            return _fit(run, stages, folder, log, watch, cache_root or folder / "cache", device)
    finally:
        torch.set_flush_denormal(False)


def chosen(run: Run, only: str | None) -> tuple[Stage, ...]:
    names = [stage.name for stage in run.stages]
    if only is not None and only not in names:
        raise UserError(f"the run has no stage '{only}'; {nearest(only, names)}")
    return tuple(stage for stage in run.stages if only in (None, stage.name))


def refuse_missing_stages(run: Run, stages: tuple[Stage, ...], folder: Path) -> None:
    """Stages that are neither trained now nor have been, and with which one of `stages` begins."""
    coming = {stage.name for stage in stages}
    for stage in stages:
        for origin in run.origins(stage):
            if not (is_folder(origin.of) or origin.of in coming or is_done(folder, origin.of)):
                raise UserError(
                    f"stage {stage.name} begins with what stage {origin.of} has learned, and '{folder}' does not hold "
                    f"it; train that first: --stage {origin.of}"
                )


def _fit(
    run: Run,
    stages: tuple[Stage, ...],
    folder: Path,
    log: Log,
    watch: Watch | None,
    cache_root: Path,
    device: str,
) -> VideoModel:
    left = math.inf if run.minutes is None else 60 * run.minutes
    shares = sum(stage.share for stage in stages)
    for stage in stages:
        share, shares = stage.share / shares, shares - stage.share
        done = folder / "stages" / stage.name
        if is_done(folder, stage.name):
            log.say(f"{stage.name}: done before")
            left = max(left - read_card(done).report.get("seconds", left * share), 0)
            continue
        begun = time.monotonic()
        here = run.at(stage)
        model = begun_model(run, stage, folder).to(device)
        if isinstance(model.text, FrozenTextEncoder):
            model.text.keep_in(cache_root / "text")
        with writing(folder):
            course = stage.begin(here, model, cache_root, log.track)
        prepared = time.monotonic() - begun
        budget = prepared + max(left - prepared, 0) * share
        average, spent = _learn(Session(here, model, folder, log, watch), stage, course, budget, begun)
        left = max(left - spent, 0)
        course.module.load_state_dict(average.weights)
        course.finish(log.track)
        report = {"stage": stage.name, "seconds": round(spent, 1), "run": to_json(run)}
        with writing(folder):
            save_model(here.model, model.state_dict(), folder / "model", report)
            save_model(here.model, model.state_dict(), done, report)
        shutil.rmtree(folder / CHECKPOINTS / stage.name, ignore_errors=True)
    return load_model(folder / "stages" / stages[-1].name)


def begun_model(run: Run, stage: Stage, folder: Path) -> VideoModel:
    """The model of a stage, with the weights that it begins with."""
    model = initialised(run.at(stage).model, run.seed)
    origins = run.origins(stage)
    if origins:
        homes = [Path(one.of) if is_folder(one.of) else folder / "stages" / one.of for one in origins]
        inherit(model, [(one, weights_of(home)) for one, home in zip(origins, homes, strict=True)], stage.fresh)
    return model


def is_done(folder: Path, stage: str) -> bool:
    return (folder / "stages" / stage / CARD).is_file()


def _learn(session: Session, stage: Stage, course: Course, budget: float, begun: float) -> tuple[MovingAverage, float]:
    """One stage, from its beginning or its checkpoint, to its last step or the end of its time.

    Returns the averaged weights and the seconds spent. `begun` is when the preparations of the stage began.
    """
    run, log, module = session.run, session.log, course.module.train()
    parameters = learned(module)
    optimizer = stage.optimizer.build(module, stage.learning_rate)
    average = MovingAverage(module, stage.ema_decay)
    step, earlier = 0, 0.0
    place = session.checkpoints(stage)
    state = checkpoint.load(place, log.say)
    if state is not None:
        refuse_other_shapes(state, run, stage, place)
        progress = checkpoint.restore(state, module, average, optimizer)
        step, earlier = progress.step, progress.seconds
    del state
    cast = autocast(run.precision, session.model.device)
    if run.compile:
        for block in course.blocks:
            block.compile()  # the length of captions varies: after the second one dynamo takes it as a variable

    def spent() -> float:
        return earlier + time.monotonic() - begun

    def save() -> None:
        refuse_broken_weights(module, stage.name, step, session)
        now = Progress(stage.name, step, spent())
        checkpoint.save(place, now, module, average, optimizer, to_json(run))

    log.begin(stage.name, step, stage.steps)
    first, saved, speed = step, time.monotonic(), Speed(stage.batch)
    with StopRequest() as stop:
        while step < stage.steps and spent() < budget:
            here = time.monotonic()
            done = max(step / stage.steps, spent() / budget)
            rate = stage.learning_rate * warmup_then_decay(step, done, stage.warmup_steps, stage.decay_share)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with _enough_memory(stage, step, session):
                with cast():
                    loss = course.loss(step)
                loss.total.backward()
                norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
                if not (torch.isfinite(loss.total) and torch.isfinite(norm)):
                    with cast(), _eager(run):
                        name = culprit(module, course.loss, step)
                    what = f"the loss is {loss.total.item():g} and the gradient's norm {norm.item():g}"
                    raise broken(what, name, stage.name, step, session)
                nn.utils.clip_grads_with_norm_(parameters, stage.clip_norm, norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                average.update(module)
            step += 1
            per_second = speed.after(time.monotonic() - here)
            values = {"loss": loss.total.item(), "norm": norm.item(), "rate": rate, "per_second": per_second}
            left = min(budget - spent(), (stage.steps - step) * stage.batch / per_second)
            log.show(step, course.unit, per_second, values["loss"], left)
            log.scalars(stage.name, step, {**values, **loss.parts})
            if stop.asked:
                save()
                raise Stopped(f"{stage.name}, step {step}: stopped and saved; go on with the same command and --resume")
            if time.monotonic() - saved > run.checkpoint_seconds:
                save()
                saved = time.monotonic()
            if session.watch is not None and step % run.preview_steps == 0:
                _look(session, stage, course, average, step, session.watch)
    if step == 0:
        raise UserError(
            f"{stage.name}: its share of {run.minutes:g} minutes was over before its first step; give the run more "
            f"minutes in {way_on(session)}"
        )
    save()
    log.say(f"{stage.name}: {step - first} steps in {(spent() - earlier) / 60:.1f} min")
    return average, spent()


def _look(session: Session, stage: Stage, course: Course, average: MovingAverage, step: int, watch: Watch) -> None:
    """Show the averaged weights to `watch`, then put the training weights back. What fails here stops no training."""
    kept = {name: value.clone() for name, value in course.module.state_dict().items()}
    course.module.load_state_dict(average.weights)
    course.module.eval()
    try:
        with _eager(session.run):
            scores = watch(session.model, stage, session.folder / "previews", f"{stage.name}-{step:06d}")
    except Exception as error:
        session.log.say(f"{stage.name}, step {step}: no preview: {first_line(error)}")
        return
    finally:
        course.module.load_state_dict(kept)
        course.module.train()
    if scores:
        session.log.scalars(stage.name, step, scores)


def _eager(run: Run) -> AbstractContextManager[Any]:
    """Without compiled blocks: what happens once, in other shapes, is not worth compiling."""
    return torch.compiler.set_stance("force_eager") if run.compile else nullcontext()


@contextmanager
def _enough_memory(stage: Stage, step: int, session: Session) -> Iterator[None]:
    """Memory that runs out in a step, as one line that says how to go on with less."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        pictures = stage.pictures_beside if isinstance(stage, VideoStage) else 0
        beside = f" and its pictures_beside to {pictures // 2}" if pictures else ""
        less = f"Set the batch of {stage.name} to {stage.batch // 2}{beside} in {way_on(session)}"
        raise UserError(
            f"{stage.name}, step {step}: the memory ran out with a batch of {stage.batch}; the last checkpoint is "
            f"kept. {less if stage.batch > 1 else 'Begin another run with a smaller model or smaller clips'}"
        ) from error


def autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """bf16 where the hardware multiplies it faster than fp32, unless told otherwise."""
    if precision == "bf16" or (precision == "auto" and fast_bf16(device)):
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return nullcontext


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


def refuse_broken_weights(module: nn.Module, stage: str, step: int, session: Session) -> None:
    """Before a checkpoint: the weights of a step too large may be broken although its loss was not."""
    if name := _first_broken(dict(module.named_parameters())):
        raise broken("a weight is not finite", name, stage, step, session)


def broken(what: str, name: str, stage: str, step: int, session: Session) -> NonFinite:
    """The error of a number that is not finite, and the way out."""
    return NonFinite(
        f"{stage}, step {step}: {what}, first seen in '{name}'; the last good checkpoint is kept. Lower the "
        f"learning_rate of {stage} in {way_on(session)}"
    )


def way_on(session: Session) -> str:
    """The end of a sentence about a setting to be changed in the middle of a run."""
    folder = session.folder
    command = f"vitascope{code_options(session.run)} train"
    return f"'{folder / RUN}', then: {command} {folder / RUN} --out {folder} --resume"
