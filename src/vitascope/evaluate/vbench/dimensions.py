"""VBench's dimensions that need no detector, one function each: from frames, or features of them, to a score.

Networks are handed in as functions of frames, so that every rule can be checked without one. Where the official code
does something that one would not expect, it is a switch here; the default is what a single official process does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from vitascope.errors import UserError, install
from vitascope.evaluate.metrics.paired import steadiness
from vitascope.types import Clip

Frames = Float[Tensor, "t 3 h w"]
Flow = Callable[[Float[Tensor, "3 h w"], Float[Tensor, "3 h w"]], Float[Tensor, "2 h w"]]
Between = Callable[[Float[Tensor, "3 h w"], Float[Tensor, "3 h w"]], Float[Tensor, "3 h w"]]

RATED_FPS, RATED_FRAMES, RATED_SIDE = 8, 16, 256  # to which the thresholds of motion belong
FAST_PIXELS, FAST_SHARE = 6.0, 0.05
STILL_PIXELS, STILL_SHARE = 3.0, 0.02


@dataclass(frozen=True)
class Sum:
    """A score as a sum over frames or videos and their number, so that shards add up to one run."""

    total: float = 0.0
    count: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.total + other.total, self.count + other.count)

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else math.nan


def consistency(features: Float[Tensor, "t d"]) -> Sum:
    """Subject (DINO) and background (CLIP) consistency: likeness of each frame to the one before and to the first."""
    if len(features) < 2:
        raise UserError(f"consistency needs at least 2 frames, got {len(features)}")
    unit = functional.normalize(features.double(), dim=1)
    before = (unit[1:] * unit[:-1]).sum(1).clamp(min=0)
    first = (unit[1:] @ unit[0]).clamp(min=0)
    likeness = (before + first) / 2
    return Sum(likeness.sum().item(), len(likeness))


def temporal_flickering(frames: Frames) -> Sum:
    """1 less the mean absolute difference of successive frames, on 8-bit values."""
    return Sum(steadiness((frames * 255).round().byte()), 1)


def motion_smoothness(frames: Frames, between: Between) -> Sum:
    """How well the odd frames follow from the even ones: 1 less the mean absolute error of an interpolator."""
    if len(frames) < 3:
        raise UserError(f"smoothness needs at least 3 frames, got {len(frames)}")
    kept = frames[::2]
    made = torch.stack([between(one, other) for one, other in itertools.pairwise(kept)])
    true = frames[1::2][: len(made)]
    off = ((made.clamp(0, 1) * 255).round() - (true * 255).round()).double().abs().mean().item()
    return Sum((255 - off) / 255, 1)


def top_mean(flow: Float[Tensor, "2 h w"], share: float) -> float:
    """The mean length of the longest vectors of a flow."""
    length = flow.norm(dim=0).flatten()
    return length.topk(max(1, int(length.numel() * share))).values.mean().item()


def dynamic_degree(clip: Clip, flow: Flow, *, few_frames_are_dynamic: bool = True) -> Sum:
    """1 if enough pairs of frames, sampled at about 8 a second, have fast pixels.

    With two frames the number asked for rounds to 0, so that every video is dynamic in the official code; without
    `few_frames_are_dynamic` at least one pair has to be fast.
    """
    frames = clip.pixels[:: max(1, round(clip.fps / RATED_FPS))]
    if len(frames) < 2:
        raise UserError(f"motion needs at least 2 frames, {RATED_FPS} a second; of {clip.num_frames} it has one")
    limit = FAST_PIXELS * min(clip.size) / RATED_SIDE
    fast = sum(top_mean(flow(one, other), FAST_SHARE) > limit for one, other in pairs(frames))
    needed = max(round(4 * len(frames) / RATED_FRAMES), 0 if few_frames_are_dynamic else 1)
    return Sum(float(fast >= needed), 1)


def is_static(clip: Clip, flow: Flow) -> bool:
    """The filter before flickering: few pairs of frames move, and the last frame is near the first."""
    frames, t = clip.pixels, STILL_PIXELS * min(clip.size) / RATED_SIDE
    most = round(2 * len(frames) / RATED_FRAMES)
    moving = sum(top_mean(flow(one, other), STILL_SHARE) > t for one, other in pairs(frames))
    ends = ((frames[0], frames[-1]), (frames[-1], frames[0]))
    return moving <= most and not any(top_mean(flow(one, other), STILL_SHARE) > 2 * t * most for one, other in ends)


def pairs(frames: Frames) -> list[tuple[Float[Tensor, "3 h w"], Float[Tensor, "3 h w"]]]:
    return list(itertools.pairwise(frames))


def aesthetic_quality(features: Float[Tensor, "t d"], weight: Float[Tensor, "1 d"], bias: Float[Tensor, "1"]) -> Sum:
    """LAION's linear head on CLIP ViT-L/14 embeddings of unit length: a tenth of its rating, the mean of the frames."""
    rating = functional.linear(functional.normalize(features, dim=1), weight, bias)
    return Sum(rating.double().mean().item() / 10, 1)


def appearance_style(frames: Float[Tensor, "t d"], text: Float[Tensor, "d"], *, last_frame_only: bool = False) -> Sum:
    """Likeness of frames to the words of a style (CLIP ViT-B/32).

    Official runs on several processes average the last frame of each video only: `last_frame_only`.
    """
    likeness = functional.normalize(frames.double(), dim=1) @ functional.normalize(text.double(), dim=0)
    return Sum(likeness[-1].item(), 1) if last_frame_only else Sum(likeness.sum().item(), len(likeness))


# VBench-I2V.


def image_consistency(image: Float[Tensor, "d"], features: Float[Tensor, "t d"]) -> Sum:
    """Likeness of a video to the picture that it was made from. The best frame alone earns 0.4: as a rule the first."""
    if len(features) < 2:
        raise UserError(f"likeness to a picture needs at least 2 frames, got {len(features)}")
    unit, given = functional.normalize(features.double(), dim=1), functional.normalize(image.double(), dim=0)
    like_image = (unit @ given).clamp(min=0)
    steady = (unit[1:] * unit[:-1]).sum(1).clamp(min=0)
    return Sum((0.4 * like_image.max() + 0.3 * steady.mean() + 0.3 * steady.min()).item(), 1)


# Flow without a network. It is not the official one (RAFT, AMT-S), and reports say so.

FLOW = "flow by OpenCV's DIS (medium preset) instead of RAFT"
INTERPOLATION = "frames warped half way along OpenCV's DIS flow instead of AMT-S"


def dis_flow(one: Float[Tensor, "3 h w"], other: Float[Tensor, "3 h w"]) -> Float[Tensor, "2 h w"]:
    """Where each pixel of `one` goes, x and y in pixels."""
    try:
        import cv2
    except ImportError:
        raise UserError(f"flow needs OpenCV: {install('flow')}") from None
    gray = [(frame.mean(0) * 255).round().byte().numpy() for frame in (one, other)]
    found = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(
        gray[0], gray[1], np.zeros((*gray[0].shape, 2), np.float32)
    )
    return torch.from_numpy(found).permute(2, 0, 1).contiguous()


def halfway(flow: Flow) -> Between:
    """An interpolator that warps both neighbours half way along the flow between them and mixes them."""

    def between(one: Float[Tensor, "3 h w"], other: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
        forth, back = flow(one, other), flow(other, one)
        made = [warped(frame, -0.5 * along) for frame, along in ((one, forth), (other, back))]
        seen: list[Bool[Tensor, "h w"]] = [inside(along) for along in (-0.5 * forth, -0.5 * back)]
        weight = torch.stack(seen).float()
        weight = torch.where(weight.sum(0) > 0, weight, 1.0)
        return (torch.stack(made) * weight[:, None]).sum(0) / weight.sum(0)

    return between


def places(flow: Float[Tensor, "2 h w"]) -> Float[Tensor, "h w 2"]:
    """From where each pixel is taken, in the units of `grid_sample`: -1 to 1."""
    height, width = flow.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([(x + flow[0] + 0.5) * 2 / width - 1, (y + flow[1] + 0.5) * 2 / height - 1], -1)


def warped(frame: Float[Tensor, "3 h w"], flow: Float[Tensor, "2 h w"]) -> Float[Tensor, "3 h w"]:
    return functional.grid_sample(frame[None], places(flow)[None], padding_mode="border", align_corners=False)[0]


def inside(flow: Float[Tensor, "2 h w"]) -> Bool[Tensor, "h w"]:
    return (places(flow).abs() <= 1).all(-1)
