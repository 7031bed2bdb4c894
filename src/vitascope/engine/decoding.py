"""Frames of any video file in order, each decoded once; what is damaged says how far it could be read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import UInt8

from vitascope.media.reading import VIDEO_FORMATS, to_rgb

FORMATS = VIDEO_FORMATS + ",gif"
EIGHT_BIT_PLANAR = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray"}
FULL_RANGE = 2  # of av.VideoFrame.color_range
STATED_RATE_HOLDS = 0.005  # of it: time stamps in milliseconds make no better one
MOST_PIXELS = 16384 * 16384


class NotAVideo(Exception):
    """A file that gives no frame; the message is the reason for which it is set aside."""


@dataclass
class Video:
    """What the container states, and, once the frames were read, what it really held."""

    path: Path
    width: int = 0
    height: int = 0
    fps: float = 0.0
    codec: str = ""
    pixel_format: str = ""
    rotation: int = 0  # degrees counter-clockwise by which frames are turned before they are shown
    has_audio: bool = False
    stated_frames: int = 0
    stated_seconds: float = 0.0
    num_frames: int = 0
    seconds: float = 0.0
    is_variable: bool = False  # the time between frames varies
    damage: str = ""  # why reading ended early; empty if it did not

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown."""
        return (self.height, self.width) if self.rotation % 180 else (self.width, self.height)


@dataclass(frozen=True)
class Picture:
    """One frame: its time in seconds, and its pixels when somebody asks."""

    seconds: float
    frame: av.VideoFrame
    quarter_turns: int
    scaler: VideoReformatter  # of all frames of a file: to prepare one costs more than to scale a frame

    def rgb(self) -> UInt8[np.ndarray, "h w 3"]:
        """At full size as shown."""
        return self._turned(to_rgb(self.frame))

    def measured(self, size: tuple[int, int]) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "half_h half_w 3"]]:
        """Brightness at `size` as shown, averaged over what each pixel covers, and BGR at half of it. Sides are even.

        Scaled as planes, colours at half the size: half the work of scaling pixels.
        """
        width, height = reversed(size) if self.quarter_turns % 2 else size
        scaled = self.scaler.reformat(self.frame, width, height, "yuv420p", interpolation=Interpolation.AREA)
        planes = np.empty((height * 3 // 2, width), np.uint8)  # one below the other, as OpenCV wants them
        planes[:height] = _plane(scaled, 0)
        for number, part in enumerate(planes[height:].reshape(2, height // 2, width // 2), 1):
            part[:] = _plane(scaled, number)
        grey = cv2.LUT(planes[:height], LIMITED_TO_FULL)
        colours = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)
        colours = cv2.resize(colours, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        return self._turned(grey), self._turned(colours)

    def luma(self) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "256"]]:
        """The brightness that the file keeps, at full size as shown, and what each of its values means, 0 to 255.

        No copy where the file keeps 8 bits.
        """
        if self.frame.format.name not in EIGHT_BIT_PLANAR:
            return self._turned(self.frame.reformat(format="gray").to_ndarray()), AS_IT_IS
        is_full = self.frame.color_range == FULL_RANGE or self.frame.format.name.startswith("yuvj")
        return self._turned(_plane(self.frame, 0)), AS_IT_IS if is_full else LIMITED_TO_FULL

    def _turned(self, picture: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(picture, self.quarter_turns)) if self.quarter_turns else picture


def _plane(frame: av.VideoFrame, number: int) -> UInt8[np.ndarray, "h w"]:
    """A plane of 8 bits without a copy: what it shows is gone with the frame."""
    plane = frame.planes[number]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


AS_IT_IS = np.arange(256, dtype=np.uint8)
LIMITED_TO_FULL = ((np.arange(256) - 16) * (255 / 219)).round().clip(0, 255).astype(np.uint8)


def open_video(path: Path) -> tuple[av.container.InputContainer, Video]:
    """A container that is ready to be read, by FFmpeg alone: no play list, no address, no device."""
    cv2.setNumThreads(1)  # processes, not threads, share the cores
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise NotAVideo(f"cannot be opened: {_why(error)}") from None
    if not container.streams.video:
        has_audio = bool(container.streams.audio)
        container.close()
        raise NotAVideo("holds sound but no video" if has_audio else "holds no video")
    stream = container.streams.video[0]
    try:
        context = stream.codec_context
        context.thread_count = 1
        width, height, pixel_format = context.width, context.height, context.pix_fmt or ""
        codec = context.name
    except AttributeError:  # FFmpeg knows the container and not the codec
        container.close()
        raise NotAVideo("its codec is unknown") from None
    if width * height > MOST_PIXELS:
        container.close()
        raise NotAVideo(f"states frames of {width}x{height} pixels")
    rate = stream.average_rate or stream.guessed_rate
    video = Video(
        path, width, height, float(rate) if rate else 25.0, codec, pixel_format,
        has_audio=bool(container.streams.audio), stated_frames=stream.frames,
        stated_seconds=_stated_seconds(container, stream),
    )  # fmt: skip
    return container, video


def _stated_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def pictures(container: av.container.InputContainer, video: Video) -> Iterator[Picture]:
    """Every frame in order; fills in what `video` could not know before; ends, with `damage` set, at a fault."""
    stream = container.streams.video[0]
    first, last, gaps, scaler = math.nan, -math.inf, _Gaps(), VideoReformatter()
    try:
        for frame in container.decode(stream):
            if frame.is_corrupt:
                video.damage = f"damaged at frame {video.num_frames}"
                break
            if not video.num_frames:
                video.rotation = round(frame.rotation / 90) % 4 * 90
                video.width, video.height, video.pixel_format = frame.width, frame.height, frame.format.name
            elif (frame.width, frame.height) != (video.width, video.height):
                video.damage = f"another size from frame {video.num_frames} on"
                break
            stated: float | None = frame.time
            time = last + 1 / video.fps if stated is None and video.num_frames else (stated or 0.0)
            if video.num_frames:
                gaps.add(time - last)
            else:
                first = time
            last = time
            yield Picture(time - first, frame, video.rotation // 90, scaler)
            video.num_frames += 1
    except (av.FFmpegError, OSError, ValueError) as error:
        if not video.num_frames:
            raise NotAVideo(f"no frame can be decoded: {_why(error)}") from None
        video.damage = f"damaged after frame {video.num_frames}: {_why(error)}"
    if not video.num_frames:
        raise NotAVideo("holds no frame")
    video.is_variable = gaps.vary
    if gaps.num and gaps.total > 0 and abs(gaps.num / gaps.total / video.fps - 1) > STATED_RATE_HOLDS:
        video.fps = gaps.num / gaps.total
    video.seconds = last - first + 1 / video.fps
    short = video.stated_seconds - video.seconds
    if not video.damage and video.stated_seconds and short > max(1.5 / video.fps, 0.1):
        video.damage = f"ends after {video.seconds:.2f} of {video.stated_seconds:.2f} seconds"
    if not video.damage and video.num_frames < 0.9 * video.stated_frames:
        # Not an exact check: edit lists hide frames that the container counts.
        video.damage = f"holds {video.num_frames} of {video.stated_frames} frames"


class _Gaps:
    """Times between frames, summed up as they come."""

    def __init__(self) -> None:
        self.num, self.total, self.least, self.most = 0, 0.0, math.inf, 0.0

    def add(self, gap: float) -> None:
        self.num, self.total = self.num + 1, self.total + gap
        self.least, self.most = min(self.least, gap), max(self.most, gap)

    @property
    def vary(self) -> bool:
        """By more than the rounding of time stamps to milliseconds, which some containers do, explains."""
        return bool(self.num) and self.most - self.least > max(0.0021, 0.1 * self.total / self.num)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
