"""STIV at the scale of its paper, as far as the paper tells: runs to plan with.

Neither the paper's clips nor its text tower nor its autoencoder are public: the parts that stand for them here have
their sizes only, and a run that needs more than sizes is refused. What the paper leaves open is marked [inferred] where
something in it or beside it suggests the value, and [open] where nothing does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import torch

from vitascope.backbones.stiv import XL, XXL, M, StivConfig
from vitascope.config import Config, Count
from vitascope.data.source import FootageConfig
from vitascope.objectives.flow import FlowConfig
from vitascope.recipes.weights import TIME
from vitascope.system import Defaults, Lesson, ModelConfig
from vitascope.tasks import TaskMix
from vitascope.text.pretrained import PretrainedTextConfig
from vitascope.tokenizers.frame_vae import FrameVaeConfig
from vitascope.tokenizers.hub import HubVaeConfig
from vitascope.train.initialise import Origin
from vitascope.train.optim import AdafactorConfig
from vitascope.train.stages import Run, VideoStage
from vitascope.types import Clip, UserError


class TowerConfig(Config):
    """A CLIP text tower of which only the sizes are known: STIV's (section 2.1), with the tokenizer of T5. Frozen
    [inferred]: the paper says that of its autoencoder."""

    width: Count = 1280
    heads: Count = 20
    depth: Count = 32
    vocabulary: Count = 32_128  # [inferred] T5's
    max_tokens: Count = 120  # [inferred] PixArt-alpha's, on which STIV is built; the paper does not say

    def build(self) -> NoReturn:
        raise UserError(
            "the text tower of the STIV paper is not public: only 'vitascope plan' can use its sizes; to train, write "
            "a recipe of your own with a PretrainedTextConfig as text and backbone.text_width to match"
        )


class UnseenClipsConfig(Config):
    """Clips of which only the shape is known."""

    size: Count = 256
    num_frames: Count = 20

    def build(self) -> UnseenClips:
        return UnseenClips(self)


class UnseenClips:
    """Black clips that all say the same, so that shapes can be read off; there is nothing to learn from."""

    def __init__(self, config: UnseenClipsConfig) -> None:
        self.config = config

    @property
    def identity(self) -> str:
        raise UserError("the clips of the STIV paper are not public; to train, give a recipe of your own its data")

    def clip(self, index: int) -> Clip:
        size = self.config.size
        return Clip(torch.zeros(1).expand(self.config.num_frames, 3, size, size))

    def captions(self, index: int) -> tuple[str, ...]:
        return ("a clip that nobody has seen",)


SCHEDULES = {  # steps with half of the tokens hidden, then with all: the paper's section 3.1, the same for each size
    "t2i": (400_000, 50_000),  # the 50,000 were left out of the final T2I (appendix D), not of the ablations
    "t2v": (400_000, 100_000),
    "ti2v": (400_000, 100_000),
}
NUM_CLIPS = 74_000_000  # [inferred] 400,000 steps of 1,024 are told to be 5.5 epochs


def paper(backbone: StivConfig, size: int, num_frames: int, name: str) -> Run:
    """T2I, T2V and TI2V, each with half of the tokens hidden and then with all.

    [open] The paper gives steps and batch for 256 pixels and 20 frames; at 512 pixels or 40 frames the same are
    written here, for want of others. How those stages begin from the smaller ones is in the paper, not in these runs.
    """
    return Run(
        name=name,
        model=ModelConfig(
            tokenizer=FrameVaeConfig(),  # ours, of 8 channels and 8x smaller, as the paper's: that one is not public
            text=TowerConfig(),
            # Where time is folded into the batch the text is projected for each frame, and only so do FLOPs come near
            # those that the paper prints of videos [inferred]. It changes no number that the model computes.
            backbone=backbone.model_copy(update={"text_per_frame": True}),
            objective=FlowConfig(),
            # An SDE and guidance 7.5 are the paper's; 50 steps of Heun are DiT-Air's, of the same group [inferred].
            defaults=Defaults(size=(size, size), num_frames=num_frames, steps=50, guidance=7.5, solver="sde"),
        ),
        data=UnseenClipsConfig(size=size, num_frames=num_frames),
        stages=tuple(stage for task in SCHEDULES for stage in halves(task)),
        precision="bf16",  # [open]
    )


def halves(task: str) -> tuple[VideoStage, VideoStage]:
    """The two stages of a task: half of the tokens hidden, then none."""
    images, steps = task == "t2i", SCHEDULES[task]
    tasks = TaskMix(text=0, image=1) if task == "ti2v" else TaskMix()
    masked = VideoStage(
        name=task,
        steps=steps[0],
        batch=4096 if images else 1024,
        images=images,
        num_clips=NUM_CLIPS,
        fresh=(TIME,) if task == "t2v" else (),
        lesson=Lesson(tasks=tasks, mask_share=0.5),
        learning_rate=2e-4,
        warmup_steps=1000,
        decay_share=0,
        optimizer=AdafactorConfig(),
    )
    whole = {"name": f"{task}_whole", "steps": steps[1], "fresh": (), "lesson": Lesson(tasks=tasks)}
    return masked, masked.model_copy(update=whole)


@dataclass(frozen=True)
class Printed:
    """A number of FLOPs that the paper prints (tables 13 and 14), beside the stages of a preset that it is of."""

    what: str
    flops: float
    stages: tuple[str, ...]
    share: float | None = None  # of the steps of the preset; None: not told, so that the FLOPs imply the steps


_T2I, _T2V = ("t2i", "t2i_whole"), ("t2v", "t2v_whole")
PRINTED = {
    "stiv_xl_256": (
        Printed("T2I-256", 1.11e21, _T2I, share=1.0),
        Printed("T2V-256, at half of the schedule [inferred]", 2.05e21, _T2V, share=0.5),
        Printed("T2V-256, before 40 frames", 1.02e21, _T2V),
    ),
    "stiv_xl_512": (
        Printed("T2I-512, 8.43e21 where it is printed, 0.843e21 in the printed totals [inferred]", 0.843e21, _T2I),
        Printed("T2V-512, from nothing", 5.93e21, _T2V),
        Printed("T2V-512, from T2V-256", 2.84e21, _T2V),
        Printed("T2V-512, from T2I-512", 4.02e21, _T2V),
        Printed("T2V-512, from both", 1.98e21, _T2V),
    ),
    "stiv_xl_256_40": (
        Printed("T2V-256 of 40 frames, from T2I", 2.05e21, _T2V),
        Printed("T2V-256 of 40 frames, from T2V of 20", 1.02e21, _T2V),
    ),
}


def by_rule(run: Run, stage: VideoStage) -> float:
    """FLOPs of a step of a preset by the rule of thumb: six for each parameter of a block and token, and attention.

    The rule counts keys and values of the text as if every token had its own.
    """
    backbone, data, text = run.model.backbone, run.data, run.model.text
    assert isinstance(backbone, StivConfig) and isinstance(data, UnseenClipsConfig) and isinstance(text, TowerConfig)
    places = float((data.size // (8 * backbone.patch[1])) ** 2)  # of tokens in a frame; 8: the autoencoder's stride
    frames = 1 if stage.images else -(-data.num_frames // backbone.patch[0])
    squares = 16 if stage.images else 20  # times the width squared: parameters of a block, without and with time

    def block(places: float) -> float:
        lengths = places + text.max_tokens + (0 if stage.images else frames)
        return frames * places * (6 * squares * backbone.width**2 + 12 * backbone.width * lengths)

    visible = places * (1 - stage.lesson.mask_share)
    return stage.batch * (backbone.depth * block(visible) + backbone.tail_blocks * block(places))


def from_both() -> Run:
    """T2V-XL-512 by the paper's progressive training (its figure 4): T2I and T2V of 256 pixels, T2I of 512, and T2V of
    512 that begins with both: temporal attention from the T2V, all else from the T2I of its size.

    vitascope plan stiv:xl_512_both

    [inferred] T2V of 256 pixels has half of its schedule, as its printed FLOPs say. At 512 pixels the steps are those
    that the printed FLOPs imply by the rule of thumb, hidden and whole in the schedule's proportion.
    """
    small, large = (paper(XL, size, 20, f"stiv_xl_{size}") for size in (256, 512))
    t2i_small, t2v_small, *_ = PRINTED[small.name]
    t2i_large, *_, t2v_large = PRINTED[large.name]
    both = Origin(of="t2i_512_whole"), Origin(of="t2v_256_whole", weights=(TIME,))
    rungs = (
        *rung(small, t2i_small),
        *rung(small, t2v_small),
        *rung(large, t2i_large, begins=(Origin(of="t2i_256_whole"),)),
        *rung(large, t2v_large, begins=both, fresh=()),
    )
    return large.model_copy(update={"name": "stiv_xl_512_both", "stages": rungs})


def rung(run: Run, printed: Printed, **changes: object) -> tuple[VideoStage, VideoStage]:
    """The two stages of a task at the size of a preset, as long as is told, or as the FLOPs that are told imply."""
    task, size = printed.stages[0], run.model.defaults.size[0]
    first, whole = halves(task)
    share = printed.share or printed.flops / sum(one.steps * by_rule(run, one) for one in (first, whole))

    def placed(stage: VideoStage, **changes: object) -> VideoStage:
        name = stage.name.replace(task, f"{task}_{size}")
        own = {"name": name, "steps": round(share * stage.steps), "model": run.model, "data": run.data}
        return stage.model_copy(update={**own, **changes})

    return placed(first, **changes), placed(whole)


def in_the_open(backbone: StivConfig, size: int, num_frames: int, name: str) -> Run:
    """The same on parts that anybody can get: the autoencoder sd-vae-ft-ema, of 4 channels, the text tower of OpenCLIP
    bigG, of the paper's tower's sizes, and the user's own footage.

    vitascope train stiv:xl_256_open --data FOLDER
    """
    run = paper(backbone, size, num_frames, name)
    parts = {
        "tokenizer": HubVaeConfig(source="stabilityai/sd-vae-ft-ema"),
        "text": PretrainedTextConfig(
            family="clip", source="laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", dtype="bfloat16"
        ),
        "backbone": backbone.model_copy(update={"channels": 4}),
    }
    data = FootageConfig(path="", size=(size, size), num_frames=num_frames)
    return run.model_copy(update={"model": run.model.model_copy(update=parts), "data": data})


def from_pixart() -> Run:
    """T2V and TI2V of `xl_256_open` in the 16 heads of PixArt-alpha, whose blocks stand for the stage of T2I: both have
    28 blocks of width 1152 and the autoencoder sd-vae-ft-ema.

    vitascope train stiv:xl_256_pixart --data FOLDER --from PIXART
    """
    run = in_the_open(XL.model_copy(update={"heads": 16}), 256, 20, "stiv_xl_256_pixart")
    videos = tuple(stage for stage in run.stages if isinstance(stage, VideoStage) and not stage.images)
    return run.model_copy(update={"stages": videos})


PRESETS = {
    f"{letter}_{size}{frames}": (backbone, size, num_frames)
    for letter, backbone in (("xl", XL), ("xxl", XXL), ("m", M))
    for size in (256, 512)
    for num_frames, frames in ((20, ""), (40, "_40"))
}
PAPER: dict[str, Callable[[], Run]] = {key: partial(paper, *sizes, f"stiv_{key}") for key, sizes in PRESETS.items()}
OPEN: dict[str, Callable[[], Run]] = {
    f"{key}_open": partial(in_the_open, *sizes, f"stiv_{key}_open") for key, sizes in PRESETS.items()
}
RECIPES = {**PAPER, **OPEN, "xl_512_both": from_both, "xl_256_pixart": from_pixart}
