"""Videos longer than the model's own length: rolled out, filled in between keyframes, or blended of windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.sample.candidates import best_of
from vitascope.sample.latents import StepCallback, part_of, sample_latents, share_of
from vitascope.sample.legal import Legal
from vitascope.system import VideoModel
from vitascope.types import UserError

GAPS_AT_ONCE = 4
"""Between keyframes, sampled in one batch."""


@runtime_checkable
class Way(Protocol):
    """A way to sample videos of one length together: at once, window after window, or between keyframes."""

    def __call__(
        self, model: VideoModel, legal: Sequence[Legal], *, progress: StepCallback | None = None
    ) -> Float[Tensor, "b t c h w"]: ...


def long_or_short(
    model: VideoModel, legal: Sequence[Legal], *, progress: StepCallback | None = None
) -> Float[Tensor, "b t c h w"]:
    """Latents of videos of any length, each in the way that it would be made alone.

    Of words alone the first frame may be made before all else (`image_first`). Of pictures the best of several is kept
    (`picture_candidates`).
    """
    first, window = legal[0], model.config.defaults.num_frames
    ways = [way_of(one, window) for one in legal]  # before all else: it refuses what cannot be made
    if first.rules.image_first and first.num_frames > 1 and not all(one.known for one in legal):
        pictures = first.rules.picture_candidates
        parts = first.num_frames + pictures
        legal = with_first_frames(model, legal, progress=share_of(progress, 0, pictures, parts))
        progress = share_of(progress, pictures, first.num_frames, parts)
    if first.num_frames == 1:
        return best_of(model, legal, first.rules.picture_candidates, progress=progress)
    rows = {way: [row for row, its in enumerate(ways) if its is way] for way in ways}
    made = [
        way(model, [legal[row] for row in its], progress=part_of(progress, number, len(rows)))
        for number, (way, its) in enumerate(rows.items())
    ]
    order = torch.tensor([row for its in rows.values() for row in its])
    return torch.cat(made)[order.argsort()]


def way_of(one: Legal, window: int) -> Way:
    """What is longer than a window: if known frames run through all of it (upsampling), windows blended at every step;
    keyframes and then what lies between, if the model has learned that and at most a first picture is given; else
    window after window, of which only the first may know pictures."""
    if one.num_frames <= window or runs_through(one, window):
        return sample_latents
    if late := [number for number in one.known if number >= window]:
        raise UserError(
            f"frame {late[0]} was given, but a video of more than {window} frames grows from its beginning; "
            f"give pictures among the first {window} frames, or ask for at most {window} frames"
        )
    return keyframed if has_keyframes(one, window) else rollout


def with_first_frames(model: VideoModel, legal: Sequence[Legal], *, progress: StepCallback | None) -> list[Legal]:
    """Requests of words alone with a first frame, made as a picture: what is where is then settled, and what is left is
    image to video (Emu Video, Girdhar et al. 2023, section 3). It stays latents.

    A picture of any moment may show what moves where it has no room to go: a model that knows the difference is told
    that this one begins a window.
    """
    rules, window = legal[0].rules, model.config.defaults.num_frames
    worded = [
        replace(
            one,
            num_frames=1,
            fps=one.fps / keyframe_pace(one, window) if rules.first_frame_told else one.fps,  # of the window it begins
            is_first_frame=rules.first_frame_told,
            guidance=one.guidance if rules.picture_guidance is None else rules.picture_guidance,
        )
        for one in legal
        if not one.known
    ]
    pictures = iter(best_of(model, worded, rules.picture_candidates, progress=progress))
    return [one if one.known else replace(one, made={0: next(pictures)[0]}) for one in legal]


def has_keyframes(one: Legal, window: int) -> bool:
    """Whether a video is longer than a window, is to have keyframes, and begins with a given picture at most."""
    return one.rules.keyframe_stride > 0 and one.num_frames > window and set(one.known) <= {0}


def keyframe_pace(one: Legal, window: int) -> int:
    """How many frames the first window goes on by at a time."""
    return one.rules.keyframe_stride if has_keyframes(one, window) else 1


def runs_through(one: Legal, window: int) -> bool:
    """Whether a window anywhere in the video holds a known frame."""
    numbers = [-1, *sorted(one.known), one.num_frames]
    return all(after - before <= window for before, after in pairwise(numbers))


def rollout(
    model: VideoModel, legal: Sequence[Legal], *, progress: StepCallback | None = None
) -> Float[Tensor, "b t c h w"]:
    """Latents of videos of any length: windows of the native length that share a quarter of their frames.

    The shared frames are handed on as latents and never decoded and encoded again, which is what makes colours drift.
    Each window has its own noise. Known pictures may lie in the first window only (`way_of` refuses others).
    """
    length, window = legal[0].num_frames, model.config.defaults.num_frames
    if length <= window:
        return sample_latents(model, legal, progress=progress)
    shared = shared_frames(window)
    windows = num_windows(length, window)
    begin = [replace(one, num_frames=window) for one in legal]
    made = sample_latents(model, begin, progress=part_of(progress, 0, windows))
    for number in range(1, windows):
        before = made[:, -shared:]
        later = [_window(one, number, window, dict(enumerate(last))) for one, last in zip(legal, before, strict=True)]
        more = sample_latents(model, later, progress=part_of(progress, number, windows))
        made = torch.cat([made, more[:, shared:]], 1)
    return made[:, :length]


def keyframed(
    model: VideoModel, legal: Sequence[Legal], *, progress: StepCallback | None = None
) -> Float[Tensor, "b t c h w"]:
    """Latents of long videos: frames at the keyframe stride, rolled out if they are many, then what lies between two.

    One model does both; the frame rate of the micro-conditions tells it which (STIV, appendix J). Keyframes stay
    latents. Each gap is made alone and some of them at once: errors cannot pass from one to the next.
    """
    length, window = legal[0].num_frames, model.config.defaults.num_frames
    stride = legal[0].rules.keyframe_stride
    num_gaps = -(-(length - 1) // stride)
    num_keys = max(num_gaps + 1, window)  # as many as its lessons had, at least
    key_windows, groups = num_windows(num_keys, window), -(-num_gaps // GAPS_AT_ONCE)
    wide = [replace(one, num_frames=num_keys, fps=one.fps / stride) for one in legal]
    keys = rollout(model, wide, progress=share_of(progress, 0, key_windows, key_windows + groups))
    made: list[Tensor] = []
    for group in range(groups):
        gaps = range(group * GAPS_AT_ONCE, min((group + 1) * GAPS_AT_ONCE, num_gaps))
        # Windows below zero, so that no gap has the noise of a keyframe window.
        wanted = [
            _window(one, -1 - gap, stride + 1, {0: key[gap], stride: key[gap + 1]})
            for gap in gaps
            for one, key in zip(legal, keys, strict=True)
        ]
        filled = sample_latents(model, wanted, progress=part_of(progress, key_windows + group, key_windows + groups))
        made += [gap[:, :stride] for gap in filled.chunk(len(gaps))]
    return torch.cat([*made, keys[:, num_gaps : num_gaps + 1].to(made[0])], 1)[:, :length]


def borders(length: int, window: int, keyframe_stride: int) -> list[int]:
    """The frames at which one chunk of a long video from text passes into the next."""
    if length <= window:
        return []
    if keyframe_stride:
        return list(range(keyframe_stride, length - 1, keyframe_stride))
    return list(range(window, length, window - shared_frames(window)))


def shared_frames(window: int) -> int:
    """How many frames a window has of the one before."""
    return max(window // 4, 1)


def num_windows(length: int, window: int) -> int:
    return 1 + max(-(-(length - window) // (window - shared_frames(window))), 0)


def _window(one: Legal, number: int, num_frames: int, made: Mapping[int, Tensor]) -> Legal:
    """The same request for one window that goes on from frames made before; its number gives it a noise of its own."""
    return replace(one, window=number, num_frames=num_frames, known={}, made=made)
