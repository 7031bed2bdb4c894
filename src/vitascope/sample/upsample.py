"""More frames a second: every second frame of a doubled video is known, and a model fills in the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vitascope.sample.latents import StepCallback
from vitascope.sample.model import OwnModel
from vitascope.types import Clip, Request, UserError


def upsample(
    model: OwnModel,
    clip: Clip,
    request: Request,
    times: int,
    *,
    progress: Callable[[int, int], StepCallback] | None = None,
) -> Clip:
    """`clip` with `times` (2, 4, 8, ...) as many frames in the same time, doubled pass by pass (STIV-TUP).

    `request` says the prompt, the seed and how to sample. Every frame, those given too, leaves through the autoencoder:
    frames that do and frames that do not, in turn, would flicker. `progress(pass, passes)` gives a pass its listener.
    """
    passes = times.bit_length() - 1
    if times < 2 or times != 2**passes:
        raise UserError(f"a video is doubled, and doubled again: times must be 2, 4, 8, ..., got {times}")
    model.rate_and_size(replace(request, fps=times * clip.fps, size=clip.size))  # refused before the first pass
    for number in range(passes):
        told = None if progress is None else progress(number, passes)
        clip = model.fulfil(doubled(clip, request), progress=told)
    return clip


def doubled(clip: Clip, request: Request) -> Request:
    """`request` for twice as many frames, of which the even ones are those of `clip`."""
    if clip.num_frames < 2:
        raise UserError("a picture has no frames to fill in between; give a video of 2 frames at least")
    known = {2 * number: frame for number, frame in enumerate(clip.pixels)}
    return replace(
        request, frames=known, num_frames=2 * clip.num_frames, seconds=None, fps=2 * clip.fps, size=clip.size
    )
