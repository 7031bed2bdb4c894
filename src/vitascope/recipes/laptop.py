"""Runs that fit two CPU cores: from nothing to a model of Toyland."""

from __future__ import annotations

from vitascope.backbones.stiv import StivConfig
from vitascope.objectives.flow import FlowConfig
from vitascope.recipes.toyland import ToylandConfig
from vitascope.system import Defaults, Lesson, ModelConfig
from vitascope.tasks import TaskMix
from vitascope.text.tiny import TinyTextConfig
from vitascope.tokenizers.frame_vae import FrameVaeConfig
from vitascope.train.initialise import Origin
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


def ladder() -> Run:
    """STIV's progressive training (its figure 4): T2I-64, T2V-64, T2I-128, T2V-128 from both, TI2V-128, 32 frames.

    vitascope train laptop:ladder

    Image models have cubes of one frame and no temporal attention. The first video model inflates those cubes; the
    second takes its temporal attention from the first and all else from the larger images.
    """
    width, time = 128, "backbone.blocks.*.time.*"
    base = stiv()
    autoencoder, *_, ti2v = base.stages
    assert isinstance(ti2v, VideoStage)
    videos = StivConfig(width=width, heads=2, depth=8, text_width=width)
    images = videos.model_copy(update={"patch": (1, 2), "temporal": False})
    text = TinyTextConfig(width=width, heads=2)

    def at(name: str, backbone: StivConfig, size: int, num_frames: int = 16, **changes: object) -> VideoStage:
        """A stage that learns from text alone unless `changes` say otherwise."""
        defaults = base.model.defaults.model_copy(update={"size": (size, size), "num_frames": num_frames})
        parts = {"text": text, "backbone": backbone, "defaults": defaults}
        places = {
            "name": name,
            "images": backbone is images,
            "model": base.model.model_copy(update=parts),
            "data": ToylandConfig(size=size, num_frames=num_frames),
        }
        return ti2v.model_copy(update={"lesson": Lesson(), "decay_share": 0.3, **places, **changes})

    pictures = Origin(of=autoencoder.name, weights=("tokenizer.*",))
    both = Origin(of="t2i_128"), Origin(of="t2v_64", weights=(time,))
    small = at("t2v_64", videos, 64, steps=800, batch=32, share=20, fresh=(time,))
    assert small.model is not None
    return base.model_copy(
        update={
            "name": "ladder",
            "model": small.model,
            "stages": (
                autoencoder,
                at(
                    "t2i_64",
                    images,
                    64,
                    steps=1600,
                    batch=192,
                    pictures=4,
                    share=25,
                    begins=(pictures,),
                    fresh=("text.*", "backbone.*"),
                ),
                small,
                at("t2i_128", images, 128, steps=500, batch=96, pictures=4, share=15, begins=(Origin(of="t2i_64"),)),
                at("t2v_128", videos, 128, steps=250, batch=16, share=20, begins=both),
                at("ti2v_128", videos, 128, steps=250, batch=16, share=20, lesson=ti2v.lesson),
                at("ti2v_128_32", videos, 128, 32, steps=80, batch=8, share=12, lesson=ti2v.lesson),
            ),
        }
    )


RECIPES = {"stiv": stiv, "ladder": ladder}
