"""The things that are carried from room to room: a clip, a request for one, a batch to learn from, a loss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from vitascope.errors import UserError as UserError

Picture = (
    Float[Tensor, "3 _h _w"] | UInt8[Tensor, "3 _h _w"]
    | Float[np.ndarray, "_h _w 3"] | UInt8[np.ndarray, "_h _w 3"] | Image.Image
)  # fmt: skip
"""What people have as a picture: numbers from 0 to 1 or bytes, in the order of torch or NumPy, or an image of PIL."""

Progress = Callable[[int, int], None]
"""Told how much of long work is done, and of how much."""


@dataclass(frozen=True)
class Framing:
    """How a clip was cut from its footage, which a model is told: the micro-conditions of STIV, section 2.1."""

    size: tuple[int, int]  # width, height before the clip was scaled
    corner: tuple[int, int] = (0, 0)  # left, top of the cut in pixels of the clip: what lies beyond its edges
    stride: float = 1.0  # one frame of the footage in so many


@dataclass(frozen=True, eq=False)
class Clip:
    """A video: `t` pictures, sRGB in [0, 1], shown `fps` a second. A picture is a clip of one frame.

    `settings` says how the clip was made (JSON values only); it travels inside the file.
    """

    pixels: Float[Tensor, "t 3 h w"]
    fps: float = 8.0
    caption: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    framing: Framing | None = None  # None: whole, at its own size and pace

    @property
    def num_frames(self) -> int:
        return self.pixels.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[-1], self.pixels.shape[-2]

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps

    def save(self, path: str, *, force: bool = False) -> None:
        """Write mp4, gif, webp or png, by the ending of `path`; an existing file is kept unless `force`."""
        from vitascope import media  # late: PyAV is not needed to hold a clip

        media.write(self, path, force=force)


@dataclass(frozen=True, eq=False)
class Request:
    """One wish for one video. What is None is the model's to choose.

    `frames` maps frame numbers to known pictures of any size; negative numbers count from the end, so `{0: picture}` is
    image-to-video and `{0: first, -1: last}` interpolation. `num_frames` wins over `seconds`. `rules` are fields of
    `system.Rules` by name, such as `{"guidance_kind": "separate"}`; as a rule the model's own are right, and a clip's
    file brings those that it was made by.
    """

    prompt: str
    frames: Mapping[int, Picture] = field(default_factory=dict)
    num_frames: int | None = None
    seconds: float | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None  # width, height
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    negative: str = ""  # what the video should not show, for checkpoints of others that take such words


@dataclass(frozen=True, eq=False)
class Batch:
    """Clean latents with what was said of them and how they were cut; `clean` has one frame for images."""

    clean: Float[Tensor, "b t c h w"]
    captions: tuple[str, ...]
    micro: Float[Tensor, "b m"]  # in the order of `conditions.MICRO`


@dataclass(frozen=True, eq=False)
class Loss:
    """A scalar to descend and the detached parts worth writing down."""

    total: Float[Tensor, ""]
    parts: Mapping[str, float] = field(default_factory=dict)


def generator_for(seed: int, *purpose: int | str) -> torch.Generator:
    """A fresh random generator for one purpose: every draw says what it is for, so nothing depends on order.

    `generator_for(7, "noise", 3)` is the same on every machine and independent of `generator_for(7, "noise", 4)`.
    """
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
