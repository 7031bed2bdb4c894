"""The task that judges one file: its pieces, kept or dropped, and hashes of the kept ones, from what was measured.

Where shots begin and end costs nearly all of the time; it is kept, so that another threshold does not seek it again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vitascope.engine.config import Curate
from vitascope.engine.duplicates import hashes_of
from vitascope.engine.executors import allow
from vitascope.engine.keys import key_of
from vitascope.engine.measuring import rows_of, stem_of
from vitascope.engine.pieces import Decoded, Measured, Piece, is_annotated, pieces_of
from vitascope.engine.scenes import Transition, transitions
from vitascope.errors import UserError
from vitascope.media.writing import make_folder, replace_file

WAY = "scenes, version 1"
"""Part of the name of what was found: to be changed when the same settings shall find other scenes."""


@dataclass(frozen=True)
class JudgeTask:
    file: Decoded
    work: Path
    settings: Curate


@dataclass(frozen=True)
class Judged:
    pieces: list[Piece]
    hashes: list[tuple[int, ...]]  # of those that are kept


def judge_file(task: JudgeTask) -> Judged:
    """Its rows are open no longer than this takes: a process may hold a thousand files open, not more."""
    limits = task.settings.measuring
    allow(limits.most_seconds + limits.most_share * task.file.facts["seconds"])
    stem = stem_of(task.work, task.file.key, limits)
    try:
        frames, samples = rows_of(stem)
    except OSError as error:
        raise UserError(f"'{error.filename or stem}' could not be read ({error.strerror})") from None
    is_sought = task.settings.scenes.on and not is_annotated(task.file, task.settings)
    changes = _changes(stem, frames, task) if is_sought else []
    measured = Measured(**vars(task.file), frames=frames, samples=samples, changes=changes)
    pieces = pieces_of(measured, task.settings)
    pictures = task.settings.duplicates.pictures
    return Judged(pieces, [hashes_of(frames, piece, pictures) for piece in pieces if not piece.dropped])


def _changes(stem: Path, frames: np.ndarray, task: JudgeTask) -> list[Transition]:
    """As they were found before, if what was kept of them is whole."""
    path = task.work / "scenes" / f"{stem.name}-{key_of(task.settings.scenes, WAY)[:8]}.json"
    try:
        return [Transition(**one) for one in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        found = transitions(frames, task.file.facts["fps"], task.settings.scenes)
    make_folder(path.parent)
    replace_file(path, json.dumps([asdict(one) for one in found]).encode())
    return found
