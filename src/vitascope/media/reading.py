"""Files into clips and pictures: any video or image in; what is damaged or no video says so."""

from __future__ import annotations

import math
import sys
from bisect import bisect
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import Colorspace
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import Field
from torch import Tensor

from vitascope.config import Config, Count
from vitascope.media.pictures import from_image, shrink
from vitascope.media.writing import EXACT, EXIF_DESCRIPTION, LEAST_FPS, MOST_FPS
from vitascope.types import Clip, UserError

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")  # not EPS: it would start Ghostscript
# Of FFmpeg's, so that a play list is none, whatever its name.
VIDEO_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,ivf,nut,yuv4mpegpipe"
VIDEO_ENDINGS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".flv", ".ogv", ".asf", ".wmv",
    ".ivf", ".nut", ".y4m", ".3gp", ".gif",
)  # fmt: skip
"""By which a folder's videos are found. A webp may be either, a video or a picture, and is not among them."""
UNREADABLE = (av.FFmpegError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


class Note(Config, extra="ignore"):
    """What `write` says of a clip inside its file, as it must be to be believed."""

    vitascope: Count
    caption: str
    fps: float = Field(ge=LEAST_FPS, le=MOST_FPS)
    num_frames: Count
    size: tuple[Count, Count]
    settings: dict[str, Any]


def read_video(path: str | Path, *, num_frames: int | None = None, size: tuple[int, int] | None = None) -> Clip:
    """Read a video, or only its first `num_frames`; `size` (width, height) crops and shrinks each, to save memory."""
    return _read(_existing(path, "a video"), num_frames, size, math.inf)


def read_end(path: str | Path, seconds: float, size: tuple[int, int]) -> Clip:
    """Read the last frame of a video and those of so many `seconds` before it, of `size`, in memory for no more."""
    return _read(_existing(path, "a video"), None, size, seconds)


def _read(path: Path, num_frames: int | None, size: tuple[int, int] | None, seconds: float) -> Clip:
    try:
        picture = Image.open(path, formats=PICTURE_FORMATS)
    except UNREADABLE:
        return _read_container(path, num_frames, size, seconds)
    with picture:
        clip = _read_animation(picture, path, num_frames, size)
    return replace(clip, pixels=clip.pixels[-min(_num_kept(seconds, clip.fps), clip.num_frames) :])


def _num_kept(seconds: float, fps: float) -> int:
    return sys.maxsize if math.isinf(seconds) else 1 + math.ceil(seconds * fps)


def _open(path: Path) -> av.container.InputContainer:
    # FFmpeg "plays" text files as a terminal and play lists as what they point to, other files and addresses: neither
    # is a video, whatever its name.
    options = {"protocol_whitelist": "file", "format_whitelist": VIDEO_FORMATS}
    container = av.open(f"file:{path}", options=options)
    if not container.streams.video:
        container.close()
        raise UserError(f"'{path}' holds no video ({container.format.long_name}); give an mp4, webm or mkv")
    return container


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video while it is read; turning it into pixels costs several times its decoding."""

    picture: av.VideoFrame | UInt8[Tensor, "3 h w"]
    note: Mapping[str, Any]
    fps: float
    seconds: float | None  # when it is shown, if the file says so
    path: Path

    def pixels(self) -> UInt8[Tensor, "3 h w"]:
        try:
            return self.picture if isinstance(self.picture, Tensor) else _from_frame(self.picture, self.note)
        except UNREADABLE as error:
            raise UserError(f"'{self.path}' has colours that cannot be read ({_why(error)}); convert it") from error


def read_frames(path: str | Path) -> Iterator[Frame]:
    """The frames of a video one after the other, for what is too long for memory. Damage is told where it is met."""
    path = _existing(path, "a video")
    if not _is_picture(path):
        yield from _container_frames(path)
        return
    clip = read_video(path)
    note = {"caption": clip.caption}
    for number, pixels in enumerate(clip.pixels):
        yield Frame((pixels * 255).round().to(torch.uint8), note, clip.fps, number / clip.fps, path)


def count_frames(path: str | Path) -> int:
    """How many frames a video seems to hold, without decoding it: `read_frames` may find fewer."""
    path = _existing(path, "a video")
    try:
        if _is_picture(path):
            with Image.open(path, formats=PICTURE_FORMATS) as picture:
                return max(int(getattr(picture, "n_frames", 1)), _note_of(picture).get("num_frames", 1))
        with _open(path) as container:
            return sum(bool(packet.size) for packet in container.demux(container.streams.video[0]))
    except UNREADABLE as error:
        raise UserError(f"'{path}' is damaged or no video ({_why(error)}); give an mp4, webm or mkv") from error


def _is_picture(path: Path) -> bool:
    try:
        Image.open(path, formats=PICTURE_FORMATS).close()
    except UNREADABLE:
        return False
    return True


def _container_frames(path: Path) -> Generator[Frame, None, None]:
    end, num_read = 0.0, 0
    try:
        with _open(path) as container:
            stream, note = container.streams.video[0], _parse(container.metadata.get("comment"))
            stream.thread_type = "AUTO"
            fps = float(stream.average_rate or stream.guessed_rate or 25)
            for packet in container.demux():
                end = max(end, ((packet.pts or 0) + (packet.duration or 0)) * float(packet.time_base or 0))
                for frame in stream.decode(packet) if packet.stream is stream else ():
                    if frame.is_corrupt:
                        raise UserError(f"'{path}' is damaged at frame {num_read}; copy or download it again")
                    yield Frame(frame, note, fps, frame.time, path)
                    num_read += 1
            # Sound counts, as it may last longer; the stated number of frames does not: editors hide frames.
            stated = (container.duration or 0) / av.time_base
    except UNREADABLE as error:
        raise UserError(f"'{path}' is damaged or no video ({_why(error)}); give an mp4, webm or mkv") from error
    if end < stated - 1.5 / fps:
        raise UserError(f"'{path}' ends after {end:.2f} of {stated:.2f} seconds; copy or download it again")


def _read_container(path: Path, num_frames: int | None, size: tuple[int, int] | None, seconds: float) -> Clip:
    frames: list[UInt8[Tensor, "3 h w"]] = []
    late: deque[Frame] = deque()  # of an end, most frames are forgotten again and never turned into pixels
    last: Frame | None = None
    with closing(_container_frames(path)) as every:
        for last in every:
            if math.isfinite(seconds):
                late.append(last)
                if len(late) > _num_kept(seconds, last.fps):
                    late.popleft()
            else:
                frames.append(shrink(last.pixels(), size))
            if num_frames is not None and len(frames) >= num_frames:
                break
    frames += [shrink(frame.pixels(), size) for frame in late]
    return _clip(frames, last.fps if last else 25.0, last.note if last else {}, path)


def to_rgb(frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a frame as they lie in the file, not turned."""
    # Untagged colours: the same guess as the common players make.
    untagged = frame.colorspace == 2
    source = (Colorspace.ITU709 if frame.height > 576 else Colorspace.ITU601) if untagged else None
    return frame.reformat(format="rgb24", src_colorspace=source, interpolation=EXACT).to_ndarray()


def _from_frame(frame: av.VideoFrame, note: Mapping[str, Any]) -> UInt8[Tensor, "3 h w"]:
    pixels = torch.from_numpy(to_rgb(frame))
    width, height = note.get("size", (frame.width, frame.height))
    if (width + width % 2, height + height % 2) == (frame.width, frame.height):
        pixels = pixels[:height, :width]  # without the padding of `_mp4`
    return torch.rot90(rearrange(pixels, "h w c -> c h w"), round(frame.rotation / 90), dims=(1, 2))


def _read_animation(picture: Image.Image, path: Path, num_frames: int | None, size: tuple[int, int] | None) -> Clip:
    try:
        note, images, seconds = _note_of(picture), [], []
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            images.append(shrink(from_image(picture), size))
            seconds.append(picture.info.get("duration", 0) / 1000)
    except UNREADABLE as error:
        raise UserError(f"'{path}' is damaged ({_why(error)}); copy or download it again") from error
    fps = len(images) / (sum(seconds) or len(images) / 8)
    if note and abs(sum(seconds) - note["num_frames"] / note["fps"]) < 0.02:
        # The encoders keep equal neighbours as one long frame; the note knows how many there were.
        fps, ends = note["fps"], list(accumulate(seconds))
        last = len(images) - 1  # of quick ones a file may end before they do, by the rounding of its times
        images = [images[min(bisect(ends, (number + 0.5) / fps), last)] for number in range(note["num_frames"])]
    return _clip(images[:num_frames], fps, note, path)


def _clip(frames: list[UInt8[Tensor, "3 h w"]], fps: float, note: Mapping[str, Any], path: Path) -> Clip:
    if not frames:
        raise UserError(f"'{path}' holds no frame; give a video of at least one")
    return Clip(torch.stack(frames).float().div_(255), fps, note.get("caption", ""), note.get("settings", {}))


def read_image(path: str | Path) -> Float[Tensor, "3 h w"]:
    """Read a picture upright, transparent parts over black; its values are multiples of 1/255."""
    path = _existing(path, "a picture")
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as picture:
            return from_image(picture).float() / 255
    except UNREADABLE as error:
        raise UserError(f"'{path}' is damaged or no picture ({_why(error)}); give a png, jpeg or webp") from error


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings that `write` put into the file."""
    path = _existing(path, "a file written by vitascope")
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as picture:
            note = _note_of(picture)
    except UNREADABLE:
        try:
            with _open(path) as container:
                note = _parse(container.metadata.get("comment"))
        except UNREADABLE as error:
            raise UserError(f"'{path}' is damaged or no clip ({_why(error)}); give what vitascope wrote") from error
    if not isinstance(note.get("settings"), dict):
        raise UserError(f"'{path}' holds no settings of vitascope: give a file as it wrote it, not one saved anew")
    return note["settings"]


def _note_of(picture: Image.Image) -> dict[str, Any]:
    comments = picture.info.get("Comment"), picture.info.get("comment"), picture.getexif().get(EXIF_DESCRIPTION)
    return next(filter(None, map(_parse, comments)), {})


def _parse(comment: str | bytes | None) -> dict[str, Any]:
    try:
        return Note.model_validate_json(comment or "{}").model_dump()
    except ValueError:
        return {}  # somebody else's comment


def _existing(path: str | Path, wanted: str) -> Path:
    path = Path(path)
    if not path.is_file():
        came = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise UserError(f"'{path}' must be {wanted}, but there is {came} of that name; check the path")
    return path


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
