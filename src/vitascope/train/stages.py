"""What a run consists of: settings of the run and its stages, and the course of lessons that each stage gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitascope.config import Config
from vitascope.data.cache import ClipSource, open_cache
from vitascope.objectives.reconstruction import ReconstructionConfig
from vitascope.system import Lesson, ModelConfig, VideoModel, build
from vitascope.train.optim import AdamWConfig
from vitascope.types import Loss, UserError, generator_for

Track = Callable[[Sequence[int], str], Iterator[int]]


class PictureSource(ClipSource, Protocol):
    """Clips, and single pictures for training an autoencoder."""

    def pictures(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]: ...


class Stage(Config):
    """What all stages have: how long, how fast, how averaged."""

    name: str
    steps: int
    batch: int
    share: float = 1.0  # of the time budget of the run, relative to the other stages
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    decay_share: float = 0.3
    clip_norm: float = 1.0
    ema_decay: float = 0.9999
    optimizer: Config = AdamWConfig()


class TokenizerStage(Stage):
    """Train the autoencoder on single pictures."""

    reconstruction: ReconstructionConfig = ReconstructionConfig()

    def begin(self, run: Run, model: VideoModel, cache_root: Path, track: Track) -> TokenizerCourse:
        return TokenizerCourse(self, run, model)


class VideoStage(Stage):
    """Train text encoder and backbone on cached latents."""

    lesson: Lesson = Lesson()
    images: bool = False  # one random frame of each clip
    num_clips: int = 16384
    fresh: tuple[str, ...] = ()  # weights matching these patterns begin anew instead of coming from the stage before

    def begin(self, run: Run, model: VideoModel, cache_root: Path, track: Track) -> VideoCourse:
        return VideoCourse(self, run, model, cache_root, track)


class Run(Config):
    """A whole training: enough to repeat it."""

    name: str
    model: ModelConfig
    data: Config
    stages: tuple[Stage, ...]
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False  # torch.compile on each block: pays for runs of more than a few minutes
    checkpoint_seconds: float = 120.0
    preview_steps: int = 500
    preview_prompts: tuple[str, ...] = ()


class TokenizerCourse:
    """Lessons for the autoencoder; at the end its latents are measured."""

    def __init__(self, stage: TokenizerStage, run: Run, model: VideoModel) -> None:
        self.stage, self.run = stage, run
        self.source: PictureSource = build(run.data)
        self.tokenizer = model.tokenizer
        self.reconstruction = stage.reconstruction.build().to(model.device)
        self.module = nn.ModuleDict({"tokenizer": self.tokenizer, "reconstruction": self.reconstruction})
        self.unit = "pictures"

    def loss(self, step: int) -> Loss:
        pictures = self.source.pictures(step, self.stage.batch).to(next(self.tokenizer.parameters()).device)
        rng = generator_for(self.run.seed, "lesson", self.stage.name, step)
        return self.reconstruction.loss(self.tokenizer, pictures, rng)

    def finish(self) -> None:
        device = next(self.tokenizer.parameters()).device
        self.tokenizer.standardise(self.source.pictures(self.stage.steps + k, 64).to(device) for k in range(32))


class VideoCourse:
    """Lessons for text encoder and backbone."""

    def __init__(self, stage: VideoStage, run: Run, model: VideoModel, cache_root: Path, track: Track) -> None:
        self.stage, self.run, self.model = stage, run, model
        self.cache = open_cache(cache_root, build(run.data), model.tokenizer, stage.num_clips, track)
        self.module = nn.ModuleDict({"text": model.text, "backbone": model.backbone})
        renew(model, stage.fresh, run.seed)
        self.unit = "clips"

    def loss(self, step: int) -> Loss:
        batch = self.cache.batch(step, self.stage.batch, self.run.seed, images=self.stage.images)
        return self.model.loss(batch, self.stage.lesson, generator_for(self.run.seed, "lesson", self.stage.name, step))

    def finish(self) -> None:
        """Nothing: the averaged weights are the result."""


def renew(model: VideoModel, patterns: tuple[str, ...], seed: int) -> None:
    """Give the weights whose names match a pattern their initial values again (T2V from T2I: all but temporal attention)."""
    if not patterns:
        return
    with torch.random.fork_rng():
        torch.manual_seed(generator_for(seed, "initialise").initial_seed() % 2**63)
        initial = model.config.build().state_dict()
    matched: dict[str, Any] = {
        name: value for name, value in initial.items() if any(fnmatch(name, p) for p in patterns)
    }
    if not matched:
        raise UserError(
            f"the patterns {patterns} match no weight of the model; names look like '{next(iter(initial))}'"
        )
    model.load_state_dict(matched, strict=False)


def initialised(config: ModelConfig, seed: int) -> VideoModel:
    """A new model whose weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(generator_for(seed, "initialise").initial_seed() % 2**63)
        return config.build()
