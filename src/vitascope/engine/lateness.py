"""What took too long once stays set aside: else the same input would give other shards on a day with less to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitascope.engine.config import Measuring
from vitascope.engine.executors import TookTooLong
from vitascope.engine.keys import key_of
from vitascope.media.writing import make_folder, replace_file


def note_of(work: Path, limits: Measuring, *what: Any) -> Path:
    """Where it is kept that `what` was late. With other limits it is tried again."""
    return work / "late" / key_of(limits.most_seconds, limits.most_share, *what)


def keep(note: Path, reason: str) -> None:
    make_folder(note.parent)
    replace_file(note, reason.encode())


def check(note: Path) -> None:
    """Raises TookTooLong for what was late before."""
    if note.is_file():
        raise TookTooLong(note.read_text())
