"""Videos longer than the model's own length: each window begins with the last latents of the one before."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.sample.generate import Legal, Progress, sample_latents, with_length
from vitascope.system import VideoModel
from vitascope.types import UserError


def rollout(
    model: VideoModel, one: Legal, *, overlap: int | None = None, progress: Progress | None = None
) -> Float[Tensor, "1 t c h w"]:
    """Latents of a video of any length: windows of the native length that share `overlap` frames.

    The shared frames are handed on as latents and never decoded and encoded again, which is what makes colours drift.
    Each window has its own noise. Known pictures may lie in the first window only.
    """
    window = model.config.defaults.num_frames
    if one.num_frames <= window:
        return sample_latents(model, [one], progress=progress)
    shared = window // 4 if overlap is None else overlap
    if not 1 <= shared < window:
        raise ValueError(f"the overlap must be from 1 to {window - 1} frames, got {shared}")
    late = [number for number in one.known if number >= window]
    if late:
        raise UserError(
            f"frame {late[0]} was given, but a video of more than {window} frames grows from its beginning; "
            f"give pictures among the first {window} frames, or ask for at most {window} frames"
        )
    windows = 1 + -(-(one.num_frames - window) // (window - shared))

    def told(number: int) -> Progress | None:
        if progress is None:
            return None
        return lambda done, steps, z: progress(number * steps + done, windows * steps, z)

    made = sample_latents(model, [with_length(one, window, one.known)], progress=told(0))
    for number in range(1, windows):
        later = with_length(
            replace(one, request=replace(one.request, seed=_next_seed(one.request.seed, number))), window, {}
        )
        more = sample_latents(model, [later], overlap=made[:, -shared:], progress=told(number))
        made = torch.cat([made, more[:, shared:]], 1)
    return made[:, : one.num_frames]


def _next_seed(seed: int, window: int) -> int:
    """Another seed for each window, a function of the first."""
    return (seed * 1_000_003 + window) % 2**63
