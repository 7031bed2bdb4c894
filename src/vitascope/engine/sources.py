"""What there is to curate: every file below the folders given, with the captions that lie beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from vitascope.data.folder import as_text, named_in
from vitascope.errors import UserError
from vitascope.media import VIDEO_ENDINGS

LOCK = Path("work", "lock")
"""Below the folder of a run: by it such a folder is known."""
TABLES = (".csv", ".parquet", ".jsonl", ".tsv")
BESIDE = (".txt", ".json", *TABLES)
"""What lies beside videos and is not taken for one."""


@dataclass(frozen=True, slots=True)
class Span:
    """A clip that an annotation names inside a file, in seconds, with what it says of it."""

    start: float
    stop: float
    captions: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the input; `missing` says why it cannot be read, `about` and `seconds` what an annotation says."""

    path: Path
    name: str
    captions: tuple[str, ...] = ()
    missing: str = ""
    clips: tuple[Span, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None


def find(raw: Sequence[Path], out: Path | None = None) -> list[Source]:
    """Files of folders, files named themselves, lists (.txt, one path a line) and tables with captions.

    Their order never changes. A table given after a folder says the captions of the files that both name.
    """
    found: list[Source] = []
    for given in raw:
        if not given.exists():
            raise UserError(f"'{given}' does not exist; give folders, video files, a .txt list of paths or a table")
        if _is_file(given / LOCK):
            raise UserError(f"'{given}' is what a run of the engine wrote, and no footage; give what was filmed")
        if given.is_dir():
            found += _folder(given, out)
        elif given.suffix.lower() == ".txt":
            found += _list(given)
        elif given.suffix.lower() in TABLES:
            found += _table(given)
        else:
            found.append(Source(given, given.name, _captions(given)))
    if all(source.missing == NO_VIDEO for source in found):
        raise UserError(f"there is no video in {', '.join(f'{str(path)!r}' for path in raw)}; {ENDINGS_TOLD}")
    return in_order(found)


def in_order(sources: Iterable[Source]) -> list[Source]:
    """By name, the last one that names a file counting, in whichever way its path is written.

    Bytes in a name that are no text are written out, so that every name can be printed and kept.
    """
    real = cache(os.path.realpath)  # many files share a folder
    last = {_place(source.path, real): source for source in sources}
    named = [replace(source, name=_printable(source.name)) for source in last.values()]
    return sorted(named, key=lambda source: (source.name, str(source.path)))


def _place(path: Path, real: Callable[[Path], str]) -> str:
    """Its folder without links and detours, and its name: a link to a file counts as a file of its own."""
    try:
        return os.path.join(real(path.parent), path.name)
    except (OSError, ValueError):  # a name that no file can have
        return os.path.abspath(path)


def _printable(name: str) -> str:
    try:
        return os.fsencode(name).decode(errors="backslashreplace")
    except UnicodeEncodeError:  # half a character, which only JSON can name
        return as_text(name)


ENDINGS_TOLD = f"videos are files that end in {', '.join(VIDEO_ENDINGS)}"
NO_VIDEO = "no video by its ending"


def _folder(folder: Path, out: Path | None) -> Iterator[Source]:
    """Links to folders are not followed, so no loop can be; links to files are. Nothing is passed over unsaid.

    Clips that an earlier run cut would be found to be near copies of what they were cut from, and might be preferred.
    """
    shut, left_out = list[str](), None if out is None else os.path.realpath(out)
    for here, folders, names in os.walk(folder, onerror=lambda error: shut.append(error.filename)):
        links = {name for name in folders if os.path.islink(os.path.join(here, name))}
        own = {name for name in folders if os.path.realpath(os.path.join(here, name)) == left_out}
        made = {name for name in folders if _is_file(Path(here, name, LOCK))}
        folders[:] = sorted({*folders} - links - own - made)
        for name in sorted([*names, *(links | made) - own]):
            path = Path(here) / name
            is_video = path.suffix.lower() in VIDEO_ENDINGS
            if name in links:
                missing = "a link to a folder"
            elif name in made:
                missing = "a folder that a run of the engine wrote"
            elif is_video:
                missing = "" if _is_file(path) else "leads to no file"
            elif path.suffix.lower() in BESIDE:
                continue
            else:
                missing = NO_VIDEO
            yield Source(path, str(path.relative_to(folder)), _captions(path) if is_video else (), missing)
    for name in shut:
        yield Source(Path(name), os.path.relpath(name, folder), missing="a folder that cannot be read")


def _list(table: Path) -> Iterator[Source]:
    try:
        lines = os.fsdecode(table.read_bytes()).split("\n")
    except OSError as error:
        raise UserError(f"'{table}' must be a list of paths, one a line, and cannot be read: {error}") from None
    for line in filter(None, map(str.strip, lines)):
        path = table.parent / line
        yield Source(path, line, _captions(path), "" if _is_file(path) else "is not there")


def _table(table: Path) -> Iterator[Source]:
    for name, captions in named_in(table).items():
        path = table.parent / name
        yield Source(path, name, captions or _captions(path), "" if _is_file(path) else "is not there")


def _captions(path: Path) -> tuple[str, ...]:
    """Each line of a .txt of the same name is a caption of the whole video."""
    beside = path.with_suffix(".txt")
    try:
        return tuple(filter(None, map(str.strip, beside.read_text(errors="replace").splitlines())))
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return ()


def _is_file(path: Path) -> bool:
    """Also where one may not look, or where no file can have the name."""
    try:
        return path.is_file()
    except OSError:
        return False
