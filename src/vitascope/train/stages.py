"""What a run consists of: settings of the run and its stages, and the course of lessons that each stage gives."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

import pydantic
from torch import Tensor, nn

from vitascope.conditions import framing_of, micro_conditions
from vitascope.config import Amount, AmountOrZero, Config, Count, CountOrZero, Share
from vitascope.data.cache import ClipSource, open_cache
from vitascope.data.pictures import pictures_of
from vitascope.objectives.contrast import ContrastConfig
from vitascope.objectives.reconstruction import ReconstructionConfig
from vitascope.protocols import Autoencoder, checked
from vitascope.system import Defaults, Lesson, ModelConfig, VideoModel, build
from vitascope.train.initialise import Origin, freeze, inherit, seeded, weights_of
from vitascope.train.optim import AdamWConfig, OptimizerConfig
from vitascope.train.recompute import recomputing
from vitascope.types import Batch, Clip, Loss, UserError, generator_for

Track = Callable[[Sequence[int], str], Iterator[int]]

BATCHES_MEASURED = 32
"""Batches of 64 new pictures by which the latents of a trained autoencoder are made of unit scale."""


class Stage(Config):
    """What all stages have: how long, how fast, how averaged."""

    name: Annotated[str, pydantic.Field(pattern=r"^[\w-]+$")]
    steps: Count
    batch: Count
    share: Amount = 1.0  # of the time budget of the run, relative to the other stages
    learning_rate: Amount = 1e-3
    warmup_steps: CountOrZero = 100
    decay_share: Share = 0.3
    clip_norm: Amount = 1.0
    ema_decay: Share = 0.9999
    optimizer: OptimizerConfig = AdamWConfig()
    model: ModelConfig | None = None  # the run's if absent, as are the data
    data: Config | None = None
    begins: tuple[Origin, ...] = ()  # of several for one weight the last counts; none: the stage before
    fresh: tuple[str, ...] = ()  # weights matching these patterns begin anew
    frozen: tuple[str, ...] = ()  # weights matching these patterns stay as they begin

    def begin(self, run: Run, model: VideoModel, cache_root: Path, track: Track) -> Course:
        """The lessons of this stage for `model`."""
        raise NotImplementedError

    def rehearse(self, run: Run, model: VideoModel) -> nn.Module:
        """Give a lesson as small as can be, so that what does not fit is met before the first stage and not hours
        later. Returns what the stage would teach; nothing else of it remains."""
        raise NotImplementedError


class TokenizerStage(Stage):
    """Train the autoencoder (a `protocols.Autoencoder`) on single pictures."""

    reconstruction: ReconstructionConfig = ReconstructionConfig()

    def begin(self, run: Run, model: VideoModel, cache_root: Path, track: Track) -> TokenizerCourse:
        return TokenizerCourse(self, run, model)

    def rehearse(self, run: Run, model: VideoModel) -> nn.Module:
        course = TokenizerCourse(self.model_copy(update={"batch": 1}), run, model)
        for step in range(2):  # a whole picture, then details
            course.loss(step)
        return course.module


class CaptionStage(Stage):
    """Train the text encoder alone, on captions without their clips: two of one clip are to be told from all others.

    STIV's text encoder has been trained by contrast with pictures (CLIP); a new one that learns from the velocity alone
    is slow to tell words that change few pixels, such as those for shapes.
    """

    contrast: ContrastConfig = ContrastConfig()

    def begin(self, run: Run, model: VideoModel, cache_root: Path, track: Track) -> CaptionCourse:
        return CaptionCourse(self, run, model)

    def rehearse(self, run: Run, model: VideoModel) -> nn.Module:
        course = CaptionCourse(self.model_copy(update={"batch": 1}), run, model)
        course.loss(0)
        return course.module


@dataclass(frozen=True)
class Shown:
    """A batch of clips, or of single frames of clips."""

    count: int
    pictures: int  # frames of each clip, under one caption; 0: whole clips
    first_frames: float = 0.0  # share of the pictures

    def num_frames(self, whole: int) -> int:
        return 1 if self.pictures else whole

    def clip_of(self, place: int) -> int:
        """Of which clip in the batch the lesson at `place` is."""
        return place // max(self.pictures, 1)


class BackboneStage(Stage):
    """Train text encoder and backbone on clips or pictures: what does not depend on how their latents are come by."""

    lesson: Lesson = Lesson()
    part_cubes: bool = False  # clips whose last cube is not full may be learned from: its last frame is repeated

    @property
    def pictures_alone(self) -> bool:
        """Whether it shows single pictures and no clips."""
        raise NotImplementedError

    def lengths(self, clip: Clip) -> tuple[int, ...]:
        """How many frames the clips have that it shows, single pictures left out; `clip` is one of its data."""
        raise NotImplementedError


class VideoStage(BackboneStage):
    """Train text encoder and backbone on cached latents."""

    images: bool = False  # random frames of the clips instead of clips
    pictures: Count = 1  # of images: so many of each clip under one caption, which is then read once
    pictures_beside: CountOrZero = 0  # with each batch of clips: so many single frames, lest images be forgotten (VDM)
    first_frames: Share = 0.0  # of those the share that begin their clips, and are told so (`Rules.first_frame_told`)
    num_clips: Count = 16384

    @pydantic.model_validator(mode="after")
    def pictures_are_beside_clips(self) -> VideoStage:
        if self.images and self.pictures_beside:
            raise ValueError("a stage of images shows pictures alone: set its pictures_beside and first_frames to 0")
        if self.first_frames and not self.pictures_beside:
            raise ValueError(
                "first_frames is a share of the pictures beside clips: set pictures_beside, or first_frames to 0"
            )
        return self

    @property
    def pictures_alone(self) -> bool:
        return self.images

    def lengths(self, clip: Clip) -> tuple[int, ...]:
        return () if self.images else (clip.num_frames,)

    def begin(self, run: Run, model: VideoModel, cache_root: Path, track: Track) -> VideoCourse:
        cache = open_cache(cache_root, source_of(run), model.tokenizer, self.num_clips, track)
        return VideoCourse(self, run, model, lambda step: [
            cache.batch(step, shown.count, run.seed, pictures=shown.pictures, first_frames=shown.first_frames)
            for shown in self.shown
        ])  # fmt: skip

    @property
    def shown(self) -> tuple[Shown, ...]:
        """What a step shows: clips or pictures, and pictures beside clips."""
        first = Shown(self.batch, self.pictures if self.images else 0)
        beside = Shown(self.pictures_beside, self.pictures, self.first_frames)
        return (first, beside) if beside.count else (first,)

    def rehearse(self, run: Run, model: VideoModel) -> nn.Module:
        source = source_of(run)
        clip = source.clip(0)
        refuse_other_clips(clip, run.model.defaults, self.images)
        latents = model.tokenizer.encode(clip.pixels[None].to(model.device))
        lessons = [latents[:, : shown.num_frames(latents.shape[1])] for shown in self.shown]
        batches = [
            Batch(clean, (source.captions(0)[0],), micro_conditions([framing_of(clip)], clean.shape[1]))
            for clean in lessons
        ]
        course = VideoCourse(self, run, model, lambda step: batches)
        course.loss(0)
        return course.module


class Run(Config):
    """A whole training: enough to repeat it."""

    name: Annotated[str, pydantic.Field(pattern=r"^\w[\w .-]*$")]  # of a folder, unless another one is given
    model: ModelConfig
    data: Config
    stages: Annotated[tuple[Stage, ...], pydantic.Field(min_length=1)]
    seed: int = 0
    minutes: Amount | None = None  # for all stages together; the learning rate then decays in time
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False  # torch.compile on each block: pays for runs of more than a few minutes
    recompute: bool = False  # less memory for more time: blocks make activations again in the backward pass
    checkpoint_seconds: AmountOrZero = 120.0
    preview_steps: Count = 500
    preview_prompts: tuple[str, ...] = ()

    @pydantic.field_validator("stages")
    @classmethod
    def names_differ(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        names = [stage.name for stage in stages]
        if len(set(names)) < len(names):
            raise ValueError(f"each stage needs a name of its own, got {', '.join(names)}")
        return stages

    @pydantic.model_validator(mode="after")
    def stages_begin_with_earlier_ones(self) -> Run:
        for number, stage in enumerate(self.stages):
            earlier = [one.name for one in self.stages[:number]]
            for origin in stage.begins:
                if not is_folder(origin.of) and origin.of not in earlier:
                    raise ValueError(
                        f"stage {stage.name} begins with '{origin.of}', which is no stage before it "
                        f"({', '.join(earlier) or 'there is none'}) and no folder (a folder has a / in its name)"
                    )
        return self

    def at(self, stage: Stage) -> Run:
        """The run as this stage sees it."""
        return self.model_copy(update={"model": stage.model or self.model, "data": stage.data or self.data})

    def origins(self, stage: Stage) -> tuple[Origin, ...]:
        """Where the weights of a stage come from; nowhere: they begin by chance."""
        number = self.stages.index(stage)
        return stage.begins or ((Origin(of=self.stages[number - 1].name),) if number else ())


@runtime_checkable
class Course(Protocol):
    """The lessons of a stage. The lesson of a step is a function of the step alone, so that a run can be resumed."""

    module: nn.Module  # what learns
    blocks: Sequence[nn.Module]  # the parts of it that are worth compiling
    unit: str  # what a batch is made of

    def loss(self, step: int) -> Loss: ...

    def finish(self, track: Track) -> None:
        """What remains to be done with the averaged weights in place."""
        ...


Watch = Callable[[VideoModel, Stage, Path, str], dict[str, float]]
"""`watch(model with averaged weights, stage, folder for previews, name)` returns scalars to write down."""


class TokenizerCourse:
    """Lessons for the autoencoder; at the end its latents are measured."""

    def __init__(self, stage: TokenizerStage, run: Run, model: VideoModel) -> None:
        self.stage, self.run = stage, run
        self.source = pictures_of(source_of(run))
        self.tokenizer = checked(model.tokenizer, Autoencoder, "model.tokenizer")
        with seeded(run.seed, stage.name):
            self.reconstruction = stage.reconstruction.build().to(model.device)
        freeze(model, stage.frozen)
        self.module: nn.Module = nn.ModuleDict({"tokenizer": self.tokenizer, "reconstruction": self.reconstruction})
        self.blocks: Sequence[nn.Module] = ()
        self.unit = "pictures"

    def loss(self, step: int) -> Loss:
        # Whole pictures and, as many pixels of them, details in turn.
        draw, count = (self.source.details, 4) if step % 2 else (self.source.pictures, 1)
        pictures = draw(step, count * self.stage.batch).to(next(self.tokenizer.parameters()).device)
        rng = generator_for(self.run.seed, "lesson", self.stage.name, step)
        return self.reconstruction.loss(self.tokenizer, pictures, rng)

    def finish(self, track: Track) -> None:
        device = next(self.tokenizer.parameters()).device
        steps = track(range(self.stage.steps, self.stage.steps + BATCHES_MEASURED), "measuring latents")
        self.tokenizer.standardise(self.source.pictures(step, 64).to(device) for step in steps)


class CaptionCourse:
    """Lessons for the text encoder from pairs of captions."""

    def __init__(self, stage: CaptionStage, run: Run, model: VideoModel) -> None:
        self.stage, self.run, self.text = stage, run, model.text
        self.source = source_of(run)
        self.contrast = stage.contrast.build()
        freeze(model, stage.frozen)
        self.module: nn.Module = nn.ModuleDict({"text": model.text})
        self.blocks: Sequence[nn.Module] = ()
        self.unit = "pairs"

    def loss(self, step: int) -> Loss:
        rng = random.Random(f"captions {self.run.seed} {self.stage.name} {step}")
        indices = range(step * self.stage.batch, (step + 1) * self.stage.batch)
        pairs = [self.pair(index, rng) for index in indices]
        ones, others = self.text([caption for pair in zip(*pairs, strict=True) for caption in pair]).pooled.chunk(2)
        return self.contrast.loss(ones, others)

    def pair(self, index: int, rng: random.Random) -> list[str]:
        captions = self.source.captions(index)
        if len(captions) < 2:
            raise UserError(
                f"stage {self.stage.name} compares captions of one clip, and clip {index} has {len(captions)}; "
                "give each clip two or more, or leave this stage out"
            )
        return rng.sample(captions, 2)

    def finish(self, track: Track) -> None:
        """Nothing: the averaged weights are the result."""


class VideoCourse:
    """Lessons for text encoder and backbone from the batches of steps: one, or clips and pictures beside them."""

    def __init__(
        self, stage: BackboneStage, run: Run, model: VideoModel, batches: Callable[[int], Iterable[Batch]]
    ) -> None:
        self.stage, self.run, self.model, self.batches = stage, run, model, batches
        freeze(model, stage.frozen)
        self.module: nn.Module = nn.ModuleDict({"text": model.text, "backbone": model.backbone})
        self.blocks: Sequence[nn.Module] = tuple(model.backbone.blocks)
        if run.recompute:
            recomputing(self.blocks)
        self.unit = "pictures" if stage.pictures_alone else "clips"

    def loss(self, step: int) -> Loss:
        rng = generator_for(self.run.seed, "lesson", self.stage.name, step)
        losses = [self.model.loss(batch, self.stage.lesson, rng) for batch in self.batches(step)]
        if len(losses) == 1:
            return losses[0]
        clips, pictures = losses
        return Loss(clips.total + pictures.total, {**clips.parts, "pictures": pictures.total.item()})

    def finish(self, track: Track) -> None:
        """Nothing: the averaged weights are the result."""


def source_of(run: Run) -> ClipSource:
    """The clips of a run, as a stage sees it."""
    source: ClipSource = checked(build(run.data), ClipSource, "data")
    return source


def refuse_other_clips(clip: Clip, defaults: Defaults, images: bool) -> None:
    """A model that learns from other sizes or lengths than it is asked for by default would be previewed, rolled out
    and placed by the wrong ones."""
    shown, told = (clip.size, clip.num_frames), (tuple(defaults.size), defaults.num_frames)
    if shown[0] != told[0] or (not images and shown[1] != told[1]):
        (width, height), num_frames = shown
        raise UserError(
            f"the data show {width}x{height} pixels and {num_frames} frames, and model.defaults tell {told[0][0]}x"
            f"{told[0][1]} and {told[1]}; set model.defaults.size to [{width}, {height}] and model.defaults.num_frames "
            f"to {num_frames}, or change the data"
        )


def is_folder(origin: str) -> bool:
    """Whether an origin is a folder; names of stages have no slash of any system."""
    return "/" in origin or os.sep in origin


def inherit_origins(model: VideoModel, run: Run, stage: Stage, state_of: Callable[[str], Mapping[str, Tensor]]) -> None:
    """Give `model` the weights that a stage begins with: of an earlier stage those that `state_of` has by its name."""
    if origins := run.origins(stage):
        states = [weights_of(Path(one.of)) if is_folder(one.of) else state_of(one.of) for one in origins]
        inherit(model, list(zip(origins, states, strict=True)), stage.fresh)
