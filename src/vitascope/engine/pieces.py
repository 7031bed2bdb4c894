"""A file in pieces: every frame belongs to one, and each piece is kept or dropped with the reason written on it.

Each stage takes a piece and gives pieces that cover the same frames. What a stage decides follows from what was
measured and from its settings alone, so another threshold costs no decoding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vitascope.config import Config
from vitascope.engine.config import Curate
from vitascope.engine.features import features_of
from vitascope.engine.scenes import Transition
from vitascope.engine.sources import Span


@dataclass(frozen=True)
class Piece:
    """Frames `start` to before `stop` of one file. `dropped` is empty, or the stage and, after a colon, the reason."""

    file: str  # content key
    start: int
    stop: int
    dropped: str = ""
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    features: dict[str, Any] = field(default_factory=dict)
    captions: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)  # what an annotation says of it
    clip: str = ""  # key of the clip that was cut out of it

    @property
    def num_frames(self) -> int:
        return self.stop - self.start

    def drop(self, stage: str, reason: str) -> Piece:
        return replace(self, dropped=f"{stage}: {reason}")


@dataclass(frozen=True)
class Decoded:
    """A file that could be decoded, and what is known and said of it."""

    key: str
    path: Path
    name: str  # below the folder that was given
    facts: dict[str, Any]
    captions: tuple[str, ...] = ()
    clips: tuple[Span, ...] = ()  # of an annotation, in order
    about: Mapping[str, Any] = field(default_factory=dict)  # what it says of the file


@dataclass(frozen=True, kw_only=True)
class Measured(Decoded):
    """With a row for each frame, which lies in an open file, the closer looks, and the changes of shot."""

    frames: np.ndarray
    samples: np.ndarray
    changes: Sequence[Transition]


Stage = Callable[[Piece, Measured, Curate], list[Piece]]


def pieces_of(file: Measured, settings: Curate) -> list[Piece]:
    """The whole file through every stage that looks at one file alone; what one drops the next does not see."""
    pieces = [Piece(file.key, 0, len(file.frames), captions=file.captions, about=file.about)]
    for stage in STAGES:
        pieces = [new for old in pieces for new in ([old] if old.dropped else stage(old, file, settings))]
    return pieces


def annotated(piece: Piece, file: Measured, settings: Curate) -> list[Piece]:
    """The clips of an annotation, and the frames that are in none of them or in two."""
    if not is_annotated(file, settings):
        return [piece]
    seconds = file.frames["seconds"] - file.frames["seconds"][0]
    half = 0.5 / file.facts["fps"]  # times are rounded to milliseconds
    made, position = [], piece.start
    for span in file.clips:
        begun, stop = (int(place) for place in np.searchsorted(seconds + half, (span.start, span.stop)))
        start = max(position, begun)
        if start >= stop:
            continue
        if start > position:
            made.append(replace(piece, start=position, stop=start).drop("annotations", OUTSIDE))
        clip = replace(piece, start=start, stop=stop, captions=span.captions, about={**piece.about, **span.about})
        made.append(clip if start == begun else clip.drop("annotations", "overlaps the clip before it"))
        position = stop
    rest = replace(piece, start=position).drop("annotations", OUTSIDE)
    return [*made, rest] if position < piece.stop else made


OUTSIDE = "in no clip of the annotation"


def is_annotated(file: Decoded, settings: Curate) -> bool:
    """Whether its clips are those of an annotation; else they are found."""
    return settings.annotations.clips and bool(file.clips)


def without_frames(file: Decoded) -> int:
    """How many clips of the annotation begin after the file's last frame."""
    last = file.facts["seconds"] - 1 / file.facts["fps"]
    return sum(span.start > last + 1e-6 for span in file.clips)


def scenes(piece: Piece, file: Measured, settings: Curate) -> list[Piece]:
    """Shots, and the changes between them."""
    if not settings.scenes.on or is_annotated(file, settings):
        return [piece]
    made, position = [], piece.start
    for found in file.changes:
        around = 0 if found.start == found.stop else settings.scenes.margin
        start, stop = max(position, found.start - around), min(piece.stop, found.stop + around)
        if start > position:
            made.append(replace(piece, start=position, stop=start))
        if stop > start:
            made.append(replace(piece, start=start, stop=stop).drop("scenes", found.kind))
        position = max(position, stop)
    return [*made, replace(piece, start=position)] if position < piece.stop else made


def damage(piece: Piece, file: Measured, settings: Curate) -> list[Piece]:
    """The shot in which reading ended early: frames before a fault may be wrong without a word."""
    is_at_fault = file.facts["damage"] and piece.stop == len(file.frames) and not settings.quality.keep_damaged
    return [piece.drop("damage", "touches a fault in the file") if is_at_fault else piece]


def lengths(piece: Piece, file: Measured, settings: Curate) -> list[Piece]:
    """Equal parts no longer than the most; what is shorter than the least goes.

    Where equal parts would be shorter than the least they are as long as the most, and the rest goes.
    """
    if not settings.lengths.on:
        return [piece]
    fps, limits, num = file.facts["fps"], settings.lengths, piece.num_frames
    most = max(1, math.floor(limits.most_seconds * fps + 1e-6))
    least = math.ceil(limits.least_seconds * fps - 1e-6)
    if num < least:
        return [piece.drop("lengths", "too short")]
    parts = math.ceil(num / most)
    equal = [round(num * part / parts) for part in range(parts + 1)]
    ends = equal if num // parts >= least else [*range(0, num, most), num]
    made = [replace(piece, start=piece.start + start, stop=piece.start + stop) for start, stop in pairwise(ends)]
    return [one if one.num_frames >= least else one.drop("lengths", "too short") for one in made]


def measured(piece: Piece, file: Measured, settings: Curate) -> list[Piece]:
    """Features of every piece that is left, and the borders to cut off."""
    crop, features = features_of(file.frames, file.samples, file.facts, piece.start, piece.stop, settings)
    return [replace(piece, crop=crop, features=features)]


def geometry(piece: Piece, file: Measured, settings: Curate) -> list[Piece]:
    """What is too small or too narrow once its borders are off."""
    limits, width, height = settings.geometry, piece.features["width"], piece.features["height"]
    if limits.on and min(width, height) < limits.least_side:
        return [piece.drop("geometry", "too small")]
    if limits.on and not limits.least_aspect <= width / height <= limits.most_aspect:
        return [piece.drop("geometry", "too narrow")]
    return [piece]


def quality(piece: Piece, file: Measured, settings: Curate) -> list[Piece]:
    """What a feature says against; the first in the table gives the reason."""
    reason = broken(piece.features, settings.quality, QUALITY) if settings.quality.on else ""
    return [piece.drop("quality", reason) if reason else piece]


def broken(features: Mapping[str, Any], limits: Config, rules: Sequence[Rule]) -> str:
    """The reason of the first rule that is broken, or nothing."""
    for feature, threshold, sign, reason in rules:
        limit = getattr(limits, threshold)
        if limit is not None and sign * features[feature] > sign * limit:
            return reason
    return ""


Rule = tuple[str, str, int, str]
"""Feature, threshold, 1 where more is worse and -1 where less is, and the reason."""
QUALITY: tuple[Rule, ...] = (
    ("light", "least_light", -1, "too dark"),
    ("light", "most_light", 1, "too bright"),
    ("flicker", "most_flicker", 1, "flickers"),
    ("static", "most_static", 1, "stands still"),
    ("motion", "least_motion", -1, "hardly moves"),
    ("motion", "most_motion", 1, "moves too much"),
    ("duplicated", "most_duplicated", 1, "repeats frames"),
    ("clarity", "least_clarity", -1, "blurred"),
    ("text", "most_text", 1, "words burnt in"),
    ("consistency", "least_consistency", -1, "inconsistent"),
)
STAGES: tuple[Stage, ...] = (annotated, scenes, damage, lengths, measured, geometry, quality)
