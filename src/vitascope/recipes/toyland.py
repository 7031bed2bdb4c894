"""Toyland as a source of clips to learn from."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Annotated

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from vitascope import toyland
from vitascope.config import Amount, AmountOrZero, Config, Count, nearest
from vitascope.toyland.sampling import WEIGHTS
from vitascope.toyland.scene import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, SIZES, SPEEDS
from vitascope.types import Clip, Framing, generator_for

FIRST_PICTURE = 500_000_000
"""Scenes from this number on serve for single pictures, those before it for clips."""


class KindMix(Config):
    """How often each kind of scene is drawn; weights need not sum to one."""

    one: AmountOrZero = WEIGHTS["one"]
    two: AmountOrZero = WEIGHTS["two"]
    relation: AmountOrZero = WEIGHTS["relation"]
    count: AmountOrZero = WEIGHTS["count"]
    change: AmountOrZero = WEIGHTS["change"]
    interaction: AmountOrZero = WEIGHTS["interaction"]
    camera: AmountOrZero = WEIGHTS["camera"]
    style: AmountOrZero = WEIGHTS["style"]

    @pydantic.model_validator(mode="after")
    def some_kind_is_drawn(self) -> KindMix:
        if not any(self.weights.values()):
            raise ValueError("one kind of scene must have a weight above zero")
        return self

    @property
    def weights(self) -> dict[toyland.Kind, float]:
        return {kind: getattr(self, kind) for kind in WEIGHTS}


USUAL_FPS = 8.0
"""Of Toyland's clips: what the stride counts from that a model is told."""


WordWeight = Annotated[float, pydantic.Field(gt=0, le=10)]
WORDS = (tuple(SHAPES), tuple(COLOURS), tuple(SIZES), tuple(MOTIONS), tuple(SPEEDS), BACKGROUNDS)


class ToylandConfig(Config):
    """Which part of Toyland, and at what size and pace."""

    size: Count = 64
    num_frames: Count = 16
    fps: Amount = USUAL_FPS
    num_captions: Count = 4  # the canonical sentence and paraphrases of it
    kinds: KindMix = KindMix()
    word_weights: tuple[
        tuple[str, WordWeight], ...
    ] = ()  # how often for once without that word; kinds stay as they are

    @pydantic.field_validator("word_weights")
    @classmethod
    def _words_are_known(cls, weights: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
        known = [word for words in WORDS for word in words if word]
        for word, count in Counter(word for word, _ in weights).items():
            if word not in known:
                raise ValueError(f"no scene of Toyland has '{word}'; {nearest(word, known)}")
            if count > 1:
                raise ValueError(f"'{word}' is given {count} weights; give it one")
        return weights

    def build(self) -> ToylandSource:
        return ToylandSource(self)


class ToylandSource:
    """Scenes of the training seeds whose colour, shape and motion are shown in training."""

    def __init__(self, config: ToylandConfig) -> None:
        self.config = config

    @cached_property
    def identity(self) -> str:
        """The settings, and what a few dozen clips look and read like: a changed renderer or grammar shows there."""
        told = self.config.model_dump_json(exclude=set() if self._weights else {"word_weights"})
        digest = hashlib.blake2b(told.encode(), digest_size=8)
        for index in range(FIRST_PICTURE - 32, FIRST_PICTURE):
            digest.update(self.clip(index).pixels.numpy().tobytes() + repr(self.captions(index)).encode())
        return digest.hexdigest()

    def scene(self, index: int) -> toyland.Scene:
        rng = random.Random(toyland.train_seed(index))
        kind = toyland.draw_kind(rng, self.config.kinds.weights)
        while True:
            scene = toyland.sample(rng, kind, "seen")
            if rng.random() < self._weight(scene) / self._most_weight:
                return scene

    def _weight(self, scene: toyland.Scene) -> float:
        """The product over its words as it begins; of several things the mean."""
        weights = self._weights
        of_things = [math.prod(weights.get(word, 1.0) for word in words_of(thing)) for thing in scene.things]
        return weights.get(scene.background, 1.0) * sum(of_things) / len(of_things)

    @cached_property
    def _most_weight(self) -> float:
        return math.prod(max(self._weights.get(word, 1.0) for word in words) for words in WORDS)

    @cached_property
    def _weights(self) -> dict[str, float]:
        return dict(self.config.word_weights)

    def clip(self, index: int) -> Clip:
        c = self.config
        clip = toyland.render(self.scene(index), c.num_frames, c.size, c.size, c.fps)
        return replace(clip, framing=Framing(clip.size, stride=USUAL_FPS / c.fps))

    def captions(self, index: int) -> tuple[str, ...]:
        return self.captions_of(self.scene(index), index)

    def captions_of(self, scene: toyland.Scene, index: int) -> tuple[str, ...]:
        # A generator of its own: with that of the scene the wording would tell the kind and the motion.
        rng = random.Random(f"captions {index}")
        others = (toyland.caption(scene, rng) for _ in range(self.config.num_captions - 1))
        return (toyland.caption(scene), *others)

    def pictures(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        """A random moment of each of `count` random scenes, none of them among those that `clip` numbers from zero."""
        return torch.stack([picture for picture, _, _ in self._moments(step, count)])

    def details(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        """Pieces of such pictures, half as high and wide, two from each and most of them around a thing.

        Things fill little of a picture; an autoencoder that sees them as often as backgrounds learns them several times
        sooner.
        """
        rng = random.Random(f"details {step}")
        side = self.config.size // 2
        pieces = []
        for picture, scene, seconds in self._moments(step, -(-count // 2)):
            for _ in range(2):
                thing = rng.choice(toyland.poses(scene, seconds))
                x, y = (thing.x, thing.y) if rng.random() < 0.8 else (rng.uniform(-1, 1), rng.uniform(-1, 1))
                left, top = (
                    min(max(round((place + 1) * side + rng.uniform(-0.75, -0.25) * side), 0), side) for place in (x, y)
                )
                pieces.append(picture[:, top : top + side, left : left + side])
        return torch.stack(pieces[:count])

    def _moments(self, step: int, count: int) -> Iterator[tuple[Float[Tensor, "3 h w"], toyland.Scene, float]]:
        moments = 0.01 + 2 * torch.rand(count, generator=generator_for(0, "pictures", step))
        size = self.config.size
        for number, seconds in enumerate(moments.tolist()):
            scene = self.scene(FIRST_PICTURE + step * count + number)
            # The second frame of a clip so slow that it shows this moment.
            yield toyland.render(scene, 2, size, size, 1 / seconds).pixels[1], scene, seconds


def words_of(thing: toyland.Thing) -> tuple[str, ...]:
    return thing.shape, thing.colour, thing.size, thing.motion, thing.speed
