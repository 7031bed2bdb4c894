"""How long a step of a stage takes on this machine: foretold from smaller steps that are really taken, for seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from vitascope.conditions import framing_of, micro_conditions
from vitascope.device import usual_device
from vitascope.plan.devices import Device, gpu_called
from vitascope.system import VideoModel
from vitascope.train.initialise import initialised
from vitascope.train.learner import Learner, autocast
from vitascope.train.stages import Course, Run, Stage, VideoCourse, VideoStage, source_of
from vitascope.types import Batch, UserError, generator_for

Clock = Callable[[], float]

LESS = 8, 2
"""Shares of the batch that are timed, as divisors: a straight line through both leads to the whole."""


def step_seconds(run: Run, stage: Stage, seconds: float = 5.0, clock: Clock = time.perf_counter) -> float:
    """Seconds of one step of a stage, from steps of an eighth and of a half of its batch, taken in turn for `seconds`.

    The best of each counts: what other programs take away is not the machine's. `clock` may be the time of this process
    alone (`time.process_time`, with one thread), which is right on a machine that is busy.
    """
    sizes = sorted({max(stage.batch // less, 1) for less in LESS})
    takes = [Stepper(run, stage.model_copy(update={"batch": size})) for size in sizes]
    for take in takes:
        take()  # the first one is slower
    best = [float("inf")] * len(sizes)
    begun = clock()
    while clock() - begun < seconds or float("inf") in best:
        for place, take in enumerate(takes):
            before = clock()
            take()
            best[place] = min(best[place], clock() - before)
    if len(sizes) == 1:
        return best[0] * stage.batch / sizes[0]
    each = max(best[1] - best[0], 0.0) / (sizes[1] - sizes[0])
    return best[1] + each * (stage.batch - sizes[1])


class Stepper:
    """Steps of a stage, as training takes them: each call is the next. Holds all that training holds."""

    def __init__(self, run: Run, stage: Stage) -> None:
        run = run.at(stage)
        self.stage, self.step = stage, 0
        self.model = initialised(run.model, run.seed).to(usual_device())
        course = _course(run, stage, self.model)
        self.learner = Learner(stage, course, autocast(run, self.model.device))

    def __call__(self) -> None:
        _, norm = self.learner.lesson(self.step)
        self.learner.follow(norm, self.stage.learning_rate)
        self.step += 1
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()


def _course(run: Run, stage: Stage, model: VideoModel) -> Course:
    """The lessons of a stage; of clips with noise for latents, so that none has to be encoded."""
    if not isinstance(stage, VideoStage):
        return stage.begin(run, model, Path(), lambda items, _: iter(items))
    source = source_of(run)
    clip = source.clip(0)
    latents = model.tokenizer.encode(clip.pixels[None].to(model.device))
    batches: list[Batch] = []
    for shown in stage.shown:
        shape = shown.count, shown.num_frames(latents.shape[1]), *latents.shape[2:]
        clean = torch.randn(shape, generator=generator_for(0, "calibration"))
        told = [source.captions(shown.clip_of(place))[0] for place in range(shown.count)]
        batches.append(Batch(clean, tuple(told), micro_conditions([framing_of(clip)] * shown.count, clean.shape[1])))
    return VideoCourse(stage, run, model, lambda step: batches)


def timed_here(run: Run, device: Device, num_gpus: int) -> dict[str, float]:
    """Seconds of a step of every stage, five seconds of trying each. Only of the device that this machine has."""
    if num_gpus > 1:
        raise UserError(f"--calibrate times one device, and --gpus is {num_gpus}; leave one of them out")
    refuse_other_device(device, torch.cuda.get_device_name() if torch.cuda.is_available() else None)
    return {stage.name: step_seconds(run, stage) for stage in run.stages}


def refuse_other_device(asked: Device, gpu_here: str | None) -> None:
    """Steps are taken on this machine's GPU, `gpu_here` to its driver, or else on its processor: they may not be told
    as those of another device, at that one's price."""
    here = "cpu" if gpu_here is None else gpu_called(gpu_here)
    if asked.name != here:
        had = "no GPU" if gpu_here is None else f"the GPU '{gpu_here}'"
        way = "leave --calibrate out" if here is None else f"add --gpu {here}"
        raise UserError(f"--gpu is {asked.name}, and --calibrate times this machine, which has {had}: {way}")
