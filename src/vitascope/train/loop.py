"""The training loop: lessons to gradients to weights, stage after stage, stoppable and resumable at any moment."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from vitascope.card import load_model, read_card, save_model
from vitascope.config import nearest, to_json
from vitascope.device import usual_device
from vitascope.errors import first_line
from vitascope.protocols import FrozenTextEncoder
from vitascope.system import VideoModel
from vitascope.train import checkpoint
from vitascope.train.check import refuse_what_cannot_be_read_back, refuse_what_does_not_fit
from vitascope.train.checkpoint import Position
from vitascope.train.diagnosis import enough_memory, refuse_broken_lesson, refuse_broken_weights
from vitascope.train.folder import (
    claimed,
    home_of,
    is_done,
    refuse_folder,
    refuse_missing_stages,
    refuse_other_shapes,
    writing,
)
from vitascope.train.initialise import initialised, weights_of
from vitascope.train.learner import Learner, autocast, eager
from vitascope.train.log import Log, Speed, StepReport
from vitascope.train.optim import MovingAverage, warmup_then_decay
from vitascope.train.session import Session
from vitascope.train.stages import Course, Run, Stage, Watch, inherit_origins
from vitascope.train.stop import Stopped, StopRequest
from vitascope.types import UserError


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


def _fit(
    run: Run,
    stages: tuple[Stage, ...],
    folder: Path,
    log: Log,
    watch: Watch | None,
    cache_root: Path,
    device: str,
) -> VideoModel:
    seconds_left = math.inf if run.minutes is None else 60 * run.minutes
    shares_left = sum(stage.share for stage in stages)
    for stage in stages:
        part = stage.share / shares_left  # of the time that is left
        shares_left -= stage.share
        home = home_of(folder, stage.name)
        if is_done(folder, stage.name):
            log.say(f"{stage.name}: done before")
            seconds_left = max(seconds_left - read_card(home).report.get("seconds", seconds_left * part), 0)
            continue
        begun = time.monotonic()
        stage_run = run.at(stage)
        model = begun_model(run, stage, folder).to(device)
        if isinstance(model.text, FrozenTextEncoder):
            model.text.keep_in(cache_root / "text")
        with writing(folder):
            course = stage.begin(stage_run, model, cache_root, log.track)
        prepared = time.monotonic() - begun
        budget = prepared + max(seconds_left - prepared, 0) * part
        session = Session(stage_run, stage, model, folder, log, watch)
        average, spent = _learn(session, course, budget, begun)
        seconds_left = max(seconds_left - spent, 0)
        course.module.load_state_dict(average.weights)
        course.finish(log.track)
        report = {"stage": stage.name, "seconds": round(spent, 1), "run": to_json(run)}
        with writing(folder):
            save_model(stage_run.model, model.state_dict(), folder / "model", report)
            save_model(stage_run.model, model.state_dict(), home, report)
        shutil.rmtree(session.checkpoints, ignore_errors=True)
    return load_model(home_of(folder, stages[-1].name))


def begun_model(run: Run, stage: Stage, folder: Path) -> VideoModel:
    """The model of a stage, with the weights that it begins with."""
    model = initialised(run.at(stage).model, run.seed)
    inherit_origins(model, run, stage, lambda name: weights_of(home_of(folder, name)))
    return model


@dataclass(frozen=True)
class Clock:
    """The time of a stage, preparations and what was spent before an interruption included. All in seconds."""

    budget: float  # infinite, if only steps end the stage
    begun: float  # by the machine's clock
    earlier: float

    def spent(self) -> float:
        return self.earlier + time.monotonic() - self.begun

    def left(self) -> float:
        return self.budget - self.spent()

    def rate(self, stage: Stage, step: int) -> float:
        """The learning rate of a step, which decays by whichever ends the stage first."""
        done = max(step / stage.steps, self.spent() / self.budget)
        return stage.learning_rate * warmup_then_decay(step, done, stage.warmup_steps, stage.decay_share)


class Saver:
    """Checkpoints of a stage, of weights that are finite only."""

    def __init__(self, session: Session, learner: Learner, clock: Clock) -> None:
        self.session, self.learner, self.clock = session, learner, clock
        self.saved = time.monotonic()

    def save(self, step: int) -> None:
        session, learner = self.session, self.learner
        refuse_broken_weights(session, learner.module, step)
        position = Position(session.stage.name, step, self.clock.spent())
        run = to_json(session.run)
        checkpoint.save(session.checkpoints, position, learner.module, learner.average, learner.optimizer, run)

    def save_when_due(self, step: int) -> None:
        if time.monotonic() - self.saved > self.session.run.checkpoint_seconds:
            self.save(step)
            self.saved = time.monotonic()


def _learn(session: Session, course: Course, budget: float, begun: float) -> tuple[MovingAverage, float]:
    """One stage, from its beginning or its checkpoint, to its last step or the end of its time.

    Returns the averaged weights and the seconds spent. `begun` is when the preparations of the stage began.
    """
    run, stage, log = session.run, session.stage, session.log
    learner = Learner(stage, course, autocast(run, session.model.device))
    before = _restored(session, learner)
    clock = Clock(budget, begun, before.seconds)
    if run.compile:
        for block in course.blocks:
            block.compile()  # the length of captions varies: after the second one dynamo takes it as a variable
    log.begin(stage.name, before.step, stage.steps)
    step, saver, speed = before.step, Saver(session, learner, clock), Speed(stage.batch)
    with StopRequest() as stop:
        while step < stage.steps and clock.left() > 0:
            report = _step(session, learner, clock, speed, step)
            step += 1
            left = min(clock.left(), (stage.steps - step) * stage.batch / report.per_second)
            log.show(step, course.unit, report.per_second, report.loss, left)
            log.scalars(stage.name, step, report.scalars())
            if stop.asked:
                saver.save(step)
                raise Stopped(f"{stage.name}, step {step}: stopped and saved; go on with the same command and --resume")
            saver.save_when_due(step)
            if session.watch is not None and step % run.preview_steps == 0:
                _look(session, learner, step, session.watch)
    if step == 0:
        raise UserError(
            f"{stage.name}: its share of {run.minutes:g} minutes was over before its first step; give the run more "
            f"minutes in {session.way_on()}"
        )
    saver.save(step)
    log.say(f"{stage.name}: {step - before.step} steps in {(clock.spent() - before.seconds) / 60:.1f} min")
    return learner.average, clock.spent()


def _restored(session: Session, learner: Learner) -> Position:
    """Where the stage stands: at its checkpoint, which is now in place, or at its beginning."""
    state = checkpoint.load(session.checkpoints, session.log.say)
    if state is None:
        return Position(session.stage.name, 0, 0.0)
    refuse_other_shapes(state, session.run, session.stage, session.checkpoints)
    return checkpoint.restore(state, learner.module, learner.average, learner.optimizer)


def _step(session: Session, learner: Learner, clock: Clock, speed: Speed, step: int) -> StepReport:
    """Give a lesson and follow its gradient, if both are sound."""
    begun = time.monotonic()
    rate = clock.rate(session.stage, step)
    with enough_memory(session, step):
        loss, norm = learner.lesson(step)
        refuse_broken_lesson(session, learner, loss, norm, step)
        learner.follow(norm, rate)
    per_second = speed.after(time.monotonic() - begun)
    return StepReport(loss.total.item(), norm.item(), rate, per_second, loss.parts)


def _look(session: Session, learner: Learner, step: int, watch: Watch) -> None:
    """Show the averaged weights to `watch`, then put the training weights back. What fails here stops no training."""
    module, stage = learner.module, session.stage
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(learner.average.weights)
    module.eval()
    try:
        with eager(session.run):
            scores = watch(session.model, stage, session.folder / "previews", f"{stage.name}-{step:06d}")
    except Exception as error:
        session.log.say(f"{stage.name}, step {step}: no preview: {first_line(error)}")
        return
    finally:
        module.load_state_dict(kept)
        module.train()
    if scores:
        session.log.scalars(stage.name, step, scores)
