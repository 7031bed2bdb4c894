"""Small videos whose every frame tells its number, and folders of them."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope import media
from vitascope.types import Clip

STEP = 4  # of brightness between two frames, enough to survive a codec


def film(num_frames: int, size: tuple[int, int] = (48, 32), tint: int = 0, fps: float = 24.0) -> Clip:
    """Frame n is n steps bright in the channel `tint` and holds a gradient from left to right in the next."""
    pixels = torch.zeros(num_frames, 3, size[1], size[0])
    pixels[:, tint % 3] = (torch.arange(num_frames) * STEP / 255)[:, None, None]
    pixels[:, (tint + 1) % 3] = torch.linspace(0.2, 0.8, size[0])
    return Clip(pixels, fps)


def numbers_of(pixels: Float[Tensor, "t 3 h w"], tint: int = 0) -> list[int]:
    """The numbers that frames of a film tell."""
    return [round(float(frame[tint % 3].mean()) * 255 / STEP) for frame in pixels]


def shoot(folder: Path) -> Path:
    """Four videos of several sizes, paces and lengths, and a picture, with texts beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    films = (
        ("wide", 60, (64, 32), 24.0),
        ("tall", 50, (32, 64), 24.0),
        ("slow", 40, (48, 48), 8.0),
        ("short", 9, (48, 32), 24.0),
    )
    for number, (name, frames, size, fps) in enumerate(films):
        media.write(film(frames, size, number, fps), folder / f"{name}.mp4")
        (folder / f"{name}.txt").write_text(f"a {name} film\nthe film that is {name}\n")
    media.write(film(1, (40, 32)), folder / "still.png")
    (folder / "still.txt").write_text("a picture to the left\n")
    return folder
