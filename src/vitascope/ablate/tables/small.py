"""What the rows of all tables are made of: a small STIV on the latents of the base, trained from nothing."""

from __future__ import annotations

from vitascope.ablate.measures import Floor, Sampled
from vitascope.ablate.table import BASE, Claim, Expected, Guard, Row, Side
from vitascope.backbones.stiv import StivConfig
from vitascope.config import Config
from vitascope.recipes.toyland import ToylandConfig
from vitascope.system import ModelConfig
from vitascope.text.tiny import TinyTextConfig
from vitascope.train.initialise import Origin
from vitascope.train.stages import Run, Stage, VideoStage
from vitascope.types import UserError

WIDTH, NUM_CLIPS = 64, 1024
DATA = ToylandConfig()

LATENTS = (Origin(of=BASE, weights=("tokenizer.*",)),)
LEARNED = ("text.*", "backbone.*")


def small_model(base: ModelConfig, backbone: StivConfig, objective: Config | None = None) -> ModelConfig:
    """The base's autoencoder, and a backbone and a text encoder of `WIDTH`."""
    parts = {"backbone": backbone, "text": TinyTextConfig(width=WIDTH, heads=2)}
    return base.model_copy(update={**parts, "objective": objective or base.objective})


def small_stiv(base: ModelConfig, **changes: object) -> StivConfig:
    usual = {"width": WIDTH, "heads": 2, "depth": 4, "text_width": WIDTH}
    if not isinstance(base.backbone, StivConfig):
        raise UserError(
            f"the tables vary a STIV and the base is a {type(base.backbone).__name__}; give another --model"
        )
    return StivConfig.model_validate({"channels": base.backbone.channels, **usual, **changes})


def from_nothing(name: str, says: str, model: ModelConfig, measures: tuple[Config, ...], *stages: Stage) -> Row:
    """A row whose first stage begins with the base's autoencoder and nothing else."""
    first, *rest = stages
    begun = first.model_copy(update={"begins": LATENTS, "fresh": LEARNED})
    run = Run(name=name, model=model, data=DATA, stages=(begun, *rest), precision="fp32", checkpoint_seconds=60.0)
    return Row(name=name, says=says, measures=measures, run=run)


def floors(*sampled: Sampled) -> tuple[Row, ...]:
    """What true clips score by these measures: where a perfect model would be."""
    says = {
        "true-copied": "floor: the true clips themselves",
        "true-again": "floor: other true clips of the same captions",
    }
    return tuple(
        Row(name=name, says=told, measures=tuple(Floor(of=one, copied=name == "true-copied") for one in sampled))
        for name, told in says.items()
    )


def pictures(steps: int, **changes: object) -> VideoStage:
    """A stage of single frames."""
    usual = {"name": "t2i", "batch": 64, "images": True, "pictures": 2, "learning_rate": 1e-3}
    return VideoStage.model_validate({**usual, "steps": steps, "num_clips": NUM_CLIPS, "warmup_steps": 40, **changes})


def clips(steps: int, **changes: object) -> VideoStage:
    """A stage of clips."""
    usual = {"name": "t2v", "batch": 16, "learning_rate": 2e-3}
    return VideoStage.model_validate({**usual, "steps": steps, "num_clips": NUM_CLIPS, "warmup_steps": 40, **changes})


def claim(
    number: str,
    left: str,
    right: str,
    expected: Expected,
    says: str,
    evidence: str,
    margin: float = 0.0,
    metric: str = "error",
    guard: Guard | None = None,
) -> Claim:
    """Of one number of two rows; errors are compared by share."""
    sides = {"left": Side(row=left, metric=metric), "right": Side(row=right, metric=metric)}
    told = {"number": number, "says": says, "evidence": evidence, "expected": expected, "margin": margin}
    return Claim.model_validate({**told, **sides, "relative": "error" in metric, "guard": guard})
