"""A task is a rule for which frames are known. There are no other differences between tasks."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from vitascope.config import Config
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

    text: float = 1.0
    image: float = 0.0
    prediction: float = 0.0  # the first 2 .. half of the frames
    interpolation: float = 0.0
    upsampling: float = 0.0

    def draw(self, num_clips: int, num_frames: int, rng: torch.Generator) -> Bool[Tensor, "b t"]:
        """Known frames of each clip of a batch, drawn independently; one-frame clips know nothing."""
        if num_frames == 1:
            return torch.zeros(num_clips, 1, dtype=torch.bool)
        weights = torch.tensor([self.text, self.image, self.prediction, self.interpolation, self.upsampling])
        if num_frames == 2:  # prediction and interpolation would leave nothing to make
            weights[2:4] = 0
        if not (weights >= 0).all() or weights.sum() <= 0:
            raise UserError(f"the weights of the tasks must not be negative and not all zero, got {weights.tolist()}")
        chosen = torch.multinomial(weights, num_clips, replacement=True, generator=rng)
        given = torch.randint(2, max(num_frames // 2, 2) + 1, (num_clips,), generator=rng)
        masks = [
            (
                text_to_video(num_frames),
                image_to_video(num_frames),
                prediction(num_frames, int(number)),
                interpolation(num_frames),
                upsampling(num_frames),
            )[int(task)]
            for task, number in zip(chosen, given, strict=True)
        ]
        return torch.stack(masks)
