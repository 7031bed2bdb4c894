"""Requests to clips: the one way from words and pictures to videos, the same for every caller and every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.errors import NonFinite, is_out_of_memory
from vitascope.sample.candidates import pictures_at_once
from vitascope.sample.chain import GAPS_AT_ONCE, long_or_short
from vitascope.sample.latents import StepCallback, write_latents
from vitascope.sample.legal import Legal, legalise, settings_of
from vitascope.sample.memory import (
    FRAMES_DECODED_AT_ONCE,
    passes_of,
    refuse_beyond_memory,
    sampling_bytes,
    what_would_fit,
)
from vitascope.system import VideoModel
from vitascope.types import Clip, Request, UserError


def generate(
    model: VideoModel,
    requests: Sequence[Request],
    *,
    progress: StepCallback | None = None,
    keep_latents: Path | None = None,
    made_by: str = "",
) -> list[Clip]:
    """Clips for requests that agree in size, length and all that rules the sampling (else ValueError), in one batch.

    What is longer than the model's own length is made in windows (`chain`). A sample depends on its own seed only,
    whatever shares its batch (to the rounding of the matrix products, which may turn a close choice between
    candidates). `keep_latents`: where to write the finished latents of the first request before they are decoded, so
    that sampling is never lost. `made_by` names the model in the clips' settings.
    """
    if not requests:
        return []
    legal = [legalise(model, request) for request in requests]
    if len({(one.size, one.num_frames, one.steps, one.guidance, one.solver, one.rules) for one in legal}) > 1:
        raise ValueError("requests of one batch must agree in size, length, steps, guidance, solver and rules")
    first, num = legal[0], len(legal)
    at_once = max(frames_at_once(model, one) for one in legal)
    refuse_beyond_memory(model, first, at_once, num)
    settings = [settings_of(one, made_by) for one in legal]
    try:
        latents = long_or_short(model, legal, progress=progress)
        if keep_latents is not None:
            write_latents(keep_latents, latents[0], settings[0])
        return [clip_of(said, decode(model, video)) for said, video in zip(settings, latents, strict=True)]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        less = sampling_bytes(model, first.size, first.num_frames, at_once, num, passes_of(model, first)) // 2
        advice = what_would_fit(model, first, at_once, num, less)
        raise UserError(f"the memory ran out; {advice}") from error


def frames_at_once(model: VideoModel, one: Legal) -> int:
    """How many frames for one video are sampled together, at most: of it, of its gaps, or first pictures for it."""
    pictures = pictures_at_once(model, one.rules.picture_candidates) * model.backbone.patch[0]
    if one.num_frames == 1:
        return pictures
    at_once = min(one.num_frames, model.config.defaults.num_frames)
    if one.rules.keyframe_stride and one.num_frames > at_once:
        at_once *= GAPS_AT_ONCE
    return max(at_once, pictures) if one.rules.image_first and not one.known else at_once


@torch.no_grad()
def decode(
    model: VideoModel, latents: Float[Tensor, "t c lh lw"], at_once: int = FRAMES_DECODED_AT_ONCE
) -> Float[Tensor, "t 3 h w"]:
    """Pixels of one video, some frames at a time, so that memory does not grow with its length; fewer if it is full."""
    try:
        parts = latents.to(model.device).split(at_once)
        return torch.cat([model.tokenizer.decode(part[None]).float().cpu()[0] for part in parts])
    except (RuntimeError, MemoryError) as error:
        if at_once == 1 or not is_out_of_memory(error):
            raise
    return decode(model, latents, max(at_once // 4, 1))


def clip_of(settings: Mapping[str, Any], pixels: Float[Tensor, "t 3 h w"]) -> Clip:
    """The finished clip with the settings that make it again."""
    if not pixels.isfinite().all():
        raise NonFinite("the decoded video is not finite: the autoencoder failed; try less guidance or another seed")
    return Clip(pixels, settings["fps"], settings["prompt"], settings)
