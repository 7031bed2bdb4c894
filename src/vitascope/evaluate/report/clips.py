"""The best and the worst clips of a report, small enough to lie inside its page."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path

import av

from vitascope import media
from vitascope.evaluate.measured import Measured
from vitascope.media.pictures import shrink
from vitascope.media.writing import LEAST_FPS, MOST_FPS, add_h264, to_yuv
from vitascope.types import UserError

LONGEST_SIDE, MOST_FRAMES = 256, 64
MOST_CLIPS = 60
"""Of one run: a page of more is slow to open."""


def picks(measured: Sequence[Measured], num: int) -> dict[str, dict[str, list[str]]]:
    """By metric the `num` best and worst clips; what comes out equal is told apart by all that is a share of one.

    The first metrics go before the others where all their clips together would be too many.
    """
    chosen: dict[str, dict[str, list[str]]] = {}
    names: set[str] = set()
    shares = [one.videos for one in measured if one.videos and all(0 <= value <= 1 for value in one.videos.values())]

    def standing(name: str) -> float:
        values = [videos[name] for videos in shares if name in videos]
        return sum(values) / len(values) if values else 0.0

    for one in measured:
        each = sorted(one.videos, key=lambda name: (one.videos[name], standing(name), name), reverse=True)
        best, worst = each[:num], each[::-1][: max(0, min(num, len(each) - num))]
        if one.lower_is_better:
            best, worst = each[::-1][:num], each[: max(0, min(num, len(each) - num))]
        fresh = names | {*best, *worst}
        if best and len(fresh) <= MOST_CLIPS:
            names, chosen[one.metric] = fresh, {"best": best, "worst": worst}
    return chosen


def film(path: str | None, beside: Path) -> str | None:
    """The address of a clip that holds the clip itself: its beginning, shrunk; None where it cannot be read any more.

    `beside`: the folder of the report, from which the path may also lead.
    """
    found = next((place for place in (Path(path), beside / path) if place.is_file()), None) if path else None
    if found is None:
        return None
    try:
        content = _preview(found)
    except (UserError, av.FFmpegError, OSError):
        return None
    return f"data:video/mp4;base64,{base64.b64encode(content).decode()}"


def _preview(path: Path) -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="mp4") as written:
        stream = None
        for frame in islice(media.read_frames(path), MOST_FRAMES):
            pixels = frame.pixels()
            if stream is None:
                height, width = pixels.shape[-2:]
                scale = min(1.0, LONGEST_SIDE / max(height, width))
                size = _even(width * scale), _even(height * scale)
                rate = Fraction(min(max(frame.fps, LEAST_FPS), MOST_FPS)).limit_denominator(1001)
                stream = add_h264(written, rate, size, {"crf": "24", "preset": "veryfast"})
            picture = shrink(pixels, size).permute(1, 2, 0).contiguous().numpy()
            written.mux(stream.encode(to_yuv(picture)))
        if stream is None:
            raise UserError(f"'{path}' holds no frame; give a video of at least one")
        written.mux(stream.encode(None))
    return file.getvalue()


def _even(length: float) -> int:
    return max(2, 2 * math.floor(length / 2 + 0.5))
