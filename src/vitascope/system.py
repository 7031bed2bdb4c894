"""A video model: tokenizer, text encoder, backbone and objective, introduced to each other here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from vitascope.choices import GuidanceKind, KnownSlots, Precision
from vitascope.conditions import Conditions, TextFeatures
from vitascope.config import Amount, AmountOrZero, Config, Count, CountOrZero, Share
from vitascope.noise import Estimate
from vitascope.protocols import Denoiser, Objective, TextEncoder, Tokenizer, checked, layers
from vitascope.tasks import TaskMix
from vitascope.types import Batch, Loss, UserError

PictureScale = Annotated[float, Field(ge=0, le=100)]
Candidates = Annotated[int, Field(ge=1, le=64)]


class Rules(Config):
    """How estimates are guided and which levels they are asked at: with steps, scale and solver all of a sampling."""

    guidance_kind: GuidanceKind = "joint"
    image_guidance: AmountOrZero = 1.5  # scale for the frames; of "separate" guidance only
    renorm: bool = True
    guidance_interval: tuple[Share, Share] = (0.0, 1.0)  # levels between which guidance acts
    known_slots: KnownSlots = "renoised"  # what a pass that forgets the known frames sees there
    level_shift: Amount = 1.0  # above 1: more steps at high levels (SD3, equation 23)
    keyframe_stride: CountOrZero = 0  # long videos: keyframes so far apart, then what lies between; 0: rolled out
    image_first: bool = False  # of words alone: the first frame as a picture, then the video from it (Emu Video)
    first_frame_told: bool = False  # that it is a first frame, which lessons must have told apart (`first_frames`)
    picture_guidance: PictureScale | None = None  # scale for that, and for one frame alone; None: `guidance`
    picture_candidates: Candidates = 1  # so many such pictures are made, and the best by their words is kept
    precision: Precision = "fp32"  # of the backbone's matrix products

    @model_validator(mode="after")
    def _interval_is_one(self) -> Rules:
        low, high = self.guidance_interval
        if low > high:
            raise ValueError(f"guidance_interval must name the lower level first, got ({low:g}, {high:g})")
        return self

    @model_validator(mode="after")
    def _slots_evolve_only_under_guidance(self) -> Rules:
        if self.known_slots == "evolving" and self.guidance_interval != (0.0, 1.0):
            raise ValueError("known_slots 'evolving' needs guidance at all levels: guidance_interval (0, 1)")
        return self


class Defaults(Rules):
    """What a request gets when it does not say."""

    size: tuple[Count, Count] = (64, 64)  # width, height
    num_frames: Count = 16
    fps: Amount = 8.0
    footage_size: tuple[Count, Count] | None = None  # width, height that a model is told; None: the size asked for
    stride: Amount = 1.0  # frames of that footage between two frames at `fps`
    steps: Count = 25
    guidance: AmountOrZero = 3.0
    solver: str = "heun"


class Lesson(Config):
    """What a training step shows and hides."""

    tasks: TaskMix = TaskMix()
    text_dropout: Share = 0.1  # STIV, section 3.1: replaced by the empty string
    frame_dropout: Share = 0.08  # STIV: independent of the text
    blank_dropout: Share = 0.0  # known frames whose latents are zero: the negative of "blank" guidance
    mask_share: Share = 0.0  # MaskDiT: share of the spatial tokens hidden from the main blocks
    time_mask_share: Share = 0.0  # and of the cubes in time, which STIV found harmful (its figure 6a)


class ModelConfig(Config):
    """The parts, each by its own settings; enough to rebuild the model."""

    tokenizer: Config
    text: Config
    backbone: Config
    objective: Config
    defaults: Defaults = Defaults()

    def build(self) -> VideoModel:
        try:
            return VideoModel(self)
        except ValueError as error:
            raise UserError(f"no model can be built of these settings: {error}") from error


@runtime_checkable
class Buildable(Protocol):
    def build(self) -> Any: ...


def build(config: Config | Buildable) -> Any:
    """The part that these settings describe."""
    if not hasattr(config, "build"):
        raise UserError(f"{type(config).__name__} describes no part of a model")
    return config.build()


class VideoModel(nn.Module):
    """All that is needed to learn from clips and to make them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = layers(build(config.tokenizer), Tokenizer, "model.tokenizer")
        self.text = layers(build(config.text), TextEncoder, "model.text")
        self.backbone = layers(build(config.backbone), Denoiser, "model.backbone")
        self.objective = checked(build(config.objective), Objective, "model.objective")
        self._check_that_parts_fit()

    def _check_that_parts_fit(self) -> None:
        if self.tokenizer.stride[0] != 1:
            raise UserError(
                f"the tokenizer makes one latent frame of {self.tokenizer.stride[0]}, and every frame must have one of "
                "its own, or no single frame could be given; take a tokenizer whose first stride is 1, and put frames "
                "together by the backbone's patch"
            )
        if self.tokenizer.channels != self.backbone.channels:
            raise UserError(
                f"the tokenizer makes latents of {self.tokenizer.channels} channels and the backbone takes "
                f"{self.backbone.channels}; set backbone.channels to {self.tokenizer.channels}"
            )
        if self.text.width != self.backbone.text_width:
            raise UserError(
                f"the text encoder gives features of width {self.text.width} and the backbone takes "
                f"{self.backbone.text_width}; set backbone.text_width to {self.text.width}"
            )

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def loss(self, batch: Batch, lesson: Lesson, rng: torch.Generator) -> Loss:
        """One lesson: draw which frames are known and what is forgotten, then ask the objective."""
        clean = batch.clean.to(self.device)
        b, t, _, h, w = clean.shape
        silent = torch.rand(b, generator=rng) < lesson.text_dropout
        captions = ["" if empty else caption for caption, empty in zip(batch.captions, silent.tolist(), strict=True)]
        blind = torch.rand(b, generator=rng) < lesson.frame_dropout
        known = lesson.tasks.draw(b, t, rng) & ~blind[:, None]
        cond = self.conditions(captions, known, clean, batch.micro)
        if lesson.blank_dropout > 0:
            blank = (torch.rand(b, generator=rng) < lesson.blank_dropout).to(self.device)
            cond = replace(cond, frames=torch.where(blank[:, None, None, None, None], 0, cond.frames))
        if lesson.mask_share == lesson.time_mask_share == 0:
            return self.objective.loss(self.backbone, clean, cond, rng)
        if not self.backbone.hides_tokens:
            raise UserError(
                f"a {type(self.backbone).__name__} hides no tokens (`hides_tokens`); set lesson.mask_share and "
                "lesson.time_mask_share to 0, or take another backbone"
            )
        frames, side = self.backbone.patch
        visible = tube_mask(b, h, w, side, lesson.mask_share, rng).to(self.device)
        if lesson.time_mask_share and t > 1:
            shown = visible_frames(b, t, frames, lesson.time_mask_share, rng).to(self.device)
            visible = visible[:, None] & shown[:, :, None, None]
        return self.objective.loss(self.backbone, clean, cond, rng, visible)

    def conditions(
        self,
        captions: Sequence[str],
        known: Bool[Tensor, "b t"],
        frames: Float[Tensor, "b t c h w"],
        micro: Float[Tensor, "b m"],
    ) -> Conditions:
        """What is known of each clip; `frames` matters only where `known`."""
        known = known.to(self.device)
        kept = frames.to(self.device) * known[:, :, None, None, None]
        empty = repeated(self.text([""]), len(captions))
        return Conditions(known, kept, self.read(captions), empty, micro.to(self.device))

    def read(self, captions: Sequence[str]) -> TextFeatures:
        """Features of each caption; what several clips say is read once."""
        different = list(dict.fromkeys(captions))
        said = self.text(different)
        if len(different) == len(captions):
            return said
        rows = torch.tensor([different.index(caption) for caption in captions], device=self.device)
        return TextFeatures(said.tokens[rows], said.mask[rows], said.pooled[rows])

    def estimate(self, z: Float[Tensor, "b t c h w"], level: Float[Tensor, "b t"], cond: Conditions) -> Estimate:
        """All that samplers see."""
        return self.objective.estimate(self.backbone, z, level, cond)


def repeated(text: TextFeatures, times: int) -> TextFeatures:
    """What is said of one caption, for so many clips."""
    return TextFeatures(*(part.expand(times, *part.shape[1:]) for part in (text.tokens, text.mask, text.pooled)))


def visible_frames(b: int, t: int, frames: int, share: float, rng: torch.Generator) -> Bool[Tensor, "b t"]:
    """Visible frames: all but `share` of the cubes in time, the same number in each sample."""
    cubes = -(-t // frames)
    rank = torch.rand(b, cubes, generator=rng).argsort(1).argsort(1)
    return (rank < max(round((1 - share) * cubes), 1)).repeat_interleave(frames, 1)[:, :t]


def tube_mask(b: int, h: int, w: int, side: int, share: float, rng: torch.Generator) -> Bool[Tensor, "b h w"]:
    """Visible latent cells: all but `share` of the patches, the same number in each sample."""
    rows, columns = h // side, w // side
    num_visible = max(round((1 - share) * rows * columns), 1)
    rank = torch.rand(b, rows * columns, generator=rng).argsort(1).argsort(1)
    patches = (rank < num_visible).view(b, rows, columns)
    return patches.repeat_interleave(side, 1).repeat_interleave(side, 2)
