"""Clips into files: mp4, gif, webp and png, whole or not at all, with the settings inside."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin
from torch import Tensor

from vitascope.atomic import replacing
from vitascope.media.pictures import beyond, grid, to_bytes
from vitascope.types import Clip, UserError

LEAST_FPS, MOST_FPS = 0.01, 1000  # beyond these some format loses its time
EXIF_DESCRIPTION = 0x010E
# Without these flags swscale takes short cuts that blur colours and differ from one processor to the next.
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


def write(clip: Clip, path: str | Path, *, force: bool = False) -> None:
    """Write mp4, gif, webp or png, by the ending of `path`, whole or not at all; what exists is kept unless `force`."""
    check_destination(path, force=force)
    replace_file(path, encode(clip, Path(path).suffix))


def check_destination(path: str | Path, *, force: bool = False) -> None:
    """Raise what `write` would raise about `path`: cheap, so that nobody waits for a clip that cannot be kept."""
    path = Path(path)
    if path.suffix.lower() not in ENCODERS:
        raise UserError(f"the ending of '{path}' must be one of {', '.join(ENCODERS)}, got '{path.suffix}'; rename it")
    check_free(path, force=force)


def check_free(path: str | Path, *, force: bool = False) -> None:
    """Refuse a file that exists, unless `force`, and a folder in which nothing can be written."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"'{path}' is a folder; name a file in it")
    if path.exists() and not force:
        raise UserError(
            f"'{path}' exists already and is kept; pass --force (in Python force=True) to replace it, "
            "or choose another name"
        )
    if not path.parent.is_dir():
        raise UserError(f"the folder '{path.parent}' does not exist; create it, or choose another one")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"nothing can be written in '{path.parent}': no permission; choose another folder")


def folder_for_many(out: Path, of: str) -> Path:
    """`out` as the folder of many files, which `of` makes: a name with a video's ending was surely meant for one."""
    if out.suffix.lower() in ENCODERS and not out.is_dir():
        raise UserError(f"{of} makes many files and --out is then their folder, got '{out}'; leave the ending out")
    return out


def make_folder(path: str | Path) -> None:
    """A folder to write in, and those that it lies in; one that is there is left alone."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder '{path}' cannot be made ({error.strerror}); choose another place") from None


def replace_file(path: str | Path, content: bytes) -> None:
    """Put `content` at `path` in one step: a full disk or a kill leaves what was there before."""
    path = Path(path)
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"'{path}' needs {len(content):,} bytes and could not be written: {error.strerror}; choose another place"
        ) from error


def encode(clip: Clip, ending: str) -> bytes:
    """The file that `write` would write, for an ending such as ".mp4"."""
    _check_pixels(clip.pixels)
    if not LEAST_FPS <= clip.fps <= MOST_FPS:
        raise UserError(f"a file needs from {LEAST_FPS:g} to {MOST_FPS:g} fps, got {clip.fps}")
    note = {"vitascope": 1, "caption": clip.caption, "fps": clip.fps, "num_frames": clip.num_frames, "size": clip.size}
    note["settings"] = clip.settings
    try:
        return ENCODERS[ending.lower()](clip, json.dumps(note, default=dict))  # default: read-only mappings
    except (av.FFmpegError, OSError, RuntimeError) as error:  # RuntimeError: Pillow's WebP
        raise UserError(f"{clip.size[0]}x{clip.size[1]} pixels do not fit into {ending}: {error}; try png") from error


def _check_pixels(pixels: object) -> None:
    """Refuse what would become a video of something else, such as bytes, which are all white as shares of 1."""
    if not isinstance(pixels, Tensor):
        came = f"a {type(pixels).__name__}"
    elif pixels.ndim != 4 or pixels.shape[1] != 3 or not pixels.numel() or not pixels.is_floating_point():
        came = f"{tuple(pixels.shape)} of {pixels.dtype}"
    else:
        came = beyond(pixels)
    if came:
        raise UserError(
            "the pixels of a clip must be a tensor of frames x 3 x height x width floating-point numbers from 0 to 1, "
            f"got {came}; turn them into that (bytes: pixels / 255)"
        )


def _mp4(clip: Clip, note: str) -> bytes:
    # 4:2:0 is what every player plays. It needs even sides: an odd one repeats its last row, `read_video` drops it.
    width, height = clip.size
    frames = np.pad(to_bytes(clip.pixels), ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rate = Fraction(clip.fps).limit_denominator(1001)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["comment"] = note
        stream = add_h264(container, rate, (frames.shape[2], frames.shape[1]), {"crf": "12"})
        for frame in frames:
            container.mux(stream.encode(to_yuv(frame)))
        container.mux(stream.encode(None))
    return file.getvalue()


def add_h264(
    container: av.container.OutputContainer, rate: Fraction, size: tuple[int, int], options: dict[str, str]
) -> av.VideoStream:
    """A stream of even `size` (width, height) whose bytes are the same on every machine, with its colours stated."""
    # A key frame each second makes seeking exact and quick; x264's mbtree gives other bytes now and then.
    fixed = {"g": str(max(1, round(rate))), "x264-params": "mbtree=0"}
    stream = container.add_stream("libx264", rate=rate, options={**options, **fixed})
    stream.width, stream.height = size
    context = stream.codec_context
    context.pix_fmt, context.thread_count = "yuv420p", 1  # the bytes may not depend on the number of cores
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def to_yuv(pixels: UInt8[np.ndarray, "h w 3"]) -> av.VideoFrame:
    """RGB as `add_h264` takes it."""
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, interpolation=EXACT
    )


def _gif(clip: Clip, note: str) -> bytes:
    width, height = clip.size
    every = Image.fromarray(rearrange(to_bytes(clip.pixels), "t h w c -> (t h) w c"))
    # One palette for all frames and no dithering: otherwise still things shimmer.
    indexed = every.quantize(256, dither=Image.Dither.NONE)
    first, *rest = [indexed.crop((0, top, width, top + height)) for top in range(0, every.height, height)]
    file, shown = io.BytesIO(), _durations(clip, unit=10)
    first.save(file, "GIF", save_all=True, append_images=rest, duration=shown, loop=0, comment=note.encode())
    return file.getvalue()


def _webp(clip: Clip, note: str) -> bytes:
    first, *rest = [Image.fromarray(frame) for frame in to_bytes(clip.pixels)]
    exif = Image.Exif()
    exif[EXIF_DESCRIPTION] = note
    file, shown = io.BytesIO(), _durations(clip, unit=1)
    first.save(file, "WEBP", save_all=True, append_images=rest, duration=shown, loop=0, lossless=True, exif=exif)
    return file.getvalue()


def _png(clip: Clip, note: str) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", note)
    file, sheet = io.BytesIO(), grid(list(clip.pixels), columns=math.ceil(math.sqrt(clip.num_frames)))
    Image.fromarray(to_bytes(sheet[None])[0]).save(file, "PNG", pnginfo=text)
    return file.getvalue()


def _durations(clip: Clip, unit: int) -> list[int]:
    """Milliseconds that each frame is shown, in multiples of `unit`, without the rounding adding up."""
    ends = [round(1000 / unit * number / clip.fps) * unit for number in range(clip.num_frames + 1)]
    return [end - start for start, end in pairwise(ends)]


ENCODERS: dict[str, Callable[[Clip, str], bytes]] = {".mp4": _mp4, ".gif": _gif, ".webp": _webp, ".png": _png}
