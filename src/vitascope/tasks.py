"""A task is a rule for which frames are known. There are no other differences between tasks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from vitascope.config import AmountOrZero, Config, Count
from vitascope.types import UserError

Mask = Bool[Tensor, "t"]


def text_to_video(num_frames: int) -> Mask:
    return torch.zeros(num_frames, dtype=torch.bool)


def image_to_video(num_frames: int) -> Mask:
    return prediction(num_frames, given=1)


def prediction(num_frames: int, given: int) -> Mask:
    """The first `given` frames are known."""
    return torch.arange(num_frames) < given


def interpolation(num_frames: int) -> Mask:
    """The first and the last frame are known."""
    place = torch.arange(num_frames)
    return (place == 0) | (place == num_frames - 1)


def upsampling(num_frames: int, every: int = 2) -> Mask:
    """Every second (third, ...) frame is known, beginning with the first."""
    return torch.arange(num_frames) % every == 0


class TaskMix(Config):
    """How often each task is drawn in training; weights need not sum to one. Images are always text to image."""

    text: AmountOrZero = 1.0
    image: AmountOrZero = 0.0
    prediction: AmountOrZero = 0.0  # the first `given` frames
    interpolation: AmountOrZero = 0.0
    upsampling: AmountOrZero = 0.0
    given: Count | None = None  # None: 2 .. half of the frames, drawn for each clip

    def draw(self, num_clips: int, num_frames: int, rng: torch.Generator) -> Bool[Tensor, "b t"]:
        """Known frames of each clip of a batch, drawn independently; one-frame clips know nothing."""
        if num_frames == 1:
            return torch.zeros(num_clips, 1, dtype=torch.bool)
        # What would leave nothing to make is not drawn: prediction and interpolation of two frames.
        weights = torch.tensor(
            [0.0 if mask(num_frames, self.given or 2).all() else getattr(self, name) for name, mask in MASKS.items()]
        )
        if weights.sum() <= 0:
            raise UserError(f"no task has a weight above zero that {num_frames} frames can be used for, got {self!r}")
        chosen = torch.multinomial(weights, num_clips, replacement=True, generator=rng)
        given = torch.randint(2, max(num_frames // 2, 2) + 1, (num_clips,), generator=rng)
        masks = list(MASKS.values())
        drawn = zip(chosen.tolist(), given.tolist(), strict=True)
        return torch.stack([masks[task](num_frames, self.given or number) for task, number in drawn])


MASKS: dict[str, Callable[[int, int], Mask]] = {
    "text": lambda num_frames, _: text_to_video(num_frames),
    "image": lambda num_frames, _: image_to_video(num_frames),
    "prediction": prediction,
    "interpolation": lambda num_frames, _: interpolation(num_frames),
    "upsampling": lambda num_frames, _: upsampling(num_frames),
}
"""From a number of frames, and how many a prediction is given, to the known ones; by the names of `TaskMix`."""
