"""The task that measures one file, in a process of its own: one pass, in which each frame is decoded once.

What later stages need is written down and kept. Rows go to disk as they come, so that the memory does not grow with the
length of the video.
"""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
from jaxtyping import UInt8

from vitascope.engine.camera import Camera, Flow
from vitascope.engine.config import Measuring
from vitascope.engine.decoding import NotAVideo, Picture, Video, open_video, pictures
from vitascope.engine.executors import Pulse, TookTooLong
from vitascope.engine.keys import content_key, key_of
from vitascope.engine.lateness import check, note_of
from vitascope.engine.looking import SQUARE, look, picture_hashes, square_of
from vitascope.media.writing import replace_file

THUMB = (12, 16, 3)  # rows, columns, channels
FRAME = np.dtype(
    [("seconds", "f8")]
    + [(name, "f4") for name in ("content", "change", "light", "detail")]
    + [("hash", "u8"), ("thumb", "u1", THUMB)]
)
SAMPLE = np.dtype(
    [("frame", "i4"), ("gap", "i4")]
    + [(name, "f4") for name in ("dx", "dy", "zoom", "turn", "camera", "objects", "total")]
    + [(name, "i4") for name in ("top", "bottom", "left", "right")]
    + [(name, "f4") for name in ("clarity", "under", "over", "text")]
)
ROWS_AT_ONCE = 256
WAY = "measuring, version 3"
"""Part of the name of what was measured: to be changed when the same settings shall give other rows."""

FACTS = (
    "width", "height", "fps", "codec", "pixel_format", "rotation", "has_audio", "stated_frames", "stated_seconds",
    "num_frames", "seconds", "is_variable", "damage",
)  # fmt: skip


@dataclass(frozen=True)
class MeasureTask:
    path: Path
    work: Path
    settings: Measuring


def measure_file(task: MeasureTask) -> dict[str, Any]:
    """The facts of a file; its rows lie beside them in the work folder. Raises NotAVideo."""
    try:
        if not task.path.stat().st_size:
            raise NotAVideo("is empty")
        key = content_key(task.path, Pulse(task.settings.most_seconds).beat)
    except OSError as error:
        raise NotAVideo(f"cannot be read: {error.strerror}") from None
    stem = stem_of(task.work, key, task.settings)
    check(note_of(task.work, task.settings, stem.name))
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
    free = {"most_seconds": 1.0, "most_share": 1.0, "most_megabytes": 1}
    return work / "measured" / f"{key}-{key_of(settings.model_copy(update=free), FRAME, WAY)[:8]}"


def rows_of(stem: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frames, left on the disk until they are looked at, and samples."""
    return np.memmap(stem.with_suffix(".frames"), FRAME, "r"), np.load(stem.with_suffix(".npy"))


def measure(path: Path, settings: Measuring, frames_file: io.BufferedIOBase) -> tuple[Video, np.ndarray]:
    """Decode `path` from end to end; a row for each frame goes to the file, rows of closer looks come back."""
    container, video = open_video(path)
    with container:
        rows = _rows(pictures(container, video), video, settings)
        samples: list[tuple[float | int, ...]] = []
        looks: list[np.ndarray] = []
        block, squares = np.zeros(ROWS_AT_ONCE, FRAME), np.zeros((ROWS_AT_ONCE, SQUARE, SQUARE), np.uint8)
        filled = 0

        def write() -> None:
            block["hash"][:filled] = picture_hashes(squares[:filled])
            frames_file.write(block[:filled].tobytes())

        for row, square, sample in rows:
            block[filled], squares[filled], filled = row, square, filled + 1
            if sample is not None:
                samples.append(sample)
            if filled == ROWS_AT_ONCE:
                write()
                looks.append(np.array(samples, SAMPLE))  # tuples of a long film would take much more
                filled, samples = 0, []
        write()
    return video, np.concatenate([*looks, np.array(samples, SAMPLE)])


def _rows(
    shown: Iterator[Picture], video: Video, settings: Measuring
) -> Iterator[tuple[tuple, np.ndarray, tuple | None]]:
    """Of each frame its row without a hash, the square that its hash is made of, and, now and then, a closer look."""
    flow, begun, pulse = Flow(), time.process_time(), Pulse(settings.most_seconds)
    before: deque[UInt8[np.ndarray, "h w"]] = deque(maxlen=max(1, round(settings.flow_seconds * 240)))
    colours_before, due, gap, size = None, -math.inf, 1, (0, 0)
    for number, picture in enumerate(shown):
        if number == 0:
            size = _small_size(video.size, settings.small_pixels)
            gap = min(max(1, round(settings.flow_seconds * video.fps)), before.maxlen or 1)
        # By what was read and not by what the file states; of the processor, so that other work takes nothing from it.
        if time.process_time() - begun > settings.most_seconds + settings.most_share * picture.seconds:
            limits = f"measuring.most_seconds={settings.most_seconds:g} and most_share={settings.most_share:g}"
            raise TookTooLong(f"took longer than {limits} allow")
        pulse.beat()
        grey, small = picture.measured(size)
        colours = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
        content = 0.0 if colours_before is None else _distance(colours, colours_before)
        change = _distance(grey, before[-1]) if before else 0.0
        thumb = cv2.resize(small, (THUMB[1], THUMB[0]), interpolation=cv2.INTER_AREA)
        sample = None
        if len(before) >= gap and picture.seconds >= due - 1e-6:
            due = picture.seconds + 1 / settings.looks_per_second
            moved = flow.between(before[-gap], grey)
            scale = video.size[0] / size[0], video.size[1] / size[1]
            sample = number, gap, *_per_frame(moved, gap, scale), *astuple(look(*picture.luma(), settings.black_level))
        colours_before = colours
        before.append(grey)
        plain = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        told = picture.seconds, content, change, cv2.mean(grey)[0], _detail(plain), 0, thumb
        yield told, square_of(plain), sample


def _per_frame(moved: Camera, gap: int, scale: tuple[float, float]) -> tuple[float, ...]:
    """In pixels of the file for each frame."""
    dx, dy, zoom, turn, camera, objects, total = astuple(moved)
    across, down = scale[0] / gap, scale[1] / gap
    by = math.sqrt(across * down)
    return dx * across, dy * down, zoom ** (1 / gap), turn / gap, camera * by, objects * by, total * by


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference; over hue, saturation and value it is PySceneDetect's content score."""
    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size


def _detail(grey: UInt8[np.ndarray, "h w"]) -> float:
    """Energy of what is fine: mean square of the step from a pixel to the next."""
    steps = cv2.norm(grey[1:], grey[:-1], cv2.NORM_L2SQR) + cv2.norm(grey[:, 1:], grey[:, :-1], cv2.NORM_L2SQR)
    return steps / grey.size


def _small_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size)) / 2
    return max(8, 2 * round(size[0] * scale)), max(8, 2 * round(size[1] * scale))
