"""Files into frames: the facts of a file without decoding it, and a few of its frames, small."""

from __future__ import annotations

import bisect
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import torch
from av.stream import Disposition
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vitascope.media.pictures import from_image
from vitascope.media.reading import PICTURE_FORMATS, UNREADABLE, VIDEO_FORMATS
from vitascope.media.writing import EXACT
from vitascope.types import UserError

EXACT_MEANS = (EXACT & ~Interpolation.BICUBIC) | Interpolation.AREA
"""At half the size and below means of what a pixel covers are as good as bicubic weights, at a fraction of the time."""
WORTH_SEEKING = 10.0
"""Seconds without a wanted frame that are not decoded."""


@dataclass(frozen=True)
class Facts:
    """What a file shows, upright. A picture is one frame; its pace says nothing."""

    width: int
    height: int
    fps: float
    num_frames: int

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps


def probe(file: Path | bytes) -> Facts:
    """The facts of a video or picture. Frames are counted in the file, whatever its header says."""
    try:
        picture = Image.open(_stream(file), formats=PICTURE_FORMATS)
    except UNREADABLE:
        return _probe_video(file)
    try:
        with picture:
            return _probe_picture(picture)
    except UNREADABLE as error:
        raise UserError(f"damaged ({_why(error)})") from error


def _probe_picture(picture: Image.Image) -> Facts:
    num_frames, seconds = getattr(picture, "n_frames", 1), 0.0
    for number in range(num_frames):
        picture.seek(number)
        picture.load()  # before that some formats do not say how long
        seconds += picture.info.get("duration", 0) / 1000
    turned = picture.getexif().get(0x0112, 1) >= 5  # Orientation: on its side
    width, height = picture.size[::-1] if turned else picture.size
    return Facts(width, height, num_frames / seconds if seconds else 8.0, num_frames)


def _probe_video(file: Path | bytes) -> Facts:
    try:
        with av.open(_stream(file), "r", options={"format_whitelist": VIDEO_FORMATS}) as container:
            stream = _video(container)
            first = next(container.decode(stream), None)
            if first is None:
                raise UserError("holds no frame")
            container.seek(0, stream=stream)
            shown = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
            times = [packet.pts for packet in shown if packet.pts is not None]
            last = max((packet.pts + (packet.duration or 0) for packet in shown if packet.pts is not None), default=0)
            span = float((last - min(times, default=0)) * (stream.time_base or 0))
            stated = float(stream.average_rate or stream.guessed_rate or 25)
            # Without a duration of the last packet the span lacks one frame: then the header's pace is the better one.
            fps = len(shown) / span if span > 0 and all(packet.duration for packet in shown) else stated
            turned = round(first.rotation / 90) % 2
            width, height = (first.height, first.width) if turned else (first.width, first.height)
    except UNREADABLE as error:
        raise UserError(f"damaged or no video ({_why(error)})") from error
    return Facts(width, height, fps, max(len(shown), 1))


def read_frames(
    file: Path | bytes, facts: Facts, numbers: Sequence[int], size: tuple[int, int]
) -> UInt8[Tensor, "t 3 h w"]:
    """The frames of increasing `numbers`, each scaled to `size` (width, height).

    Of a file of varying pace a number stands for a moment: what is shown then.
    """
    moments = [(number + 0.5) / facts.fps for number in numbers]
    try:
        picture = Image.open(_stream(file), formats=PICTURE_FORMATS)
    except UNREADABLE:
        pass
    else:
        with picture:
            return _read_pictures(picture, moments, size, 1 / facts.fps)
    try:
        with av.open(_stream(file), "r", options={"format_whitelist": VIDEO_FORMATS}) as container:
            # Several files are read at once, each by a thread of its own.
            _video(container).codec_context.thread_count = 1
            runs = (moments[start:end] for start, end in pairwise(_jumps(moments)))
            return torch.stack([frame for run in runs for frame in _chosen(container, facts, run, size)])
    except UNREADABLE as error:
        raise UserError(f"damaged at {moments[0]:.2f} to {moments[-1]:.2f} seconds ({_why(error)})") from error


def _jumps(moments: Sequence[float]) -> list[int]:
    """Where to seek: at the first moment and after long pauses; and the number of moments."""
    pauses = (after - before for before, after in pairwise(moments))
    return [0, *(number + 1 for number, pause in enumerate(pauses) if pause > WORTH_SEEKING), len(moments)]


def _chosen(
    container: av.container.InputContainer, facts: Facts, moments: Sequence[float], size: tuple[int, int]
) -> Iterator[UInt8[Tensor, "3 h w"]]:
    """What is shown at each moment: the last frame that began before it."""
    stream = _video(container)
    tick = float(stream.time_base or 0)
    begun = (stream.start_time or 0) * tick
    waiting, shown, shown_until = list(moments), None, 0.0
    scaler = VideoReformatter()  # one for all frames: to prepare one costs more than to scale a frame
    for frame in _frames_from(container, stream, [begun + moment for moment in moments]):
        time = (frame.pts or 0) * tick - begun
        while waiting and shown is not None and time > waiting[0]:
            yield _scaled(shown, size, scaler)
            waiting.pop(0)
        if not waiting:
            return
        if frame.is_corrupt:
            raise UserError(f"damaged at {time:.2f} seconds")
        shown, shown_until = frame, time + 1.5 / facts.fps
    while waiting and shown is not None and waiting[0] < shown_until:
        yield _scaled(shown, size, scaler)
        waiting.pop(0)
    if waiting:
        raise UserError(f"ends at {shown_until:.2f} of {facts.seconds:.2f} seconds")


def _frames_from(
    container: av.container.InputContainer, stream: av.VideoStream, moments: Sequence[float]
) -> Iterator[av.VideoFrame]:
    """Frames from the last key frame before the first moment to after the last; where a format cannot seek, from the
    beginning. Frames that no moment and no other frame needs are not decoded."""
    ticks = [moment / float(stream.time_base or 1) for moment in moments]
    packets: list[av.Packet] = []
    with suppress(av.FFmpegError):
        container.seek(int(ticks[0]), stream=stream)
        packets = _packets_until(container, stream, ticks[-1])
    if not any(packet.pts is not None and packet.pts <= ticks[0] for packet in packets):
        container.seek(0, stream=stream)
        packets = _packets_until(container, stream, ticks[-1])
    yield from _decoded(stream, packets, ticks)


def _packets_until(container: av.container.InputContainer, stream: av.VideoStream, last: float) -> list[av.Packet]:
    """Packets in the order of decoding. One that is decoded later than `last` is shown later too."""
    packets = []
    for packet in container.demux(stream):
        packets.append(packet)
        if packet.dts is not None and packet.dts > last:
            break
    return packets


def _decoded(stream: av.VideoStream, packets: Sequence[av.Packet], ticks: Sequence[float]) -> Iterator[av.VideoFrame]:
    context, times = stream.codec_context, sorted(packet.pts for packet in packets if packet.pts is not None)
    # What is shown at each moment, and the frame that tells that the last one is over.
    places = [max(bisect.bisect_right(times, tick) - 1, 0) for tick in ticks]
    needed = {times[place] for place in [*places, min(places[-1] + 1, len(times) - 1)]} if times else set()
    is_timed = all(packet.pts is not None for packet in packets if packet.size)
    for packet in packets:
        context.skip_frame = "NONREF" if is_timed and packet.size and packet.pts not in needed else "DEFAULT"
        yield from packet.decode()
    if packets and packets[-1].size:
        yield from context.decode(None)  # what the decoder held back; seeking makes it forget that this is the end


def _scaled(frame: av.VideoFrame, size: tuple[int, int], scaler: VideoReformatter) -> UInt8[Tensor, "3 h w"]:
    turns = round(frame.rotation / 90)
    width, height = size[::-1] if turns % 2 else size
    # Untagged colours: the same guess as the common players make.
    source = (Colorspace.ITU709 if frame.height > 576 else Colorspace.ITU601) if frame.colorspace == 2 else None
    is_far = frame.width >= 2 * width and frame.height >= 2 * height
    means = EXACT_MEANS if is_far else EXACT
    small = scaler.reformat(frame, width, height, "rgb24", src_colorspace=source, interpolation=means)
    pixels = torch.from_numpy(small.to_ndarray()).permute(2, 0, 1)
    return torch.rot90(pixels, turns, dims=(1, 2)) if turns % 4 else pixels


def _read_pictures(
    picture: Image.Image, moments: Sequence[float], size: tuple[int, int], usual_seconds: float
) -> UInt8[Tensor, "t 3 h w"]:
    """What is shown at each moment; a frame that does not say for how long is shown for `usual_seconds`."""
    found, until, waiting = [], 0.0, list(moments)
    try:
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            picture.load()
            until += picture.info.get("duration", 0) / 1000 or usual_seconds
            while waiting and waiting[0] < until:
                found.append(_shrunk(from_image(picture), size))
                waiting.pop(0)
    except UNREADABLE as error:
        raise UserError(f"damaged ({_why(error)})") from error
    if waiting:
        raise UserError(f"ends at {until:.2f} seconds")
    return torch.stack(found)


def _shrunk(picture: UInt8[Tensor, "3 h w"], size: tuple[int, int]) -> UInt8[Tensor, "3 height width"]:
    return functional.interpolate(picture[None], size[::-1], mode="bicubic", antialias=True)[0]


def _stream(file: Path | bytes) -> str | io.BytesIO:
    return io.BytesIO(file) if isinstance(file, bytes) else str(file)


def _video(container: av.container.InputContainer) -> av.VideoStream:
    moving = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not moving:
        raise UserError(f"holds no video ({container.format.long_name})")
    return moving[0]


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
