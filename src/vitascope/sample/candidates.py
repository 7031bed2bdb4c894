"""Best of n: of several candidates for each request the one that shows its words most clearly to the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitascope import noise
from vitascope.conditions import per_frame
from vitascope.noise import Estimate
from vitascope.sample.latents import StepCallback, conditions_of, part_of, rng_of, sample_latents
from vitascope.sample.legal import Legal
from vitascope.system import VideoModel

LEVELS = (0.4, 0.5, 0.6, 0.7)
"""At which a candidate is judged: at higher ones little is left of what it shows, at lower ones texture counts most."""


def passes_of_judging(count: int) -> int:
    """Passes of the backbone, for each of so many candidates: with its words and without, at each level."""
    return 2 * len(LEVELS) if count > 1 else 0


def pictures_at_once(model: VideoModel, count: int) -> int:
    """How many of so many candidates of one request are sampled together: as many pictures as a video has cubes."""
    return min(count, max(model.config.defaults.num_frames // model.backbone.patch[0], 1))


def best_of(
    model: VideoModel, legal: Sequence[Legal], count: int, *, progress: StepCallback | None = None
) -> Float[Tensor, "b t c h w"]:
    """Clean latents of pictures, of each the best by `text_evidence` of `count` that differ in their noise.

    The first candidate is what would be made of one alone.
    """
    if count == 1:
        return sample_latents(model, legal, progress=progress)
    groups = torch.arange(count).split(pictures_at_once(model, count))
    made, evidence = [], []
    for number, group in enumerate(groups):
        candidates = [replace(one, candidate=candidate) for one in legal for candidate in group.tolist()]
        latents = sample_latents(model, candidates, progress=part_of(progress, number, len(groups)))
        made.append(latents.unflatten(0, (len(legal), -1)))
        evidence.append(text_evidence(model, candidates, latents).view(len(legal), -1))
    chosen = torch.cat(evidence, 1).argmax(1)
    kept = torch.cat(made, 1)[torch.arange(len(legal)), chosen]
    if progress is not None:  # for a preview of what was kept
        steps = legal[0].steps * len(groups)
        progress(steps, steps, kept)
    return kept


@torch.no_grad()
def text_evidence(model: VideoModel, legal: Sequence[Legal], clean: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b"]:
    """How many times smaller the model's error on a video is with its words than without, in logarithms.

    A diffusion model's errors under several captions tell which of them is meant (Li et al. 2023, "Your diffusion model
    is secretly a zero-shot classifier"). They compare differences of errors of one picture; here are several of one
    caption, and ratios leave out how hard a picture is. The mean over `LEVELS`, all candidates of a request under the
    same noise.
    """
    cond, path = conditions_of(model, legal), model.objective.path
    ratios = []
    for level in LEVELS:
        drawn = [
            torch.randn(clean.shape[1:], generator=rng_of(replace(one, candidate=0), f"judging {level}"))
            for one in legal
        ]
        ends = Estimate(clean, torch.stack(drawn).to(clean))
        levels = torch.full(clean.shape[:2], level, device=clean.device)
        z, true = noise.mix(path, ends, levels), noise.velocity(path, ends, levels)
        silent, told = (
            error_of(noise.velocity(path, model.estimate(z, levels, known), levels) - true, cond.known)
            for known in (cond.without(text=True), cond)
        )
        ratios.append((silent / told).log())
    return torch.stack(ratios).mean(0).cpu()


def error_of(wrong: Float[Tensor, "b t c h w"], known: Bool[Tensor, "b t"]) -> Float[Tensor, "b"]:
    """Of the frames that were made."""
    return wrong.masked_fill(per_frame(known), 0).square().flatten(1).mean(1)
