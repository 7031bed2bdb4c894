"""What one model does with other frames known: prediction and temporal upsampling. Nothing is trained."""

from __future__ import annotations

from vitascope.ablate.measures import HeldOutError, Sampled
from vitascope.ablate.table import Row, Table
from vitascope.ablate.tables.small import DATA, claim, floors
from vitascope.system import ModelConfig

NUM = 8


def table(base: ModelConfig) -> Table:
    return Table(
        name="applications",
        title="Applications: prediction and temporal upsampling",
        notes=(
            f"The base model, all frames at once, {NUM} test scenes of one thing for each seed and 16 held-out clips: "
            "the seeds are draws of scenes, not of trainings. `energy distance` is between the set of clips and the "
            "true ones, known frames included.",
            "The paper trains a model for each; here one model was trained for all. Multi-view (claim 30: "
            "attention factorised in space and time can hold large changes of view) is not run: it needs a model of "
            "views, which the base is not, and a rival to compare with, which the paper takes from elsewhere.",
        ),
        rows=(
            row("t2v", "from words alone"),
            row("i2v", "the first frame known", task="image"),
            row("v2v", "the first four frames known", task="prediction", given=4),
            row("tup", "every second frame known, with words", task="upsampling"),
            row("tup-silent", "every second frame known, without words", task="upsampling", silent=True),
            *floors(Sampled(num=NUM, task="image")),
        ),
        claims=CLAIMS,
        shown=(
            "energy distance",
            "toyland distance",
            "frechet distance",
            "error of pixels",
            "error",
            "motion energy",
            "smoothness",
            "oracle all",
        ),
    )


def row(name: str, says: str, **told: object) -> Row:
    asked = {"num": NUM, "steps": 10, "solver": "dpmpp", **told}
    held_out = HeldOutError.model_validate({"data": DATA, "num": 16, "batch": 16, **told})
    return Row(name=name, says=says, measures=(held_out, Sampled.model_validate(asked)))


CLAIMS = (
    claim(
        "25a",
        "v2v",
        "t2v",
        "lower",
        "four known frames bring clips far nearer",
        "FVD 536 to 184",
        metric="energy distance",
    ),
    claim("25b", "v2v", "t2v", "lower", "and what is held out is better foretold", "no numbers"),
    claim(
        "26a",
        "tup",
        "tup-silent",
        "lower",
        "words help upsampling a little",
        "FVD 6.3 to 5.9",
        metric="error of pixels",
    ),
    claim("26b", "tup", "tup-silent", "lower", "and in what is held out", "no numbers"),
)
