"""Sampling by inference alone: what a solver, its steps, the scale of guidance and its interval cost and give."""

from __future__ import annotations

from vitascope.ablate.measures import Sampled
from vitascope.ablate.table import Row, Table, Trade
from vitascope.ablate.tables.small import claim, floors
from vitascope.evaluate.questions import NUM_FRAMES
from vitascope.sample.candidates import passes_of_judging
from vitascope.system import ModelConfig, Rules

NUM = 32
PLAIN = "plain-50"
FEW = 9  # steps that ask the model at most a fifth as often, first pictures and their judging counted
STEPS = {"euler": (25, FEW), "heun": (10, 5), "dpmpp": (20, 16, FEW, 6), "unipc": (20, 16, FEW, 6), "sde": (20,)}
SCALES = (1.0, 2.0, 6.0)
INTERVALS = ((0.0, 0.8), (0.2, 1.0), (0.3, 0.8), (0.0, 1.0))
PAID, GOT, MEAN = "network evaluations", "oracle all", "oracle mean"


def table(base: ModelConfig) -> Table:
    usual = base.defaults.guidance
    by_solver = {name: tuple(f"{name}-{steps}" for steps in counts) for name, counts in STEPS.items()}
    own = Rules.model_validate(base.defaults.model_dump(include=set(Rules.model_fields)))
    rules = own.model_copy(update={"precision": "bf16"})
    low, high = rules.guidance_interval
    solvers = [
        row(one, rules, name, steps, usual)
        for name, counts in STEPS.items()
        for one, steps in zip(by_solver[name], counts, strict=True)
    ]
    plain = row(PLAIN, within(rules, 0.0, 1.0), "euler", 50, usual)
    scales = [row(f"scale-{scale:g}", rules, "dpmpp", FEW, scale) for scale in SCALES]
    intervals = [
        row(f"within-{one:g}-{other:g}", within(rules, one, other), "dpmpp", FEW, usual) for one, other in INTERVALS
    ]
    return Table(
        name="sampling",
        title="Sampling: quality against network evaluations",
        notes=(
            f"The base model, its matrix products in bf16, text to video, {NUM} test scenes of one thing for each "
            "seed, the same scenes and noise in all rows: the seeds are draws of scenes, not of trainings. An "
            "evaluation is one pass of the backbone over one clip: a guided step takes two, a step of Heun's solver "
            "twice as many as one of Euler's"
            + (
                f"; the first frame is made before the rest, one of {rules.picture_candidates}, each judged in "
                f"{passes_of_judging(rules.picture_candidates)} passes; one over a picture counts as 1/{NUM_FRAMES}."
                if rules.image_first
                else "."
            ),
            f"`{MEAN}` is the mean share of the oracle's dimensions that passed; `{GOT}` is the share of clips in "
            "which all did. The claims are this project's own: that a fifth of the evaluations of Euler's 50 steps, "
            f"guided at all levels (`{PLAIN}`), gives as much, within one point. `scale` and `within` have {FEW} steps "
            f"of DPM++ 2M; what a row does not name is the base's own choice: scale {usual:g} at levels {low:g} to "
            f"{high:g}.",
        ),
        rows=(plain, *solvers, *scales, *intervals, *floors(Sampled(num=NUM))),
        claims=tuple(
            claim(
                number,
                PLAIN,
                f"{name}-{FEW}",
                "no higher",
                f"{FEW} steps of {name} are as good as 50 of Euler's",
                "an aim of this project",
                0.01,
                metric=metric,
            )
            for number, name, metric in (
                ("a", "dpmpp", GOT),
                ("b", "dpmpp", MEAN),
                ("c", "unipc", GOT),
                ("d", "unipc", MEAN),
            )
        ),
        shown=(GOT, MEAN, "energy distance", "toyland distance", "frechet distance", PAID),
        trades=(
            Trade(title="Solvers by their steps", paid=PAID, got=GOT, lines=((PLAIN,), *by_solver.values())),
            Trade(
                title=f"Scales and intervals, {FEW} steps of DPM++ 2M",
                paid=PAID,
                got=GOT,
                lines=((f"dpmpp-{FEW}",), *((one.name,) for one in (*scales, *intervals))),
            ),
        ),
    )


def within(rules: Rules, low: float, high: float) -> Rules:
    return rules.model_copy(update={"guidance_interval": (low, high)})


def row(name: str, rules: Rules, solver: str, steps: int, scale: float) -> Row:
    asked = Sampled(num=NUM, steps=steps, solver=solver, guidance=scale, rules=rules)
    low, high = rules.guidance_interval
    guided = f"scale {scale:g}" if (low, high) == (0.0, 1.0) else f"scale {scale:g} at levels {low:g} to {high:g}"
    return Row(name=name, says=f"{steps} steps of {solver}, {guided}", measures=(asked,))
