"""Tasks on one file, each done in a process of its own: measure it, and cut clips out of it. Both keep what they made.

What was made is named after the content that it was made from and the settings that it depends on, so a run that was
killed goes on, and a threshold that a result does not depend on does not make it anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import av
import numpy as np

from vitascope.config import Config
from vitascope.engine.config import Cutting, Measuring
from vitascope.engine.decoding import NotAVideo, open_video, pictures
from vitascope.engine.measuring import FRAME, WAY, measure
from vitascope.media.reading import to_rgb
from vitascope.media.writing import add_h264, replace_file, to_yuv

FACTS = (
    "width", "height", "fps", "codec", "pixel_format", "rotation", "has_audio", "stated_frames", "stated_seconds",
    "num_frames", "seconds", "is_variable", "damage",
)  # fmt: skip


@dataclass(frozen=True)
class MeasureTask:
    path: Path
    work: Path
    settings: Measuring


@dataclass(frozen=True)
class CutTask:
    """Clips to cut out of one file: key, first frame, frame after the last, borders. `content`: what was measured."""

    path: Path
    content: str
    work: Path
    settings: Cutting
    fps: float
    clips: tuple[tuple[str, int, int, tuple[int, int, int, int]], ...]


def key_of(*parts: Any) -> str:
    """A name made of everything that a result depends on."""
    plain = [part.model_dump_json() if isinstance(part, Config) else repr(part) for part in parts]
    return hashlib.blake2b("\n".join(plain).encode(), digest_size=12).hexdigest()


def content_key(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def measure_file(task: MeasureTask) -> dict[str, Any]:
    """The facts of a file; its rows lie beside them in the work folder. Raises NotAVideo."""
    try:
        if not task.path.stat().st_size:
            raise NotAVideo("is empty")
        key = content_key(task.path)
    except OSError as error:
        raise NotAVideo(f"cannot be read: {error.strerror}") from None
    stem = stem_of(task.work, key, task.settings)
    if (before := _measured_before(stem, key)) is not None:
        return before
    stem.parent.mkdir(parents=True, exist_ok=True)
    part = stem.parent / f".{secrets.token_hex(6)}.part"
    try:
        with open(part, "wb") as rows:
            video, samples = measure(task.path, task.settings, rows)
        os.replace(part, stem.with_suffix(".frames"))
    finally:
        part.unlink(missing_ok=True)
    facts = {name: value for name, value in asdict(video).items() if name in FACTS}
    facts["width"], facts["height"] = video.size
    table = io.BytesIO()
    np.save(table, samples)
    replace_file(stem.with_suffix(".npy"), table.getvalue())
    record = {"key": key, **facts}
    replace_file(stem.with_suffix(".json"), json.dumps(record).encode())  # last: where it is, all is
    return record


def _measured_before(stem: Path, key: str) -> dict[str, Any] | None:
    """What an earlier run left, if all of it is there and whole."""
    try:
        record = json.loads(stem.with_suffix(".json").read_text())
        frames, _ = rows_of(stem)
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    is_whole = isinstance(record, dict) and record.keys() == {"key", *FACTS} and record["key"] == key
    return record if is_whole and record["num_frames"] == len(frames) else None


def stem_of(work: Path, key: str, settings: Measuring) -> Path:
    """Limits of time and memory do not change what comes out."""
    free = {"most_seconds": 1.0, "most_megabytes": 1}
    return work / "measured" / f"{key}-{key_of(settings.model_copy(update=free), FRAME, WAY)[:8]}"


def rows_of(stem: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frames, left on the disk until they are looked at, and samples."""
    return np.memmap(stem.with_suffix(".frames"), FRAME, "r"), np.load(stem.with_suffix(".npy"))


def clip_path(work: Path, key: str) -> Path:
    return work / "clips" / f"{key}.mp4"


def cut_file(task: CutTask) -> dict[str, Any]:
    """Write every clip that is not there yet; each frame is decoded once."""
    wanted = [clip for clip in task.clips if not clip_path(task.work, clip[0]).is_file()]
    if wanted:
        (task.work / "clips").mkdir(parents=True, exist_ok=True)
        _cut(task, wanted)
    return {clip[0]: clip_path(task.work, clip[0]).stat().st_size for clip in task.clips}


def _cut(task: CutTask, wanted: list[tuple[str, int, int, tuple[int, int, int, int]]]) -> None:
    if content_key(task.path) != task.content:
        raise NotAVideo("is another file than when it was measured")
    container, video = open_video(task.path)
    waiting = sorted(wanted, key=lambda clip: clip[1])
    writer: _Writer | None = None
    with container:
        for number, picture in enumerate(pictures(container, video)):
            if writer is None:
                if not waiting:
                    return
                if number == waiting[0][1]:
                    writer = _Writer(task, waiting[0], picture.seconds)
            if writer is not None:
                turned = np.rot90(to_rgb(picture.frame), picture.quarter_turns)
                writer.add(turned, picture.seconds, is_even=not video.is_variable)
                if number == waiting[0][2] - 1:
                    replace_file(clip_path(task.work, waiting[0][0]), writer.close())
                    writer = None
                    waiting.pop(0)
    if waiting:
        raise NotAVideo("ended earlier than when it was measured")


class _Writer:
    """One clip on its way into memory: of even size and with frames at even times."""

    def __init__(self, task: CutTask, clip: tuple[str, int, int, tuple[int, int, int, int]], begun: float) -> None:
        self.crop, self.begun, self.fps, self.settings = clip[3], begun, task.fps, task.settings
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
