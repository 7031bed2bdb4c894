"""What Toyland costs, and how often the oracle passes what is true, by kind of scene.

python benchmarks/toyland.py [--num 50]

Times are of default clips and of this process alone, on one core, so that other work on the machine harms them little.
A render should take under 10 ms and a verdict under 50 ms; true scenes should pass every dimension 99 times in 100.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: waiting threads would be counted as work

from rich.console import Console
from rich.table import Table

from vitascope import toyland
from vitascope.evaluate.intervals import Rate
from vitascope.evaluate.questions import KINDS
from vitascope.evaluate.toyland import counted
from vitascope.toyland.scene import STYLES, Kind

Result = TypeVar("Result")


def timed(work: Callable[[], Result], spent: list[float]) -> Result:
    """What `work` gives; its milliseconds go into `spent`."""
    begun = time.process_time()
    result = work()
    spent.append(1000 * (time.process_time() - begun))
    return result


def warm_up() -> None:
    """Templates are made once: when the first clip of a style is judged."""
    for ending in ("", *(f", {style}" for style in STYLES)):
        scene = toyland.parse(f"a large red square moves left on a black background{ending}")
        counted(toyland.render(scene), scene)


def measured(kind: Kind, num: int) -> tuple[list[float], list[float], dict[str, Rate]]:
    """Milliseconds of each rendering and each verdict, and how often each dimension passed."""
    rendering: list[float] = []
    judging: list[float] = []
    rates: dict[str, Rate] = {}
    for number in range(num):
        scene = toyland.sample(random.Random(f"benchmark {kind} {number}"), kind)
        clip = timed(lambda scene=scene: toyland.render(scene), rendering)
        for name, rate in timed(lambda clip=clip, scene=scene: counted(clip, scene), judging).items():
            rates[name] = rates.get(name, Rate()) + rate
    return rendering, judging, rates


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--num", type=int, default=50, help="scenes of each kind")
    num = options.parse_args().num
    if num < 1:
        options.error(f"--num must be at least 1, got {num}")
    costs = Table("kind", "render", "worst", "judge", "worst", title=f"milliseconds, median and worst of {num}")
    passes = Table("kind", "dimension", "n", "passed", "95 % interval", title="true scenes")
    warm_up()
    for kind in KINDS:
        rendering, judging, rates = measured(kind, num)
        middle_and_worst = (choose(spent) for spent in (rendering, judging) for choose in (statistics.median, max))
        costs.add_row(kind, *(f"{value:.1f}" for value in middle_and_worst))
        for name, rate in rates.items():
            low, high = rate.interval
            passes.add_row(kind, name, str(rate.count), f"{rate.value:.3f}", f"{low:.3f} .. {high:.3f}")
        passes.add_section()
    Console().print(costs, passes)


if __name__ == "__main__":
    main()
