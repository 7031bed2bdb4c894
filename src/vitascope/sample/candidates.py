"""Of several candidates for each request the one that tells most of its words, by the model's own judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitascope import noise
from vitascope.conditions import per_frame
from vitascope.noise import Estimate
from vitascope.sample.latents import Progress, conditions_of, estimator_of, rng_of, sample_latents
from vitascope.sample.legal import Legal
from vitascope.system import VideoModel

LEVELS = (0.4, 0.5, 0.6, 0.7)
"""At which the model is asked what it makes of a candidate: higher ones tell places, lower ones only texture."""
PASSES = 2 * len(LEVELS)
"""Of the backbone, that judging a candidate takes: with its words, and without."""


def best_of(
    model: VideoModel, legal: Sequence[Legal], count: int, *, progress: Progress | None = None
) -> Float[Tensor, "b t c h w"]:
    """Clean latents of legal requests, of each the best of `count` that differ in their noise.

    The first candidate is what would be made of one alone. All are sampled in one batch.
    """
    if count == 1:
        return sample_latents(model, legal, progress=progress)
    candidates = [replace(one, candidate=number) for one in legal for number in range(count)]
    made = sample_latents(model, candidates, progress=progress)
    chosen = told_by_words(model, candidates, made).unflatten(0, (-1, count)).argmax(1)
    return made.unflatten(0, (-1, count))[torch.arange(len(legal)), chosen]


@torch.no_grad()
def told_by_words(model: VideoModel, legal: Sequence[Legal], clean: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b"]:
    """By how much its words lower the model's error on a video, in logarithms: the mean over `LEVELS`.

    A diffusion model's errors under several captions tell which of them is meant (Li et al. 2023, "Your diffusion model
    is secretly a zero-shot classifier"); here of one caption the videos are told apart. All candidates of a request are
    judged under the same noise.
    """
    cond, path = conditions_of(model, legal), model.objective.path
    estimate, ratios = estimator_of(model, legal[0].rules), []
    for level in LEVELS:
        drawn = [
            torch.randn(clean.shape[1:], generator=rng_of(replace(one, candidate=0), f"judging {level}"))
            for one in legal
        ]
        ends = Estimate(clean, torch.stack(drawn).to(clean))
        levels = torch.full(clean.shape[:2], level, device=clean.device)
        z, true = noise.mix(path, ends, levels), noise.velocity(path, ends, levels)
        silent, said = (
            error_of(noise.velocity(path, estimate(z, levels, told), levels) - true, told.known)
            for told in (cond.without(text=True), cond)
        )
        ratios.append((silent / said).log())
    return torch.stack(ratios).mean(0).cpu()


def error_of(wrong: Float[Tensor, "b t c h w"], known: Bool[Tensor, "b t"]) -> Float[Tensor, "b"]:
    return wrong.masked_fill(per_frame(known), 0).square().flatten(1).mean(1)
