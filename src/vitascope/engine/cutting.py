"""The task that cuts clips out of one file, in a process of its own."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vitascope.engine.config import Cutting
from vitascope.engine.decoding import NotAVideo, open_video, pictures
from vitascope.engine.executors import Pulse
from vitascope.engine.keys import content_key
from vitascope.engine.lateness import check
from vitascope.engine.pieces import Piece
from vitascope.media.writing import add_h264, make_folder, replace_file, to_yuv


@dataclass(frozen=True)
class CutTask:
    """Pieces of one file, each of which becomes the clip that it names. `content`: what was measured.

    It may stand still for `seconds`; if it did so before, `late` says it.
    """

    path: Path
    content: str
    work: Path
    settings: Cutting
    fps: float
    pieces: tuple[Piece, ...]
    seconds: float
    late: Path


def clip_path(work: Path, key: str) -> Path:
    return work / "clips" / f"{key}.mp4"


def cut_file(task: CutTask) -> None:
    """Write every clip that is not there yet; each frame is decoded once."""
    check(task.late)
    wanted = [piece for piece in task.pieces if not clip_path(task.work, piece.clip).is_file()]
    if wanted:
        make_folder(task.work / "clips")
        _cut(task, wanted)


def _cut(task: CutTask, wanted: Sequence[Piece]) -> None:
    pulse = Pulse(task.seconds)
    if content_key(task.path, pulse.beat) != task.content:
        raise NotAVideo("is another file than when it was measured")
    container, video = open_video(task.path)
    waiting = sorted(wanted, key=lambda piece: piece.start)
    writer: _Writer | None = None
    with container:
        for number, picture in enumerate(pictures(container, video)):
            pulse.beat()  # all of it could be read before: however long it is, it takes what it takes
            if writer is None:
                if not waiting:
                    return
                if number == waiting[0].start:
                    writer = _Writer(task, waiting[0], picture.seconds)
            if writer is not None:
                writer.add(picture.rgb(), picture.seconds, is_even=not video.is_variable)
                if number == waiting[0].stop - 1:
                    replace_file(clip_path(task.work, waiting.pop(0).clip), writer.close())
                    writer = None
    if waiting:
        raise NotAVideo("ended earlier than when it was measured")


class _Writer:
    """One clip on its way into memory: of even size and with frames at even times."""

    def __init__(self, task: CutTask, piece: Piece, begun: float) -> None:
        self.crop, self.begun, self.fps, self.settings = piece.crop, begun, task.fps, task.settings
        self.file, self.num = io.BytesIO(), 0
        self.container = av.open(self.file, "w", format="mp4")
        self.stream: av.VideoStream | None = None

    def add(self, pixels: np.ndarray, seconds: float, *, is_even: bool) -> None:
        top, bottom, left, right = self.crop
        height, width = pixels.shape[0] - top - bottom, pixels.shape[1] - left - right
        # 4:2:0 needs even sides: an odd last row or column goes.
        inside = np.ascontiguousarray(pixels[top : top + height - height % 2, left : left + width - width % 2])
        if self.stream is None:
            if not inside.size:
                raise NotAVideo("a clip needs two rows and two columns")
            rate = Fraction(self.fps).limit_denominator(1001)
            options = {"crf": str(self.settings.crf), "preset": self.settings.preset}
            self.stream = add_h264(self.container, rate, (inside.shape[1], inside.shape[0]), options)
        # Where the rate varies a frame is shown as often as its time asks for.
        times = 1 if is_even else max(0, round((seconds - self.begun) * self.fps) + 1 - self.num)
        for _ in range(times):
            self.container.mux(self.stream.encode(to_yuv(inside)))
        self.num += times

    def close(self) -> bytes:
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))
        self.container.close()
        return self.file.getvalue()
