"""Sampling by inference alone: what a solver, its steps, the scale of guidance and its interval cost and give."""

from __future__ import annotations

from vitascope.ablate.measures import Sampled
from vitascope.ablate.table import Row, Table, Trade
from vitascope.ablate.tables.small import claim, floors
from vitascope.system import ModelConfig, Rules

NUM = 32
STEPS = {"euler": (50, 25, 10), "heun": (10, 5), "dpmpp": (20, 16, 10, 6), "unipc": (20, 16, 10, 6), "sde": (50, 20)}
SCALES = (1.0, 2.0, 6.0)
INTERVALS = ((0.0, 0.8), (0.2, 1.0), (0.3, 0.8))
PAID, GOT = "network evaluations", "oracle mean"


def table(base: ModelConfig) -> Table:
    usual = base.defaults.guidance
    by_solver = {name: tuple(f"{name}-{steps}" for steps in counts) for name, counts in STEPS.items()}
    first = base.defaults.image_first
    solvers = [row(f"{name}-{steps}", first, name, steps, usual) for name, counts in STEPS.items() for steps in counts]
    scales = [row(f"scale-{scale:g}", first, "dpmpp", 10, scale) for scale in SCALES]
    intervals = [row(f"within-{low:g}-{high:g}", first, "dpmpp", 10, usual, (low, high)) for low, high in INTERVALS]
    return Table(
        name="sampling",
        title="Sampling: quality against network evaluations",
        notes=(
            f"The base model as it is, text to video, {NUM} test scenes of one thing for each seed, the same scenes "
            "and noise in all rows: the seeds are draws of scenes, not of trainings. An evaluation is one pass of the "
            "backbone over one clip: a guided step takes two, a step of Heun's solver twice as many as one of Euler's"
            + ("; the first frame is made before the rest and counts as much." if base.defaults.image_first else "."),
            f"`{GOT}` is the mean share of the oracle's dimensions that passed; `oracle all` is the share of clips "
            "in which all did. The claims are this project's own: that a fifth of the evaluations of Euler's 50 "
            f"steps gives as much, within one point. `scale` and `within` have 10 steps of DPM++ 2M, and but for what "
            f"they name the scale {usual:g} at all levels.",
        ),
        rows=(*solvers, *scales, *intervals, *floors(Sampled(num=NUM))),
        claims=tuple(
            claim(
                number,
                "euler-50",
                f"{name}-10",
                "no higher",
                f"10 steps of {name} are as good as 50 of Euler's",
                "an aim of this project",
                0.01,
                metric=metric,
            )
            for number, name, metric in (
                ("a", "dpmpp", "oracle all"),
                ("b", "dpmpp", GOT),
                ("c", "unipc", "oracle all"),
                ("d", "unipc", GOT),
            )
        ),
        shown=(GOT, "oracle all", "energy distance", "toyland distance", "frechet distance", PAID),
        trades=(
            Trade(title="Solvers by their steps", paid=PAID, got=GOT, lines=tuple(by_solver.values())),
            Trade(
                title="Scales and intervals, 10 steps of DPM++ 2M",
                paid=PAID,
                got=GOT,
                lines=(("dpmpp-10",), *((one.name,) for one in (*scales, *intervals))),
            ),
        ),
    )


def row(
    name: str, image_first: bool, solver: str, steps: int, scale: float, interval: tuple[float, float] = (0.0, 1.0)
) -> Row:
    rules = Rules(guidance_interval=interval, image_first=image_first)
    asked = Sampled(num=NUM, steps=steps, solver=solver, guidance=scale, rules=rules)
    guided = (
        f"scale {scale:g}"
        if interval == (0.0, 1.0)
        else f"scale {scale:g} at levels {interval[0]:g} to {interval[1]:g}"
    )
    return Row(name=name, says=f"{steps} steps of {solver}, {guided}", measures=(asked,))
