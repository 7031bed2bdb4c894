"""The paper's figure 6a at laptop scale: how time is cut, attended to, modulated and hidden."""

from __future__ import annotations

from vitascope.ablate.measures import HeldOutError, Sampled
from vitascope.ablate.table import Row, Table
from vitascope.ablate.tables.small import DATA, claim, clips, floors, from_nothing, small_model, small_stiv
from vitascope.objectives.flow import FlowConfig
from vitascope.system import Lesson, ModelConfig

STEPS = 240
SAMPLED = Sampled(num=8, steps=10, solver="dpmpp", guidance=4.0)
MEASURES = (HeldOutError(data=DATA, num=32, batch=16), SAMPLED)


def table(base: ModelConfig) -> Table:
    return Table(
        name="t2v",
        title="Text to video: time cut, attended to, modulated and hidden",
        notes=(
            f"A STIV of width 64 and 4 blocks learns clips of Toyland, {STEPS} steps of 16, from nothing; the rows "
            "differ from `base` (cubes of two frames, full attention in time, nothing hidden) in one thing. `error` is "
            "the squared error of the velocity in 32 clips that were held out. The paper's base hides half of the "
            "spatial tokens: here that is a row, compared with `deep`, which is as deep; hiding in time too is "
            "compared with it.",
            "Equal steps: longer cubes cost less. A model of two-frame cubes has half the tokens of one of single "
            "frames, and twice those of four.",
        ),
        rows=rows(base),
        claims=CLAIMS,
        shown=(
            "error",
            "energy distance",
            "toyland distance",
            "frechet distance",
            "motion energy",
            "smoothness",
            "error at 0.9",
        ),
    )


def rows(base: ModelConfig) -> tuple[Row, ...]:
    def row(
        name: str,
        says: str,
        stage: dict[str, object] | None = None,
        levels: FlowConfig | None = None,
        **backbone: object,
    ) -> Row:
        model = small_model(base, small_stiv(base, **backbone), levels or FlowConfig())
        return from_nothing(name, says, model, MEASURES, clips(STEPS, **(stage or {})))

    hidden, still = Lesson(mask_share=0.5), Lesson(mask_share=0.5, time_mask_share=0.5)
    return (
        row("base", "cubes of two frames"),
        row("patch-1", "cubes of one frame", patch=(1, 2), grid=(16, 4)),
        row("patch-4", "cubes of four frames", patch=(4, 2), grid=(4, 4)),
        row(
            "levels-1", "levels drawn higher: 1 in place of 0 is the mean of their logits", levels=FlowConfig(mean=1.0)
        ),
        row("levels-2", "levels drawn higher: 2", levels=FlowConfig(mean=2.0)),
        row("causal", "attention looks back in time only", causal_time=True),
        row("modulated", "+ scale, shift and gate on temporal attention", modulate_time=True),
        row("deep", "two blocks more: beside what hides tokens, which has them too", tail_blocks=2),
        row("masked", "+ half of the places hidden, two blocks more", {"lesson": hidden}, tail_blocks=2),
        row("time-masked", "+ half of the cubes in time hidden too", {"lesson": still}, tail_blocks=2),
        *floors(SAMPLED),
    )


CLAIMS = (
    claim(
        "13",
        "masked",
        "deep",
        "no higher",
        "hiding half of the places is nearly free",
        "T2V total 78.52, 78.25",
        0.05,
    ),
    claim("14", "time-masked", "masked", "higher", "hiding in time hurts", "total 78.25 to 75.25"),
    claim("15", "causal", "base", "higher", "causal attention in time hurts", "total 78.25 to 74.30"),
    claim("16a", "patch-1", "base", "lower", "cubes of one frame are better than of two", "total 78.25 to 79.07"),
    claim("16b", "patch-4", "base", "higher", "cubes of four frames are worse", "total 78.25 to 77.61"),
    claim(
        "17",
        "base",
        "modulated",
        "no higher",
        "modulating temporal attention does not help",
        "78.25 to 78.04",
        0.05,
    ),
)
