"""How videos are measured: everything that two numbers must share before they may be compared."""

from __future__ import annotations

from typing import Literal

from vitascope.config import Config, Count, CountOrZero, nearest
from vitascope.types import UserError

Choice = Literal["first", "middle", "random", "all"]


class Prepare(Config):
    """How 8-bit frames become what a network reads.

    `resize`: "squash" ignores the proportions, "cut" scales the short side and cuts the middle out, "none" leaves them
    as they come, for a network that resizes by itself. `tf1` is the bilinear filter of TensorFlow 1: no half-pixel
    centres. `pillow` filters as Pillow does, in floating point. 0 and 255 become the ends of `range`; then `mean` is
    taken off each channel and `std` divides it.
    """

    resize: Literal["squash", "cut", "none"] = "squash"
    size: Count = 224
    filter: Literal["bilinear", "bicubic", "tf1", "pillow"] = "bilinear"
    antialias: bool = False
    range: tuple[float, float] = (-1.0, 1.0)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Protocol(Config):
    """What is taken of each video and of how many, and the conventions of the Fréchet distance.

    One clip of `frames` frames, each `stride`th of the video; `clip` says where it begins: "all" takes every clip that
    does not overlap another. `made_clip` is for the videos made, where their rule is another. `resolution` is the stage
    before any network: short side scaled with antialias, middle cut out. `divisor` is that of the covariance; like
    `prepare` it is for the video network of the distance: networks of other metrics, and FID, have their own.
    `real_count` and `made_count`: that many usable videos are drawn from each set, by `seed` and their names.
    """

    name: str = "vitascope"
    frames: Count = 16
    stride: Count = 1
    clip: Choice = "first"
    made_clip: Choice | None = None
    resolution: Count | None = None
    prepare: Prepare = Prepare()
    divisor: Literal["n", "n-1"] = "n-1"
    seed: CountOrZero = 0
    real_count: Count | None = None
    made_count: Count | None = None

    def of_made(self) -> Protocol:
        """As it reads to the videos made."""
        return self if self.made_clip is None else self.model_copy(update={"clip": self.made_clip, "made_clip": None})

    def of_real(self) -> Protocol:
        return self.model_copy(update={"made_clip": None})

    @property
    def span(self) -> int:
        """Frames of a video from the first to the last that a clip takes."""
        return (self.frames - 1) * self.stride + 1


def protocol_named(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise UserError(f"there is no protocol '{name}'; {nearest(name, list(PROTOCOLS))}")
    return PROTOCOLS[name]


_STYLEGANV = Protocol(
    name="styleganv",
    clip="random",
    made_clip="first",
    divisor="n",
    prepare=Prepare(resize="none", filter="bilinear", range=(0.0, 255.0)),
    real_count=2048,
    made_count=2048,
)
"""The TorchScript file squashes the frames itself."""

PROTOCOLS = {
    "vitascope": Protocol(),
    "styleganv": _STYLEGANV,
    "styleganv_stride8": _STYLEGANV.model_copy(update={"name": "styleganv_stride8", "stride": 8}),
    "styleganv_128": _STYLEGANV.model_copy(update={"name": "styleganv_128", "frames": 128}),
    "videogpt": Protocol(name="videogpt", prepare=Prepare(resize="cut")),
    "tats": Protocol(name="tats"),
    "tfhub": Protocol(name="tfhub", prepare=Prepare(filter="tf1")),
    "cd": Protocol(name="cd", clip="random", resolution=128, divisor="n", made_count=2048),
}
