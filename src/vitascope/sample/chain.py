"""Videos longer than the model's own length: each window begins with the last latents of the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.sample.latents import Progress, sample_latents
from vitascope.sample.legal import Legal
from vitascope.system import VideoModel
from vitascope.types import UserError


def rollout(
    model: VideoModel, legal: Sequence[Legal], *, overlap: int | None = None, progress: Progress | None = None
) -> Float[Tensor, "b t c h w"]:
    """Latents of videos of any length: windows of the native length that share `overlap` frames.

    The shared frames are handed on as latents and never decoded and encoded again, which is what makes colours drift.
    Each window has its own noise. Known pictures may lie in the first window only.
    """
    length, window = legal[0].num_frames, model.config.defaults.num_frames
    if length <= window:
        return sample_latents(model, legal, progress=progress)
    shared = max(window // 4, 1) if overlap is None else overlap
    if not 1 <= shared < window:
        raise ValueError(f"the overlap must be from 1 to {window - 1} frames, got {shared}")
    late = [number for one in legal for number in one.known if number >= window]
    if late:
        raise UserError(
            f"frame {late[0]} was given, but a video of more than {window} frames grows from its beginning; "
            f"give pictures among the first {window} frames, or ask for at most {window} frames"
        )
    windows = 1 + -(-(length - window) // (window - shared))

    def told(number: int) -> Progress | None:
        if progress is None:
            return None
        return lambda done, steps, z: progress(number * steps + done, windows * steps, z)

    made = sample_latents(model, [_window(one, 0, window, one.known) for one in legal], progress=told(0))
    for number in range(1, windows):
        later = [_window(one, number, window, {}) for one in legal]
        more = sample_latents(model, later, overlap=made[:, -shared:], progress=told(number))
        made = torch.cat([made, more[:, shared:]], 1)
    return made[:, :length]


def _window(one: Legal, number: int, num_frames: int, known: Mapping[int, Tensor]) -> Legal:
    """The same request for one window, whose number gives it a noise of its own."""
    return replace(one, window=number, num_frames=num_frames, known=dict(known))
