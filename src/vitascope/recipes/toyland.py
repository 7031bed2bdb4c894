"""Toyland as a source of clips to learn from."""

from __future__ import annotations

import hashlib
import random

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope import toyland
from vitascope.config import Config
from vitascope.types import Clip, generator_for


FIRST_PICTURE = 500_000_000
"""Scenes from this number on serve for single pictures, those before it for clips."""


class ToylandConfig(Config):
    """Which part of Toyland, and at what size and pace."""

    size: int = 64
    num_frames: int = 16
    fps: float = 8.0
    num_captions: int = 4  # the canonical sentence and paraphrases of it

    def build(self) -> ToylandSource:
        return ToylandSource(self)


class ToylandSource:
    """Scenes of the training seeds whose colour, shape and motion are shown in training."""

    def __init__(self, config: ToylandConfig) -> None:
        self.config = config

    @property
    def identity(self) -> str:
        """The settings, and what a few dozen clips look and read like: a changed renderer or grammar shows there."""
        digest = hashlib.blake2b(self.config.model_dump_json().encode(), digest_size=8)
        for index in range(FIRST_PICTURE - 32, FIRST_PICTURE):
            digest.update(self.clip(index).pixels.numpy().tobytes() + repr(self.captions(index)).encode())
        return digest.hexdigest()

    def scene(self, index: int) -> toyland.Scene:
        return toyland.sample(random.Random(toyland.train_seed(index)), None, "seen")

    def clip(self, index: int) -> Clip:
        c = self.config
        return toyland.render(self.scene(index), c.num_frames, c.size, c.size, c.fps)

    def captions(self, index: int) -> tuple[str, ...]:
        scene, rng = self.scene(index), random.Random(toyland.train_seed(index))
        others = (toyland.caption(scene, rng) for _ in range(self.config.num_captions - 1))
        return (toyland.caption(scene), *others)

    def pictures(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        """Random frames of random scenes, four to a scene, none of them among those that `clip` numbers from zero."""
        rng = generator_for(0, "pictures", step)
        clips = [self.clip(FIRST_PICTURE + step * count + k) for k in range(-(-count // 4))]
        frames = [clip.pixels[torch.randperm(clip.num_frames, generator=rng)[:4]] for clip in clips]
        return torch.cat(frames)[:count]
