"""I3D (Carreira and Zisserman 2017), to read a state dict such as `i3d_pretrained_400.pt` of VideoGPT and TATS."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vitascope.evaluate.prepare import channels_first

Shape = tuple[int, int, int]


def padded(x: Float[Tensor, "b c t h w"], kernel: Shape, stride: Shape) -> Float[Tensor, "b c _t _h _w"]:
    """TensorFlow's "same" padding: by zeros, the odd one behind."""
    sides: list[int] = []
    for size, window, step in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        missing = max((math.ceil(size / step) - 1) * step + window - size, 0)
        sides += [missing // 2, missing - missing // 2]
    return functional.pad(x, sides)


class Unit(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, plain: bool = False) -> None:
        super().__init__()
        self.kernel: Shape = (kernel, kernel, kernel)
        self.stride: Shape = (stride, stride, stride)
        self.conv3d = nn.Conv3d(channels, out, kernel, stride, bias=plain)
        self.bn = nn.Identity() if plain else nn.BatchNorm3d(out)
        self.plain = plain

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b _c _t _h _w"]:
        x = self.bn(self.conv3d(padded(x, self.kernel, self.stride)))
        return x if self.plain else functional.relu(x)


class Mixed(nn.Module):
    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        first, narrow, wide, narrower, less_wide, pooled = widths
        self.b0 = Unit(channels, first, 1)
        self.b1a, self.b1b = Unit(channels, narrow, 1), Unit(narrow, wide, 3)
        self.b2a, self.b2b = Unit(channels, narrower, 1), Unit(narrower, less_wide, 3)
        self.b3b = Unit(channels, pooled, 1)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b _c t h w"]:
        pool = pooled(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pool)], 1)


def pooled(x: Float[Tensor, "b c t h w"], kernel: Shape, stride: Shape) -> Float[Tensor, "b c _t _h _w"]:
    return functional.max_pool3d(padded(x, kernel, stride), kernel, stride)


class I3d(nn.Module):
    """Frames in [-1, 1] to the logits of Kinetics-400, their mean over time, before softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        self.Mixed_3b = Mixed(192, (64, 96, 128, 16, 32, 32))
        self.Mixed_3c = Mixed(256, (128, 128, 192, 32, 96, 64))
        self.Mixed_4b = Mixed(480, (192, 96, 208, 16, 48, 64))
        self.Mixed_4c = Mixed(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d = Mixed(512, (128, 128, 256, 24, 64, 64))
        self.Mixed_4e = Mixed(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = Mixed(528, (256, 160, 320, 32, 128, 128))
        self.Mixed_5b = Mixed(832, (256, 160, 320, 32, 128, 128))
        self.Mixed_5c = Mixed(832, (384, 192, 384, 48, 128, 128))
        self.logits = Unit(1024, 400, 1, plain=True)

    def forward(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b 400"]:
        x = pooled(self.Conv3d_1a_7x7(channels_first(clips)), (1, 3, 3), (1, 2, 2))
        x = pooled(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        x = pooled(self.Mixed_3c(self.Mixed_3b(x)), (3, 3, 3), (2, 2, 2))
        for block in (self.Mixed_4b, self.Mixed_4c, self.Mixed_4d, self.Mixed_4e, self.Mixed_4f):
            x = block(x)
        x = self.Mixed_5c(self.Mixed_5b(pooled(x, (2, 2, 2), (2, 2, 2))))
        return self.logits(functional.avg_pool3d(x, (2, 7, 7), 1)).mean((2, 3, 4))
