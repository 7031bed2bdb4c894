"""What annotations of public sets are read from: tables, times, and the files of a folder by their names."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitascope.data.folder import as_text
from vitascope.engine.sources import Span
from vitascope.errors import UserError
from vitascope.media import VIDEO_ENDINGS

TABLES = (".csv", ".json", ".jsonl", ".txt")


@dataclass(frozen=True)
class Files:
    """Videos below a folder by the names that annotations use, and tables."""

    folder: Path
    videos: Mapping[str, Path]  # by name without ending
    tables: tuple[Path, ...]
    same_named: int = 0  # videos whose name without ending another one has that came first


@dataclass
class Told:
    """What became of an annotation: its rows, the videos and clips it names, and videos that it does not name."""

    name: str
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    found: int = 0
    missing: dict[str, None] = field(default_factory=dict)  # names, in the order of the annotation
    clips: int = 0
    missing_clips: int = 0
    not_named: int = 0
    same_named: int = 0

    def record(self) -> dict[str, Any]:
        return {
            "set": self.name, "rows": self.rows, "rows left out": dict(sorted(self.left_out.items())),
            "files": {
                "on disk": self.found, "missing": len(self.missing), "not named": self.not_named,
                "same named": self.same_named,
            },
            "clips": {"of files on disk": self.clips, "of missing files": self.missing_clips},
        }  # fmt: skip


def files_in(folder: Path) -> Files:
    """Links to folders are not followed; a .json or .txt beside a video of its name is no table."""
    videos, tables, same_named = dict[str, Path](), list[Path](), 0
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(here) / name
            if path.suffix.lower() in VIDEO_ENDINGS and path.is_file():
                same_named += path.stem in videos
                videos.setdefault(path.stem, path)
            elif path.suffix.lower() in TABLES:
                tables.append(path)
    return Files(folder, videos, tuple(path for path in tables if path.stem not in videos), same_named)


def tables_of(files: Files, ending: str, columns: tuple[str, ...], split: str) -> list[Path]:
    """Tables of the columns that the authors publish; `split` is part of their names."""
    of_kind = [path for path in files.tables if path.suffix.lower() == ending]
    fitting = [path for path in of_kind if set(columns) <= _columns(path)]
    if not fitting:
        seen = ", ".join(f"'{path.name}' with {', '.join(sorted(_columns(path))) or 'none'}" for path in of_kind[:3])
        raise UserError(
            f"'{files.folder}' needs a {ending} table with the columns {', '.join(columns)}; found {seen or 'no table'}"
        )
    chosen = [path for path in fitting if split in path.stem]
    if not chosen:
        raise UserError(f"no table is named after the split '{split}': {', '.join(path.name for path in fitting)}")
    return chosen


def _columns(table: Path) -> set[str]:
    """Names in the head of a .csv, or of the first object of a .jsonl; none if it cannot be read."""
    try:
        with open(table, newline="", encoding="utf-8-sig", errors="replace") as file:
            if table.suffix.lower() == ".csv":
                return set(next(csv.reader(file), ()))
            return set(json.loads(file.readline() or "{}"))
    except (OSError, ValueError, TypeError, csv.Error):
        return set()


def rows_of(table: Path, told: Told) -> Iterator[dict[str, Any]]:
    """One after the other, so that tables may be larger than the memory."""
    csv.field_size_limit(1 << 28)  # long videos have many captions in one field
    try:
        with open(table, newline="", encoding="utf-8-sig", errors="replace") as file:
            if table.suffix.lower() == ".csv":
                for row in csv.DictReader(file):
                    told.rows += 1
                    yield row
                return
            for line in filter(str.strip, file):
                told.rows += 1
                try:
                    said = json.loads(line)
                except ValueError:
                    said = None
                if isinstance(said, dict):
                    yield said
                else:
                    told.left_out["cannot be read"] += 1
    except (OSError, csv.Error) as error:
        raise UserError(f"'{table}' cannot be read to its end ({error}); copy it again") from None


def seconds_of(time: Any) -> float:
    """`0:00:03.169`, `00:09:22.119` or plain seconds."""
    parts = [float(part) for part in str(time).split(":")]
    if len(parts) > 3 or any(part < 0 for part in parts):
        raise ValueError(f"no time: {time!r}")
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


def span_of(start: Any, stop: Any, captions: Iterable[Any] = (), **about: Any) -> Span:
    begun, ended = seconds_of(start), seconds_of(stop)
    if not begun < ended:
        raise ValueError("a clip ends before it begins")
    return Span(begun, ended, tuple(text for one in captions if one and (text := as_text(one))), about)


UNUSABLE = (KeyError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError)  # what a damaged row causes
