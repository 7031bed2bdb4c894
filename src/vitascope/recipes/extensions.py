"""What STIV's section 4 and appendix J make of the one model: each a further stage after those of `laptop:stiv`.

A task is a mask, so a stage differs in its clips, its mix of tasks and what the model is asked by default. Whole, a run
begins with nothing; `--stage NAME --from bundled` trains the last stage alone, beginning with the bundled model. What
that costs and has given: docs/extensions.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from vitascope.recipes.toyland import ToylandConfig
from vitascope.recipes.weights import TEXT
from vitascope.recipes.worlds import LabelledConfig, PacedConfig, SolidsConfig
from vitascope.system import Defaults, Lesson, ModelConfig
from vitascope.tasks import TaskMix
from vitascope.text import classes
from vitascope.text.tiny import TinyTextConfig
from vitascope.toyland.scene import COLOURS, LASTING, MOTIONS
from vitascope.toyland.solids import NUM_VIEWS
from vitascope.train.initialise import Origin
from vitascope.train.muon import MuonConfig
from vitascope.train.stages import Run, TokenizerStage, VideoStage

KEYFRAME_STRIDE = 15
"""Frames from one keyframe to the next: a window of 16 then begins and ends with one."""
BESIDE = {"pictures": 2, "pictures_beside": 64, "first_frames": 0.7}
"""Where videos are made of words alone, which begins with a picture (`image_first`), told to be a first frame; other
stages see no pictures, and the models that they make begin `AT_ONCE`."""
AT_ONCE = {"image_first": False, "first_frame_told": False}


def sft(base: Run) -> Run:
    """STIV's fine-tuning on a small selected set, unmasked: here scenes of one thing whose motion shows.

    vitascope train laptop:sft --stage sft --from bundled
    """
    last = base.stages[-1]
    assert isinstance(last, VideoStage)
    data = PacedConfig(motions=tuple(motion for motion in MOTIONS if motion != "stays still"))
    chosen = further("sft", steps=300, num_clips=1024, learning_rate=0.003, lesson=last.lesson, data=data, **BESIDE)
    return extended(base, chosen)


def v2v(base: Run) -> Run:
    """STIV-V2V: prediction from the first four frames.

    vitascope train laptop:v2v --stage v2v --from bundled
    """
    lesson = Lesson(tasks=TaskMix(text=0.0, prediction=1.0, given=4))
    model = asked(base.model, **AT_ONCE)
    return extended(base, further("v2v", steps=400, lesson=lesson, model=model), prompts=())


def tup(base: Run) -> Run:
    """STIV-TUP: every second frame is known, at 16 and at 32 frames a second, with the text and without.

    vitascope train laptop:tup --stage tup --from bundled
    """
    data = PacedConfig(paces=(16.0, 32.0), latest_seconds=1.5)
    lesson = Lesson(tasks=TaskMix(text=0.0, upsampling=1.0), text_dropout=0.5, frame_dropout=0.0)
    # What lies between two frames is all but told by them: guidance would cost a second pass for nothing.
    model = asked(base.model, fps=16.0, stride=0.5, guidance=1.0, **AT_ONCE)
    return extended(base, further("tup", steps=400, lesson=lesson, data=data, model=model), prompts=())


def long(base: Run) -> Run:
    """STIV's long videos: keyframes, and what lies between two of them, by one model that is told the stride.

    vitascope train laptop:long --stage long --from bundled
    """
    data = PacedConfig(paces=(8.0, 8.0 / KEYFRAME_STRIDE), motions=LASTING, latest_seconds=20.0)
    mix = TaskMix(text=0.3, image=0.15, prediction=0.2, interpolation=0.35, given=4)
    model = asked(base.model, keyframe_stride=KEYFRAME_STRIDE)
    return extended(base, further("long", steps=600, lesson=Lesson(tasks=mix), data=data, model=model, **BESIDE))


def stride2(base: Run) -> Run:
    """STIV's way to more frames: as many as before at twice the stride, and then twice as many of the same seconds.

    vitascope train laptop:stride2 --stage stride2 --from bundled --out DIR
    vitascope train laptop:stride2 --stage frames32 --from DIR/model
    """
    last = base.stages[-1]
    assert isinstance(last, VideoStage) and isinstance(last.data, ToylandConfig)
    few = last.data.model_copy(update={"word_weights": ()})
    slow, many = few.model_copy(update={"fps": 4.0}), few.model_copy(update={"num_frames": 32})
    slower, more = asked(base.model, fps=4.0, stride=2.0), asked(base.model, num_frames=many.num_frames)
    wide = further("stride2", steps=400, lesson=last.lesson, data=slow, model=slower, **BESIDE)
    longer = further("frames32", steps=300, batch=16, lesson=last.lesson, data=many, model=more, **BESIDE)
    return extended(extended(base, wide), longer).model_copy(update={"name": "stride2"})


def views(base: Run) -> Run:
    """STIV's novel views: six looks at a solid of which the first one is known; no text, zero latents as the negative.

    vitascope train laptop:views --stage views --from bundled
    """
    lesson = Lesson(tasks=TaskMix(text=0.0, image=1.0), text_dropout=0.0, frame_dropout=0.0, blank_dropout=0.1)
    model = asked(base.model, num_frames=NUM_VIEWS, fps=2.0, guidance=3.5, guidance_kind="blank", **AT_ONCE)
    stage = further("views", steps=1500, lesson=lesson, data=SolidsConfig(), model=model, part_cubes=True)
    return extended(base, stage, prompts=())


def by_class(base: Run) -> Run:
    """STIV's class to video: a class token instead of the text, from scratch but for the autoencoder.

    vitascope train laptop:classes --stage classes --from bundled
    """
    names, autoencoder = tuple(COLOURS), next(stage for stage in base.stages if isinstance(stage, TokenizerStage))
    assert isinstance(base.model.text, TinyTextConfig)
    text = classes.ClassesConfig(names=names, width=base.model.text.width)
    model = asked(base.model, **AT_ONCE).model_copy(update={"text": text})
    stage = further(
        "classes",
        steps=1500,
        begins=(Origin(of=autoencoder.name, weights=("tokenizer.*",)),),
        fresh=(TEXT, "backbone.*"),
        frozen=(),
    )
    stages = (autoencoder.model_copy(update={"data": base.data}), stage)
    own = {"model": model, "data": LabelledConfig(attribute="colour"), "stages": stages}
    return base.model_copy(update={"name": stage.name, "preview_prompts": names[:4], **own})


def further(name: str, **changes: Any) -> VideoStage:
    """A stage that goes on with a trained model, whose text encoder stays as it is."""
    usual: dict[str, Any] = {"batch": 32, "share": 30, "num_clips": 4096, "learning_rate": 0.01, "decay_share": 0.5}
    optimizer = MuonConfig(weight_decay=0.1)
    return VideoStage(name=name, optimizer=optimizer, **{"frozen": (TEXT,), **usual, **changes})


def extended(base: Run, stage: VideoStage, prompts: tuple[str, ...] | None = None) -> Run:
    """The stages of `base` and one more. `prompts` for previews: none, where text alone is not what is learned."""
    shown = base.preview_prompts if prompts is None else prompts
    return base.model_copy(update={"name": stage.name, "stages": (*base.stages, stage), "preview_prompts": shown})


def asked(model: ModelConfig, **changes: Any) -> ModelConfig:
    """The model with other defaults."""
    defaults = Defaults.model_validate({**model.defaults.model_dump(), **changes})
    return model.model_copy(update={"defaults": defaults})


def recipes(base: Callable[[], Run]) -> dict[str, Callable[[], Run]]:
    """By name; each begins with the stages of `base`."""
    table = {"sft": sft, "v2v": v2v, "tup": tup, "stride2": stride2, "long": long, "views": views, "classes": by_class}
    return {name: partial(_made, base, extend) for name, extend in table.items()}


def _made(base: Callable[[], Run], extend: Callable[[Run], Run]) -> Run:
    return extend(base())
