"""Pictures as numbers: to 8 bits and back, other sizes, side by side, and as text for the settings."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torch.nn import functional

from vitascope.types import Clip, UserError

FLOATS = ("float16", "float32", "float64")
SLACK = 1e-3
"""How far beyond [0, 1] numbers may lie that were rounded on their way."""


def to_bytes(pixels: Float[Tensor, "t 3 h w"]) -> UInt8[np.ndarray, "t h w 3"]:
    """Pixels as 8-bit numbers, in the order that files keep them."""
    return rearrange((pixels.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8), "t c h w -> t h w c").numpy()


def from_image(picture: Image.Image) -> UInt8[Tensor, "3 h w"]:
    """A picture upright and without transparency, whatever its mode; ValueError where no number means white."""
    if picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF"):
        raise ValueError("its numbers have no agreed white: save it with 8 bits")
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):  # 16 bits, which `convert` would cut off at 255
        upright = Image.fromarray((np.asarray(upright).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        if upright.getchannel("A").getextrema() != (255, 255):  # most animations could be transparent and are not
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, (0, 0, 0, 255)), upright)
    return rearrange(torch.from_numpy(np.array(upright.convert("RGB"))), "h w c -> c h w")


def as_picture(given: object, name: str = "the picture") -> Float[Tensor, "3 h w"]:
    """Any `Picture` as numbers from 0 to 1 in the order of torch; what is none is refused under its `name`."""
    if isinstance(given, Image.Image):
        try:
            return from_image(given).float() / 255
        except (ValueError, OSError, SyntaxError) as error:  # `Image.open` reads no further than the size
            raise UserError(f"{name} has pixels that cannot be read: {error}") from error
    came, pixels = f"a {type(given).__name__}", given
    if isinstance(given, Tensor | np.ndarray):
        came = f"{tuple(given.shape)} of {given.dtype}"
    if isinstance(given, np.ndarray) and given.ndim == 3 and given.dtype.name in ("uint8", *FLOATS):
        # Torch takes neither negative strides (channels turned round) nor the other order of bytes.
        numbers = np.ascontiguousarray(given, given.dtype.newbyteorder("="))
        pixels = rearrange(torch.tensor(numbers), "h w c -> c h w")
    if isinstance(pixels, Tensor) and pixels.ndim == 3 and len(pixels) == 3 and pixels.numel():
        if pixels.dtype == torch.uint8:
            return pixels.float() / 255
        if pixels.is_floating_point() and not (came := beyond(pixels)):
            return pixels.detach().float()
    raise UserError(
        f"{name} must be an image of PIL, or numbers from 0 to 1 (or uint8) as a tensor of 3 x height x width or a "
        f"NumPy array of height x width x 3, got {came}; vitascope.media.read_image(FILE) gives one"
    )


def beyond(pixels: Float[Tensor, "*_"]) -> str:
    """In words what the numbers of pixels are that lie not all from 0 to 1; nothing if they do."""
    low, high = (end.item() for end in pixels.detach().aminmax())  # of NaN both are NaN
    return "" if low >= -SLACK and high <= 1 + SLACK else f"numbers from {low:g} to {high:g}"


def resize(pixels: Float[Tensor, "*t 3 h w"], size: tuple[int, int]) -> Float[Tensor, "*t 3 height width"]:
    """Cut the middle out at the proportions of `size` (width, height), then scale it without aliasing."""
    width, height = size
    if min(width, height) < 1:
        raise UserError(f"a size must be at least 1x1 pixels, got {width}x{height}; give another size")
    old_height, old_width = pixels.shape[-2:]
    scale = min(old_width / width, old_height / height)
    cut_width, cut_height = max(1, round(width * scale)), max(1, round(height * scale))
    top, left = (old_height - cut_height) // 2, (old_width - cut_width) // 2
    cut = pixels[..., top : top + cut_height, left : left + cut_width]
    if (cut_width, cut_height) == size:
        return cut
    flat = cut.reshape(-1, 3, cut_height, cut_width)
    scaled = functional.interpolate(flat, (height, width), mode="bicubic", antialias=True)
    return scaled.clamp(0, 1).reshape(*pixels.shape[:-2], height, width)


def shrink(picture: UInt8[Tensor, "3 h w"], size: tuple[int, int] | None) -> UInt8[Tensor, "3 height width"]:
    """`resize` for bytes; as it came if `size` is None."""
    return picture if size is None else (resize(picture.float() / 255, size) * 255).round().to(torch.uint8)


def filmstrip(clip: Clip, num: int = 8) -> Float[Tensor, "3 h w"]:
    """`num` frames of the clip side by side, evenly spread from the first to the last."""
    numbers = torch.linspace(0, clip.num_frames - 1, min(num, clip.num_frames)).round().long()
    return grid(list(clip.pixels[numbers]), columns=len(numbers), gap=1)


def contact_sheet(
    clips: Sequence[Clip], columns: int = 4, labels: Sequence[str] | None = None, *, num: int = 4
) -> Float[Tensor, "3 h w"]:
    """One picture of many clips, each a filmstrip of `num` frames, with its label below."""
    cells = [filmstrip(clip, num) for clip in clips]
    if labels is not None:
        cells = [torch.cat([cell, _label(text, cell.shape[-1])], 1) for cell, text in zip(cells, labels, strict=True)]
    return grid(cells, columns)


def grid(pictures: Sequence[Float[Tensor, "3 _h _w"]], columns: int, gap: int = 4) -> Float[Tensor, "3 h w"]:
    """Pictures in rows of `columns` on white, each at the top left of its cell."""
    columns, rows = min(columns, len(pictures)), math.ceil(len(pictures) / columns)
    height, width = (max(picture.shape[dim] for picture in pictures) + gap for dim in (1, 2))
    sheet = torch.ones(3, rows * height - gap, columns * width - gap)  # white
    for number, picture in enumerate(pictures):
        top, left = number // columns * height, number % columns * width
        sheet[:, top : top + picture.shape[1], left : left + picture.shape[2]] = picture
    return sheet


def mosaic(clips: Sequence[Clip], columns: int = 4, gap: int = 4) -> Clip:
    """Clips that play side by side, at the pace of the first; one that has ended stays at its last frame."""
    if not clips:
        raise UserError("a mosaic needs at least one clip, got none")
    length = max(clip.num_frames for clip in clips)
    frames = [
        grid([clip.pixels[min(number, clip.num_frames - 1)] for clip in clips], columns, gap)
        for number in range(length)
    ]
    return Clip(torch.stack(frames), clips[0].fps)


def _label(text: str, width: int) -> Float[Tensor, "3 h w"]:
    font, lines = ImageFont.load_default(11), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width else [*lines, word]
    strip = Image.new("RGB", (width, 13 * len(lines) + 4), "white")
    ImageDraw.Draw(strip).multiline_text((0, 0), "\n".join(lines), "black", font, spacing=2)
    return from_image(strip).float() / 255


def picture_to_base64png(picture: Float[Tensor, "3 h w"]) -> str:
    """A picture as text for the settings: exact if it came from a file, else rounded to multiples of 1/255."""
    file = io.BytesIO()
    Image.fromarray(to_bytes(picture[None])[0]).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def picture_from_base64png(text: str) -> Float[Tensor, "3 h w"]:
    """The picture that `picture_to_base64png` made a text of."""
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=("PNG",)) as picture:
        return from_image(picture).float() / 255
