"""How far made clips lie from the true ones as a set: others of the same captions lie at none in the mean."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.evaluate.metrics.frechet import Moments, frechet_distance
from vitascope.evaluate.networks.toyland import load_toyland
from vitascope.evaluate.questions import FPS, NUM_FRAMES, NUM_SEEDS, SCENES_PER_SEED, SIZE, test_scene
from vitascope.system import VideoModel
from vitascope.toyland.render import render
from vitascope.toyland.sampling import arrange, crowding
from vitascope.toyland.scene import Kind, Scene
from vitascope.types import Clip

NUM_REFERENCE, NUM_SPREAD = 256, 64
REFERENCE_SEED = NUM_SEEDS - 1
"""Whose scenes the reference is: no table gets so far."""


def distances(
    model: VideoModel, made: Sequence[Clip], truths: Sequence[Clip], kind: Kind, images: bool
) -> dict[str, float]:
    """`made` and `truths` are of the same scenes, in this order."""
    spread = torch.stack([statistics_of(model, clip) for clip in reference(kind, images, NUM_SPREAD)]).std(0)
    units = spread.clamp_min(1e-3)
    real, fake = (torch.stack([statistics_of(model, clip) for clip in clips]) / units for clips in (truths, made))
    seen, shown = described(truths), described(made)
    return {
        "energy distance": energy_distance(real, fake),
        "toyland distance": energy_distance(seen, shown),
        "frechet distance": frechet_distance(reference_moments(kind, images), Moments.of(shown)),
    }


def energy_distance(real: Float[Tensor, "n d"], fake: Float[Tensor, "n d"]) -> float:
    """Székely and Rizzo 2013, without the pairs that share a row: both are of one scene there, and so alike that with
    them a copy would lie below zero.

    Unbiased: zero in the mean for rows drawn anew from the law of each scene, so that it can fall below zero. A row
    far off counts by its distance alone.
    """
    return (2 * between(real, fake) - between(real, real) - between(fake, fake)).item()


def between(one: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The mean distance between rows of different scenes. By differences: exact for equal rows, unlike a product."""
    apart = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
    return (apart.sum() - apart.trace()) / (len(one) * (len(one) - 1))


def statistics_of(model: VideoModel, clip: Clip) -> Float[Tensor, "d"]:
    """Of each latent channel: the mean, the spread within frames and the change between them."""
    z = model.tokenizer.encode(clip.pixels[None].to(model.device))[0].float().cpu()
    parts = [z.mean((0, 2, 3)), z.std((2, 3)).mean(0)]
    return torch.cat([*parts, z.diff(dim=0).abs().mean((0, 2, 3))] if len(z) > 1 else parts)


def described(clips: Sequence[Clip]) -> Float[Tensor, "n d"]:
    """Features of the network that was trained to describe Toyland."""
    network, _ = load_toyland()
    return network(2 * torch.stack([clip.pixels for clip in clips]) - 1)


def reference(kind: Kind, images: bool, num: int) -> list[Clip]:
    """True clips for the units of latents and for the Fréchet distance: the same for all models and seeds, and of none
    of their scenes, so that neither depends on the few truths of a measurement."""
    numbers = range(REFERENCE_SEED * SCENES_PER_SEED, REFERENCE_SEED * SCENES_PER_SEED + num)
    return [true_clip(test_scene("seen", kind, number), images) for number in numbers]


@cache
def reference_moments(kind: Kind, images: bool) -> Moments:
    clips = reference(kind, images, NUM_REFERENCE)
    rows = [described(clips[start : start + 32]) for start in range(0, len(clips), 32)]
    return Moments.of(torch.cat(rows))


def true_clip(scene: Scene, images: bool) -> Clip:
    clip = render(scene, NUM_FRAMES, SIZE[1], SIZE[0], FPS)
    return stilled(clip) if images else clip


def stilled(clip: Clip) -> Clip:
    """A picture as a clip in which nothing moves."""
    return Clip(clip.pixels[:1].expand(NUM_FRAMES, -1, -1, -1), FPS)


def drawn_again(scene: Scene) -> Scene:
    """Another scene of the same caption: all that the words leave open is drawn anew."""
    rng = random.Random(f"again {scene.seed}")
    while crowding(again := arrange(replace(scene, seed=rng.getrandbits(31)), rng)) > 0:
        pass
    return again
