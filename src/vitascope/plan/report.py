"""A plan: what a run needs on given devices, what would make it fit, and what the paper printed for its like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from vitascope.plan.devices import GIB, Device
from vitascope.plan.needs import (
    CacheNeeds,
    SamplingNeeds,
    StageNeeds,
    cache_needs,
    largest_batch,
    parameters,
    refuse_unplanned,
    sampling_needs,
    stage_needs,
)
from vitascope.recipes.stiv import PAPER, PRINTED, Printed, by_rule
from vitascope.train.optim import AdafactorConfig
from vitascope.train.stages import Run, Stage, VideoStage
from vitascope.types import UserError


@dataclass(frozen=True)
class Plan:
    run: Run
    device: Device
    num_gpus: int
    hourly_price: float | None  # of one device, as the user told
    parameters: Mapping[str, int]
    stages: tuple[StageNeeds, ...]
    sampling: SamplingNeeds
    cache: CacheNeeds | None
    timed: Mapping[str, float]  # seconds of a step of stages, foretold from smaller ones that were taken here
    advice: tuple[str, ...]  # for each stage that does not fit, what would make it
    paper: tuple[str, ...]  # the paper's numbers for this preset beside ours

    @property
    def flops(self) -> int:
        return sum(stage.flops for stage in self.stages)

    def seconds(self, stage: StageNeeds) -> float:
        """Of all steps of a stage: as timed, or by the rate that is assumed."""
        timed = self.timed.get(stage.name)
        return stage.steps * (timed or stage.device_flops(self.num_gpus) / self.device.rate(stage.precision))

    @property
    def hours(self) -> float:
        return sum(map(self.seconds, self.stages)) / 3600

    @property
    def cost(self) -> float | None:
        return None if self.hourly_price is None else self.hours * self.num_gpus * self.hourly_price


def plan(
    run: Run,
    device: Device,
    num_gpus: int = 1,
    hourly_price: float | None = None,
    timed: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Walk one step of every stage and one video, without numbers; nothing is downloaded, allocated or trained.

    `timed`: seconds of a step of stages that were timed (`calibrating.py`). `progress` hears how many stages are done:
    those of large models take minutes.
    """
    refuse_what_cannot_be_planned(run, device, num_gpus, hourly_price)
    num, stages, advice = len(run.stages), list[StageNeeds](), list[str]()
    for done, stage in enumerate(run.stages):
        progress(done, num)
        stages.append(stage_needs(run, stage, device, num_gpus))
        advice += _advice(run, stage, stages[-1], device, num_gpus)
    progress(num, num)
    at_last = run.at(run.stages[-1])
    return Plan(
        run,
        device,
        num_gpus,
        hourly_price,
        parameters(at_last),
        tuple(stages),
        sampling_needs(at_last, device),
        cache_needs(run),
        timed or {},
        tuple(advice),
        tuple(beside_paper(run, tuple(stages))),
    )


def refuse_what_cannot_be_planned(run: Run, device: Device, num_gpus: int, hourly_price: float | None) -> None:
    """What is wrong with a plan before any of it is made."""
    if num_gpus < 1:
        raise UserError(f"--gpus must be at least 1, got {num_gpus}")
    if num_gpus > 1 and not device.is_gpu:
        raise UserError(f"--gpus is for GPUs and --gpu is {device.name}; leave one of them out")
    if hourly_price is not None and not 0 <= hourly_price < float("inf"):
        raise UserError(f"--price is what one device costs an hour, a number from 0, got {hourly_price}")
    for stage in run.stages:
        refuse_unplanned(stage)


def _advice(run: Run, stage: Stage, needs: StageNeeds, device: Device, num_gpus: int) -> Iterator[str]:
    """For a stage that does not fit, what would make it."""
    free, held = device.usable_bytes, needs.memory
    if held.peak <= free:
        return
    too_much = f"{stage.name} needs {_gib(held.peak)} and a {device.name} holds {_gib(free)}:"
    knobs = list(_less_at_once(run, stage, needs, device, num_gpus))
    if not knobs and not isinstance(stage.optimizer, AdafactorConfig) and held.peak - held.optimizer // 2 <= free:
        knobs.append("AdafactorConfig as its optimizer: one number for each weight instead of two")
    elif not knobs:
        apart = held.weights + held.gradients + held.optimizer + held.average
        rest = max(free - (held.peak - apart), free / 2)
        devices = -(-apart // int(rest))
        knobs.append(
            f"weights, gradients, optimizer and average alone are {_gib(apart)}: no batch is small enough; a "
            f"device with more memory, a smaller backbone, or these shared out over at least {devices} devices, "
            "which this version does not do"
        )
    if needs.precision == "fp32" and device.bf16 > device.fp32:
        knobs.append("--set precision=bf16")
    yield f"{too_much} {'; '.join(knobs)}"


def _less_at_once(run: Run, stage: Stage, needs: StageNeeds, device: Device, num_gpus: int) -> Iterator[str]:
    """Settings with which a stage that does not fit does, or at least a smaller batch does."""
    if isinstance(stage, VideoStage) and not run.recompute:
        again = run.model_copy(update={"recompute": True})
        recomputed = stage_needs(again, stage, device, num_gpus)
        if recomputed.memory.peak <= device.usable_bytes:
            yield "--set recompute=true"
        elif most := largest_batch(again, stage, device, recomputed, num_gpus):
            yield f"--set recompute=true --set stages.{stage.name}.batch={most * num_gpus}"
    if most := largest_batch(run, stage, device, needs, num_gpus):
        batch = max(n for n in range(1, most + 1) if stage.batch % n == 0)
        more = f"--gpus {stage.batch // batch}, or " if device.is_gpu else ""
        yield f"{more}--set stages.{stage.name}.batch={most * num_gpus}"


def beside_paper(run: Run, needs: tuple[StageNeeds, ...]) -> Iterator[str]:
    """The paper's FLOPs beside ours; where it does not tell the number of steps, the number that they imply. Nothing of
    a preset with other parts or clips: the paper has none of its like."""
    preset = PAPER.get(run.name.removeprefix("stiv_"))
    if preset is None or (run.model, run.data) != (preset().model, preset().data):
        return
    for printed in PRINTED.get(run.name, ()):
        stages = [stage for stage in run.stages if isinstance(stage, VideoStage) and stage.name in printed.stages]
        # The text tower is not in the paper's numbers, or they would be a fifth larger for images [inferred].
        ours = sum(one.steps * one.step_flops for one in needs if one.name in printed.stages)
        rule = sum(stage.steps * by_rule(run, stage) for stage in stages)
        yield f"{printed.what}: the paper {printed.flops:.3g}, {_compared(printed, stages, ours, rule)}"


def _compared(printed: Printed, stages: list[VideoStage], ours: int, rule: int | float) -> str:
    if printed.share is not None:
        here, thumb = (
            f"{printed.share * flops:.3g} ({printed.share * flops / printed.flops - 1:+.1%})" for flops in (ours, rule)
        )
        return f"here {here}, by the rule of six for each parameter and token {thumb}"
    steps = sum(stage.steps for stage in stages) * printed.flops / rule
    mix = " to ".join(f"{stage.steps:,}" for stage in stages)
    return f"which by the rule implies {steps:,.0f} steps of {stages[0].batch:,}, masked and whole as {mix} [inferred]"


def print_plan(made: Plan, console: Console) -> None:
    """All of it as tables."""
    device, run = made.device, made.run
    several = f"{made.num_gpus} x " if made.num_gpus > 1 else ""
    console.print(f"{run.name} on {several}{device.name}: {_rates(device)}", soft_wrap=True)
    said = ", ".join(f"{name} {_count(number)}" for name, number in made.parameters.items())
    console.print(f"parameters: {said}", soft_wrap=True)
    console.print(_stages_table(made))
    console.print(_memory_table(made))
    console.print(_total(made), soft_wrap=True)
    console.print(_sampling(made), soft_wrap=True)
    if made.cache is not None:
        console.print(
            f"latents of all clips, once: {made.cache.flops:.2e} FLOPs and {_gib(made.cache.size)} of main memory",
            soft_wrap=True,
        )
    for line in made.advice:
        console.print(f"does not fit: {line}", soft_wrap=True, markup=False)
    for line in made.paper:
        console.print(line, soft_wrap=True, markup=False)


def _rates(device: Device) -> str:
    origin = "data sheet" if device.is_gpu else "measured"
    if device.bf16 == device.fp32:
        peak = f"{_rate(device.fp32)} in fp32"
    else:
        peak = f"{_rate(device.bf16)} in bf16, {_rate(device.fp32)} in fp32"
    return (
        f"{device.memory_gib:.0f} GiB, {peak} ({origin}), of which a step is assumed to reach {device.utilisation:.0%} "
        "(*: unless it was timed)"
    )


def _stages_table(made: Plan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in (
        "stage",
        "steps",
        "batch",
        "precision",
        "FLOPs a step",
        "text, frozen",
        "optimizer",
        "FLOPs",
        "s a step",
        "hours",
    ):
        table.add_column(heading, justify="left" if heading in ("stage", "precision") else "right")
    for stage in made.stages:
        seconds = made.seconds(stage)
        frozen = f"{stage.frozen_flops:.2e}" if stage.frozen_flops else ""
        assumed = "" if stage.name in made.timed else "*"
        table.add_row(
            stage.name, f"{stage.steps:,}", f"{stage.batch:,}", stage.precision, f"{stage.step_flops:.2e}", frozen,
            f"{stage.update_flops:.2e}", f"{stage.flops:.2e}", f"{seconds / stage.steps:.3g}{assumed}",
            f"{seconds / 3600:,.2f}",
        )  # fmt: skip
    return table


def _memory_table(made: Plan) -> Table:
    parts = ("weights", "gradients", "optimizer", "average", "activations", "peak")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("GiB a device")
    for part in parts:
        table.add_column(part, justify="right")
    table.add_column("of it frozen")
    for stage in made.stages:
        frozen = ", ".join(f"{name} {size / GIB:.2f}" for name, size in stage.memory.frozen.items())
        table.add_row(stage.name, *(f"{getattr(stage.memory, part) / GIB:.2f}" for part in parts), frozen)
    return table


def _total(made: Plan) -> str:
    cost = "; --price tells what they cost" if made.cost is None else f", {made.cost:,.2f} at the price given"
    return (
        f"in all: {made.flops:.3e} FLOPs, {made.hours:,.2f} hours, {made.hours * made.num_gpus:,.1f} device hours{cost}"
    )


def _sampling(made: Plan) -> str:
    one = made.sampling
    seconds = one.flops / made.device.rate(one.precision)
    fits = "" if one.peak <= made.device.usable_bytes else "; does not fit: ask for a smaller --size or --num-frames"
    return (
        f"one video of {one.num_frames} frames at {one.size[0]}x{one.size[1]}: {one.passes} passes, {one.flops:.2e} "
        f"FLOPs, {seconds:,.1f} s in {one.precision} on one device, {_gib(one.peak)}{fits}"
    )


def _gib(number: int | float) -> str:
    return f"{number / GIB:,.2f} GiB"


def _rate(number: int | float) -> str:
    return f"{number / 1e12:,.0f} TFLOP/s" if number >= 1e12 else f"{number / 1e9:,.0f} GFLOP/s"


def _count(number: int) -> str:
    return f"{number / 1e9:.3f}B" if number >= 1e8 else f"{number / 1e6:.2f}M"
