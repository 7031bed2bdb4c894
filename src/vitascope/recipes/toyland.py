"""Toyland as a source of clips to learn from."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from vitascope import toyland
from vitascope.config import Amount, AmountOrZero, Config, Count, nearest
from vitascope.toyland.sampling import WEIGHTS
from vitascope.toyland.scene import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, SIZES, SPEEDS, Scene, Thing
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


WORDS = (tuple(SHAPES), tuple(COLOURS), tuple(SIZES), tuple(MOTIONS), tuple(SPEEDS), BACKGROUNDS)


class ToylandConfig(Config):
    """Which part of Toyland, and at what size and pace."""

    size: Count = 64
    num_frames: Count = 16
    fps: Amount = USUAL_FPS
    num_captions: Count = 4  # the canonical sentence and paraphrases of it
    kinds: KindMix = KindMix()
    oftener: tuple[tuple[str, Amount], ...] = ()  # words of things and places, and how often for once without

    @pydantic.field_validator("oftener")
    @classmethod
    def _words_are_known(cls, oftener: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
        known = [word for words in WORDS for word in words if word]
        for word, _ in oftener:
            if word not in known:
                raise ValueError(f"no scene of Toyland has '{word}'; {nearest(word, known)}")
        return oftener

    def build(self) -> ToylandSource:
        return ToylandSource(self)


class ToylandSource:
    """Scenes of the training seeds whose colour, shape and motion are shown in training."""

    def __init__(self, config: ToylandConfig) -> None:
        self.config = config

    @cached_property
    def identity(self) -> str:
        """The settings, and what a few dozen clips look and read like: a changed renderer or grammar shows there."""
        digest = hashlib.blake2b(self.config.model_dump_json().encode(), digest_size=8)
        for index in range(FIRST_PICTURE - 32, FIRST_PICTURE):
            digest.update(self.clip(index).pixels.numpy().tobytes() + repr(self.captions(index)).encode())
        return digest.hexdigest()

    def scene(self, index: int) -> toyland.Scene:
        rng = random.Random(toyland.train_seed(index))
        kind = toyland.draw_kind(rng, self.config.kinds.weights)
        while True:
            scene = toyland.sample(rng, kind, "seen")
            if rng.random() < self._wanted(scene) / self._most_wanted:
                return scene

    def _wanted(self, scene: Scene) -> float:
        """How often for one scene without any word of `oftener`: by all of its words, of several things the mean."""
        of_things = [math.prod(self._times(word) for word in words_of(thing)) for thing in scene.things]
        return self._times(scene.background) * sum(of_things) / len(of_things)

    @cached_property
    def _most_wanted(self) -> float:
        return math.prod(max(map(self._times, words)) for words in WORDS)

    def _times(self, word: str) -> float:
        return dict(self.config.oftener).get(word, 1.0)

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


def words_of(thing: Thing) -> tuple[str, ...]:
    return thing.shape, thing.colour, thing.size, thing.motion, thing.speed
