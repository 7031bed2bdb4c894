"""Runs that fit two CPU cores: from nothing to a model of Toyland."""

from __future__ import annotations

from vitascope.backbones.stiv import StivConfig
from vitascope.data.source import FootageConfig
from vitascope.objectives.flow import FlowConfig
from vitascope.objectives.reconstruction import ReconstructionConfig
from vitascope.recipes import extensions
from vitascope.recipes.toyland import KindMix, ToylandConfig
from vitascope.recipes.weights import TEXT, TIME
from vitascope.recipes.worlds import TwinsConfig
from vitascope.system import Defaults, Lesson, ModelConfig
from vitascope.tasks import TaskMix
from vitascope.text.tiny import TinyTextConfig
from vitascope.tokenizers.frame_vae import FrameVaeConfig
from vitascope.train.initialise import Origin
from vitascope.train.muon import MuonConfig
from vitascope.train.stages import CaptionStage, Run, TokenizerStage, VideoStage

PROMPTS = (
    "a small red circle moves left on a black background",
    "a large blue star spins on a beige background",
    "a small yellow heart bounces on a navy background",
    "a large green square moves up while a small white ring moves right on a grey background",
)


FEW_THINGS = KindMix(one=0.6, two=0.3, relation=0.05, count=0.05, change=0.0, interaction=0.0, camera=0.0, style=0.0)
MORE_PAIRS = FEW_THINGS.model_copy(update={"one": 0.46, "two": 0.44})

# What the bundled model failed at, weighed anew between its times of `mend`.
FAILED = (
    ("small", 1.5),
    ("star", 2.5),
    ("cross", 2.5),
    ("square", 1.25),
    ("spins", 4.0),
    ("shrinks", 2.0),
    ("circles around", 2.0),
    ("zigzags", 1.5),
    ("snow", 2.0),
)
# What its decoder had blurred.
BLURRED = (("small", 2.0), ("star", 4.0), ("cross", 1.5), ("triangle", 1.5))


def stiv() -> Run:
    """Toyland, 16 frames of 64x64: autoencoder, its decoder alone, the text by contrast, T2I, T2V, TI2V three times.

    vitascope train laptop:stiv --set compile=true

    Twelve to thirteen hours of two cores with AMX, by the pace of its stages. The bundled model learned by it in
    pieces: docs/bundled.md.
    """
    # The easier scenes oftener: what few steps can teach is shown in many of them.
    few = ToylandConfig(kinds=FEW_THINGS)
    model = ModelConfig(
        tokenizer=FrameVaeConfig(encoder_blocks=(2, 3), decoder_blocks=(4, 3)),
        text=TinyTextConfig(width=128, heads=4, depth=3, embedding_std=1.0),
        # Cubes of one frame: twice the tokens, far less error for the same time (docs/bundled.md); and the video model
        # begins by answering each frame as its image model does.
        backbone=StivConfig(width=256, heads=4, depth=6, text_width=128, positions="both", patch=(1, 2), grid=(16, 4)),
        # Frames are alike: their mean is as clear at a high level as a picture's at a lower one.
        objective=FlowConfig(mean=1.3, spread=1.4),
        defaults=Defaults(
            solver="dpmpp",
            steps=16,
            guidance=3.0,
            guidance_interval=(0.0, 0.9),
            image_first=True,
            first_frame_told=True,
            picture_guidance=4.5,
            picture_candidates=8,
        ),
    )
    at_once = model.defaults.model_copy(update=extensions.AT_ONCE)  # what a stage that sees no pictures can make
    # Mostly the first frame is given, and pictures are learned beside: a video of words alone is made as its first
    # frame and then what follows from it (`image_first`). So most of those pictures are first frames.
    ti2v = VideoStage(
        name="ti2v",
        steps=2900,
        batch=32,
        share=148,
        num_clips=32768,
        pictures=2,
        pictures_beside=64,
        first_frames=0.7,
        data=few,
        lesson=Lesson(tasks=TaskMix(text=0.1, image=0.75, prediction=0.05, interpolation=0.05, upsampling=0.05)),
        learning_rate=0.008,
        decay_share=0.6,
        optimizer=MuonConfig(weight_decay=0.1),
        frozen=(TEXT,),
    )
    # What is wrong by then is mostly the first picture.
    refine = ti2v.model_copy(
        update={
            "name": "refine",
            "steps": 6300,
            "share": 426,
            "pictures_beside": 160,
            "learning_rate": 0.004,
            "warmup_steps": 50,
            "decay_share": 0.85,
        }
    )
    mend = refine.model_copy(
        update={
            "name": "mend",
            "steps": 11300,
            "share": 600,
            "num_clips": 24576,
            "data": ToylandConfig(kinds=MORE_PAIRS, word_weights=FAILED),
        }
    )
    return Run(
        name="stiv",
        model=model,
        data=ToylandConfig(),
        stages=(  # a share is about a minute of one core with AMX
            TokenizerStage(
                name="autoencoder",
                steps=7400,
                batch=16,
                share=90,
                learning_rate=0.01,
                warmup_steps=50,
                decay_share=0.5,
                optimizer=MuonConfig(),
                reconstruction=ReconstructionConfig(equivariance=0.25, latent_noise=0.2),
            ),
            TokenizerStage(
                name="decoder",
                steps=25000,
                batch=32,
                share=95,
                data=ToylandConfig(word_weights=BLURRED),
                learning_rate=0.008,
                warmup_steps=50,
                decay_share=0.6,
                optimizer=MuonConfig(),
                frozen=("tokenizer.encoder.*",),
                reconstruction=ReconstructionConfig(latent_noise=0.25, kl=0.0),
            ),
            # Scenes of the same words and another meaning are told apart, too: without them it learns a bag of words.
            CaptionStage(
                name="captions",
                steps=600,
                batch=256,
                share=10,
                data=TwinsConfig(),
                learning_rate=0.01,
                warmup_steps=30,
                decay_share=0.5,
                ema_decay=0.995,
                optimizer=MuonConfig(weight_decay=0.5),
            ),
            VideoStage(
                name="t2i",
                steps=2000,
                batch=128,
                share=40,
                images=True,
                pictures=4,
                num_clips=16384,
                data=few,
                learning_rate=0.02,
                decay_share=0.4,
                optimizer=MuonConfig(),
                frozen=(TEXT,),
                model=model.model_copy(update={"objective": FlowConfig(mean=0.3)}),
            ),
            # High levels first, at which it is decided what is where and goes where; the stage after refines.
            VideoStage(
                name="t2v",
                steps=1300,
                batch=32,
                share=68,
                num_clips=32768,
                data=few,
                fresh=(TIME,),
                learning_rate=0.02,
                decay_share=0.35,
                optimizer=MuonConfig(),
                frozen=(TEXT,),
                model=model.model_copy(update={"objective": FlowConfig(mean=2.0, spread=1.2), "defaults": at_once}),
            ),
            ti2v,
            refine,
            mend,
        ),
        preview_prompts=PROMPTS,
    )


def ladder() -> Run:
    """STIV's progressive training (its figure 4): T2I-64, T2V-64, T2I-128, T2V-128 from both, TI2V-128, 32 frames.

    vitascope train laptop:ladder

    Image models have cubes of one frame and no temporal attention. The first video model inflates those cubes; the
    second takes its temporal attention from the first and all else from the larger images.
    """
    base = stiv()
    named = {stage.name: stage for stage in base.stages}
    autoencoder = named["autoencoder"].model_copy(update={"share": 30})
    captions = named["captions"].model_copy(update={"share": 4})
    ti2v = named["ti2v"]
    assert isinstance(ti2v, VideoStage) and isinstance(base.model.backbone, StivConfig)
    # Small, for six stages, and with the paper's cubes.
    small = {"width": 128, "depth": 8, "patch": (2, 2), "grid": (8, 4)}
    videos = base.model.backbone.model_copy(update=small)
    images = videos.model_copy(update={"patch": (1, 2), "temporal": False})
    # All frames are made at once here, so half of the lessons are of words alone.
    both_tasks = Lesson(tasks=TaskMix(text=0.55, image=0.35, prediction=0.04, interpolation=0.03, upsampling=0.03))

    def at(name: str, backbone: StivConfig, size: int, num_frames: int = 16, **changes: object) -> VideoStage:
        """A stage that learns from text alone unless `changes` say otherwise."""
        told = {"size": (size, size), "num_frames": num_frames, "picture_candidates": 1, **extensions.AT_ONCE}
        defaults = base.model.defaults.model_copy(update=told)
        objective = FlowConfig(mean=0.3) if backbone is images else base.model.objective
        parts = {"backbone": backbone, "defaults": defaults, "objective": objective}
        places = {
            "name": name,
            "images": backbone is images,
            "model": base.model.model_copy(update=parts),
            "data": ToylandConfig(size=size, num_frames=num_frames),
            "num_clips": 12288 if size == 64 else 4096,
        }
        paced = {"learning_rate": 0.02, "decay_share": 0.3, "optimizer": MuonConfig()}
        clips_alone = {"lesson": Lesson(), "pictures_beside": 0, "first_frames": 0.0}
        return ti2v.model_copy(update={**clips_alone, **paced, **places, **changes})

    learned = Origin(of=captions.name, weights=("tokenizer.*", TEXT))
    both = Origin(of="t2i_128"), Origin(of="t2v_64", weights=(TIME,))
    first = at("t2v_64", videos, 64, steps=800, batch=32, share=20, fresh=(TIME,))
    assert first.model is not None
    return base.model_copy(
        update={
            "name": "ladder",
            "model": first.model,
            "stages": (
                autoencoder,
                captions,
                at(
                    "t2i_64",
                    images,
                    64,
                    steps=1600,
                    batch=192,
                    pictures=4,
                    share=25,
                    begins=(learned,),
                    fresh=("backbone.*",),
                ),
                first,
                at("t2i_128", images, 128, steps=500, batch=96, pictures=4, share=15, begins=(Origin(of="t2i_64"),)),
                at("t2v_128", videos, 128, steps=250, batch=16, share=20, begins=both),
                at("ti2v_128", videos, 128, steps=250, batch=16, share=20, lesson=both_tasks),
                at("ti2v_128_32", videos, 128, 32, steps=80, batch=8, share=12, lesson=both_tasks, num_clips=1024),
            ),
        }
    )


def footage() -> Run:
    """One's own footage, 8 frames of 80x48 at 8 a second, in three stages: autoencoder, T2I, TI2V.

    vitascope train laptop:footage --data FOLDER --minutes 60

    On 21 pieces of 15 videos, 54 minutes of a busy core (20 of its own time) gave 27.2 dB through the autoencoder, and
    samples from text that show the caption's scene, blurred: docs/data.md. Without --minutes it takes 2.3
    times as many steps.
    """
    width = 128
    return Run(
        name="footage",
        model=ModelConfig(
            tokenizer=FrameVaeConfig(widths=(48, 96), encoder_blocks=(1, 2), decoder_blocks=(2, 2)),
            text=TinyTextConfig(width=width, heads=2, max_tokens=256),
            # Of a few dozen videos size and crop alone may tell which one is shown: they are not told, but words are.
            backbone=StivConfig(width=width, heads=2, depth=6, text_width=width, grid=(4, 5), micro_conditions=False),
            objective=FlowConfig(mean=0.3),
            defaults=Defaults(size=(80, 48), num_frames=8, solver="dpmpp", steps=24, guidance=2.0),
        ),
        data=FootageConfig(path="", size=(80, 48), num_frames=8),
        stages=(
            TokenizerStage(
                name="autoencoder",
                steps=2500,
                batch=16,
                share=24,
                learning_rate=0.01,
                warmup_steps=30,
                decay_share=0.5,
                optimizer=MuonConfig(),
                reconstruction=ReconstructionConfig(latent_noise=0.1),
            ),
            VideoStage(
                name="t2i",
                steps=1000,
                batch=96,
                share=21,
                images=True,
                pictures=4,
                num_clips=1024,
                learning_rate=0.02,
                warmup_steps=30,
                decay_share=0.3,
                optimizer=MuonConfig(),
            ),
            VideoStage(
                name="ti2v",
                steps=1500,
                batch=16,
                share=55,
                num_clips=1024,
                fresh=(TIME,),
                lesson=Lesson(tasks=TaskMix(text=0.5, image=0.5)),
                learning_rate=0.02,
                warmup_steps=30,
                decay_share=0.5,
                optimizer=MuonConfig(),
            ),
        ),
        preview_steps=200,
    )


RECIPES = {"stiv": stiv, "footage": footage, "ladder": ladder, **extensions.recipes(stiv)}
