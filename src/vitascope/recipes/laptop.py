"""Runs that fit two CPU cores: from nothing to a model of Toyland."""

from __future__ import annotations

from vitascope.backbones.stiv import StivConfig
from vitascope.objectives.flow import FlowConfig
from vitascope.recipes.toyland import ToylandConfig
from vitascope.system import Defaults, Lesson, ModelConfig
from vitascope.tasks import TaskMix
from vitascope.text.tiny import TinyTextConfig
from vitascope.tokenizers.frame_vae import FrameVaeConfig
from vitascope.train.muon import MuonConfig
from vitascope.train.stages import Run, TokenizerStage, VideoStage

PROMPTS = (
    "a small red circle moves left on a black background",
    "a large blue star spins on a beige background",
    "a small yellow heart bounces on a navy background",
    "a large green square moves up while a small white ring moves right on a grey background",
)


def stiv() -> Run:
    """Toyland, 16 frames of 64x64, in four stages: autoencoder, T2I, T2V, TI2V.

    vitascope train laptop:stiv

    About two hours on two cores, which is too little: the loss of the last stages was still falling. Backgrounds and
    colours are learned, shapes and motions hardly (README.md has the numbers).
    """
    width = 192
    return Run(
        name="stiv",
        model=ModelConfig(
            tokenizer=FrameVaeConfig(),
            text=TinyTextConfig(width=width),
            backbone=StivConfig(width=width, heads=3, depth=8, text_width=width),
            objective=FlowConfig(),
            defaults=Defaults(solver="dpmpp", steps=16, guidance=4.0),
        ),
        data=ToylandConfig(),
        stages=(
            TokenizerStage(
                name="autoencoder",
                steps=4600,
                batch=16,
                share=21,
                learning_rate=0.01,
                warmup_steps=50,
                decay_share=0.5,
                optimizer=MuonConfig(),
            ),
            VideoStage(
                name="t2i",
                steps=1600,
                batch=96,
                share=29,
                images=True,
                num_clips=8192,
                learning_rate=0.02,
                decay_share=0.1,
                optimizer=MuonConfig(),
            ),
            VideoStage(
                name="t2v",
                steps=550,
                batch=32,
                share=28,
                num_clips=8192,
                fresh=("backbone.blocks.*.time.*",),
                learning_rate=0.02,
                decay_share=0.1,
                optimizer=MuonConfig(),
            ),
            VideoStage(
                name="ti2v",
                steps=1000,
                batch=32,
                share=40,
                num_clips=8192,
                lesson=Lesson(tasks=TaskMix(text=0.5, image=0.25, prediction=0.1, interpolation=0.1, upsampling=0.05)),
                learning_rate=0.015,
                decay_share=0.8,
                optimizer=MuonConfig(),
            ),
        ),
        preview_prompts=PROMPTS,
    )


RECIPES = {"stiv": stiv}
