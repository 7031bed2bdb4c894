"""Runs that fit two CPU cores: from nothing to a model of Toyland."""

from __future__ import annotations

from vitascope.backbones.stiv import StivConfig
from vitascope.objectives.flow import FlowConfig
from vitascope.recipes.toyland import ToylandConfig
from vitascope.system import Defaults, Lesson, ModelConfig
from vitascope.tasks import TaskMix
from vitascope.text.tiny import TinyTextConfig
from vitascope.tokenizers.frame_vae import FrameVaeConfig
from vitascope.train.stages import Run, TokenizerStage, VideoStage

PROMPTS = (
    "a small red circle moves left on a black background",
    "a large blue star spins on a beige background",
    "a small yellow heart bounces on a navy background",
    "a large green square moves up while a small white ring moves right on a grey background",
)


def stiv() -> Run:
    """Toyland, 16 frames of 64x64: the bundled model.

    vitascope train laptop:stiv
    """
    width = 192
    return Run(
        name="stiv",
        model=ModelConfig(
            tokenizer=FrameVaeConfig(),
            text=TinyTextConfig(width=width),
            backbone=StivConfig(width=width, heads=3, depth=8, text_width=width),
            objective=FlowConfig(),
            defaults=Defaults(),
        ),
        data=ToylandConfig(),
        stages=(
            TokenizerStage(name="autoencoder", steps=6000, batch=16, share=25, learning_rate=1.5e-3),
            VideoStage(name="t2i", steps=6000, batch=128, share=20, images=True, decay_share=0.1),
            VideoStage(
                name="t2v", steps=8000, batch=32, share=35, fresh=("backbone.blocks.*.time.*",), decay_share=0.1
            ),
            VideoStage(
                name="ti2v",
                steps=8000,
                batch=32,
                share=35,
                lesson=Lesson(tasks=TaskMix(text=0.2, image=0.5, prediction=0.15, interpolation=0.1, upsampling=0.05)),
                decay_share=0.6,
            ),
        ),
        preview_prompts=PROMPTS,
        compile=True,
    )


RECIPES = {"stiv": stiv}
