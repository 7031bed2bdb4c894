"""Frames as files keep them into what a network reads: the resize alone moves an FVD more than most models differ."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vitascope.evaluate.protocol import Prepare

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def prepared(clip: UInt8[Tensor, "t 3 h w"], how: Prepare) -> Float[Tensor, "t 3 height width"]:
    frames = resized(clip.float(), how)
    low, high = how.range
    frames = frames * ((high - low) / 255) + low
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (how.mean, how.std))
    return (frames - mean) / std


def resized(frames: Float[Tensor, "t 3 h w"], how: Prepare) -> Float[Tensor, "t 3 height width"]:
    """Values stay from 0 to 255; a bicubic filter may overshoot."""
    if how.resize == "none":
        return frames
    height, width = frames.shape[-2:]
    if how.resize == "squash":
        new_height, new_width = how.size, how.size
    else:
        new_height, new_width = short_side_to(how.size, height, width)
    return middle(scaled(frames, (new_height, new_width), how), how.size)


def short_side_to(side: int, height: int, width: int) -> tuple[int, int]:
    """Height and width: the long side is what the proportions say, cut off as torchvision does."""
    return (side, side * width // height) if height <= width else (side * height // width, side)


def middle(frames: Float[Tensor, "t 3 h w"], side: int) -> Float[Tensor, "t 3 side side"]:
    """Where torchvision cuts it."""
    top, left = (round((length - side) / 2) for length in frames.shape[-2:])
    return frames[..., top : top + side, left : left + side]


def scaled(frames: Float[Tensor, "t 3 h w"], size: tuple[int, int], how: Prepare) -> Float[Tensor, "t 3 height width"]:
    if frames.shape[-2:] == size:
        return frames
    if how.filter == "tf1":
        return tf1_bilinear(tf1_bilinear(frames, -2, size[0]), -1, size[1])
    if how.filter == "pillow":
        return torch.stack([_pillow_bicubic(frame, size) for frame in frames])
    return functional.interpolate(frames, size, mode=how.filter, antialias=how.antialias, align_corners=False)


def tf1_bilinear(values: Float[Tensor, "*old"], dim: int, size: int) -> Float[Tensor, "*new"]:
    """`resize_bilinear` of TensorFlow 1 along one dim: pixel i of the new is at i * old / new of the old."""
    old = values.shape[dim]
    place = torch.arange(size, dtype=torch.float32) * (old / size)
    low = place.long().clamp_max(old - 1)
    high = (low + 1).clamp_max(old - 1)
    shape = [1] * values.ndim
    shape[dim] = size
    share = (place - low).view(shape)
    return values.index_select(dim, low) * (1 - share) + values.index_select(dim, high) * share


def _pillow_bicubic(frame: Float[Tensor, "3 h w"], size: tuple[int, int]) -> Float[Tensor, "3 height width"]:
    """Each channel as a picture of floating point numbers, as clean-fid resizes: nothing is rounded to 8 bits."""
    height, width = size
    planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC) for plane in frame.numpy()]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))


def at_resolution(clip: UInt8[Tensor, "t 3 h w"], side: int) -> UInt8[Tensor, "t 3 side side"]:
    """What a data set of squares would hold: short side scaled with antialias, the middle cut out, 8 bits again."""
    how = Prepare(resize="cut", size=side, antialias=True)
    return resized(clip.float(), how).round().clamp(0, 255).to(torch.uint8)


def channels_first(clips: Shaped[Tensor, "b t 3 h w"]) -> Shaped[Tensor, "b 3 t h w"]:
    """The order in which networks of 3-D convolutions read."""
    return rearrange(clips, "b t c h w -> b c t h w")
