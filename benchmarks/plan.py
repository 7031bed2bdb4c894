"""What `vitascope plan` foretells of laptop runs against what a step really takes: peak memory and time.

python benchmarks/plan.py [--seconds 5] [--steps 3] [--stage laptop:stiv/t2i ...]

Memory is what is held between steps and the most that the allocator gave out beyond it in one; the plan reckons both
from fake tensors. Time is that of this process (one thread, so that other programs do not count), foretold from steps
of an eighth and of a half of the batch.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

import torch
from torch._subclasses.fake_tensor import FakeTensor

from vitascope.device import fast_bf16
from vitascope.plan.calibrating import Stepper, step_seconds
from vitascope.plan.devices import Device
from vitascope.plan.needs import stage_needs
from vitascope.plan.walking import size_of
from vitascope.recipes import resolve
from vitascope.train.stages import Run, Stage

STAGES = "laptop:stiv/autoencoder", "laptop:ladder/t2i_64", "laptop:stiv/ti2v"
FASTER = 2.0 if fast_bf16(torch.device("cpu")) else 1.0
HERE = Device("cpu", 8.0, FASTER * 1e11, 1e11, utilisation=0.5, is_gpu=False)  # of its rates only the higher one tells


def measured(run: Run, stage: Stage, steps: int) -> tuple[float, int]:
    """The best seconds of a step, and the most bytes: those held before, and what a step adds to them."""
    take = Stepper(run, stage)
    take()
    best = float("inf")
    for _ in range(steps):
        before = time.process_time()
        take()
        best = min(best, time.process_time() - before)
    held = size_of(alive())
    return best, held + most_added(take)


def most_added(act: Callable[[], object]) -> int:
    """The most bytes that the allocator gave out during an act and had not got back."""
    with torch.autograd.profiler.profile(profile_memory=True) as record:
        act()
    most = added = 0
    events = (event for event in record.kineto_results.events() if event.name() == "[memory]")
    for event in sorted(events, key=lambda event: event.start_ns()):
        added += event.nbytes()
        most = max(most, added)
    return most


def alive() -> list[torch.Tensor]:
    """Tensors that Python holds between two steps: weights, averages, states of optimizers, the batch."""
    gc.collect()
    found = [one for one in gc.get_objects() if isinstance(one, torch.Tensor)]
    return [one for one in found if one.device.type == "cpu" and not isinstance(one, FakeTensor)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=5.0, help="of calibration, for each stage")
    options.add_argument("--steps", type=int, default=3, help="timed, of which the best counts")
    options.add_argument("--stage", action="append", help="RECIPE/STAGE; repeatable")
    asked = options.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as training does
    for name in asked.stage or STAGES:
        recipe, _, stage_name = name.partition("/")
        run = resolve(recipe)
        stage = next(one for one in run.stages if one.name == stage_name)
        planned = stage_needs(run, stage, HERE, 1).memory.peak
        foretold = step_seconds(run, stage, asked.seconds, time.process_time)
        seconds, peak = measured(run, stage, asked.steps)
        print(
            f"{name:24s} peak {planned / 2**20:6.0f} MiB planned, {peak / 2**20:6.0f} measured "
            f"({planned / peak - 1:+.1%}); step {foretold:5.2f} s foretold, {seconds:5.2f} taken "
            f"({foretold / seconds - 1:+.1%})",
            flush=True,
        )


if __name__ == "__main__":
    main()
