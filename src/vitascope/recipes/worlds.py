"""Other looks at Toyland: solids from all sides, clips of several paces or by class, scenes that share their words."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Literal

import pydantic

from vitascope import toyland
from vitascope.config import Amount, AmountOrZero, Config, Count, nearest
from vitascope.recipes.toyland import FIRST_PICTURE, USUAL_FPS, KindMix, ToylandConfig
from vitascope.toyland.scene import MOTIONS
from vitascope.toyland.solids import NUM_VIEWS, render_views, sample_solid
from vitascope.types import Clip, Framing, UserError


class SolidsConfig(Config):
    """Solids on a turntable: the first view and six novel ones, in STIV's order, without a word."""

    size: Count = 64
    num_frames: Count = NUM_VIEWS  # of no other number: a clip is the round

    def build(self) -> SolidsSource:
        return SolidsSource(self)


class SolidsSource:
    """A solid for each number."""

    def __init__(self, config: SolidsConfig) -> None:
        if config.num_frames != NUM_VIEWS:
            raise UserError(f"a round has {NUM_VIEWS} views, got num_frames {config.num_frames}")
        self.config = config

    @cached_property
    def identity(self) -> str:
        return identity_of(self.config, [self.clip(index) for index in range(4)])

    def clip(self, index: int) -> Clip:
        return Clip(render_views(sample_solid(random.Random(f"solid to learn from {index}")), self.config.size))

    def captions(self, index: int) -> tuple[str, ...]:
        return ("",)


class PacedConfig(Config):
    """Scenes, of one thing where `motions` are named, each clip at one of several paces and from some moment on. The
    model is told the pace."""

    size: Count = 64
    num_frames: Count = 16
    paces: Annotated[tuple[Amount, ...], pydantic.Field(min_length=1)] = (USUAL_FPS,)  # frames a second
    motions: tuple[str, ...] = ()  # none: all
    latest_seconds: AmountOrZero = 0.0  # clips begin at a moment up to this one
    num_captions: Count = 4
    usual_fps: Amount = USUAL_FPS  # of the footage, which the stride counts from

    @pydantic.field_validator("motions")
    @classmethod
    def motions_are_toylands(cls, motions: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [motion for motion in motions if motion not in MOTIONS]:
            raise ValueError(f"there is no motion '{unknown[0]}'; {nearest(unknown[0], list(MOTIONS))}")
        return motions

    def build(self) -> PacedSource:
        return PacedSource(self)


class PacedSource:
    """Scenes as `ToylandSource` draws them, at other paces and moments."""

    def __init__(self, config: PacedConfig) -> None:
        self.config = config
        usual = ToylandConfig(size=config.size, num_frames=config.num_frames, num_captions=config.num_captions)
        self.usual = usual.build()

    @cached_property
    def identity(self) -> str:
        return identity_of(self.config, [self.clip(index) for index in range(8)])

    def scene(self, index: int) -> toyland.Scene:
        motions = self.config.motions
        if not motions:
            return self.usual.scene(index)
        rng = random.Random(toyland.train_seed(index))
        while True:
            scene = toyland.sample(rng, "one", "seen")
            if scene.things[0].motion in motions:
                return scene

    def clip(self, index: int) -> Clip:
        c, rng = self.config, random.Random(f"pace {index}")
        pace, start = rng.choice(c.paces), rng.uniform(0, c.latest_seconds)
        clip = toyland.render(self.scene(index), c.num_frames, c.size, c.size, pace, start)
        return replace(clip, framing=Framing(clip.size, stride=c.usual_fps / pace))

    def captions(self, index: int) -> tuple[str, ...]:
        return self.usual.captions_of(self.scene(index), index)


class TwinsConfig(Config):
    """Scenes in pairs, the second of which has the words of the first and another meaning (`toyland.exchanged`).

    A bag of words cannot tell the two apart: a text encoder that must learns which colour goes with which shape. Where
    things have nothing to exchange the second scene is any other one. Batches want an even number, for a pair to meet.
    """

    size: Count = 64
    num_frames: Count = 16
    num_captions: Count = 4
    kinds: KindMix = KindMix(one=0.25, two=0.5, relation=0.1, interaction=0.05)

    def build(self) -> TwinsSource:
        return TwinsSource(self)


class TwinsSource:
    def __init__(self, config: TwinsConfig) -> None:
        self.config, self.usual = config, ToylandConfig(**config.model_dump()).build()

    @cached_property
    def identity(self) -> str:
        return identity_of(self.config, [self.clip(index) for index in range(8)])

    def scene(self, index: int) -> toyland.Scene:
        if index % 2:
            twin = toyland.exchanged(self.usual.scene(index - 1), random.Random(f"twin {index}"))
            return twin or self.usual.scene(index)
        return self.usual.scene(index)

    def clip(self, index: int) -> Clip:
        c = self.config
        return toyland.render(self.scene(index), c.num_frames, c.size, c.size)

    def captions(self, index: int) -> tuple[str, ...]:
        return self.usual.captions_of(self.scene(index), index)


class LabelledConfig(Config):
    """Scenes of one thing, of which one attribute is told as a class and nothing else is said."""

    size: Count = 64
    num_frames: Count = 16
    fps: Amount = 8.0
    attribute: Literal["shape", "colour", "motion"] = "colour"  # of a thing

    def build(self) -> LabelledSource:
        return LabelledSource(self)


class LabelledSource:
    """The scenes of one thing that training shows."""

    def __init__(self, config: LabelledConfig) -> None:
        self.config = config

    @cached_property
    def identity(self) -> str:
        return identity_of(self.config, [self.clip(index) for index in range(8)])

    def scene(self, index: int) -> toyland.Scene:
        return toyland.sample(random.Random(toyland.train_seed(FIRST_PICTURE // 2 + index)), "one", "seen")

    def clip(self, index: int) -> Clip:
        c = self.config
        return toyland.render(self.scene(index), c.num_frames, c.size, c.size, c.fps)

    def captions(self, index: int) -> tuple[str, ...]:
        return (str(getattr(self.scene(index).things[0], self.config.attribute)),)


def identity_of(config: Config, clips: list[Clip]) -> str:
    """The settings and what a few clips look like: a changed renderer shows there."""
    digest = hashlib.blake2b(f"{type(config).__name__} {config.model_dump_json()}".encode(), digest_size=8)
    for clip in clips:
        digest.update(clip.pixels.numpy().tobytes() + clip.caption.encode())
    return digest.hexdigest()
