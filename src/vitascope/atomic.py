"""Files that are whole or absent, whatever happens while they are written, and that one process at a time writes."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place in one step once it is on the disk.

    After an error it is gone and `path` is what it was; after a kill a `.*.part` is left, which nobody reads.
    """
    part = path.parent / f".{secrets.token_hex(6)}.part"
    try:
        part.touch()
        mode = part.stat().st_mode  # as the user's umask wills: what is written may come in a file of its own, for one
        yield part
        if part.stat().st_mode != mode:
            part.chmod(mode)
        with open(part, "r+b") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


PARTS = f".{'?' * 12}.part"


def sweep(*left: Iterable[Path]) -> None:
    """Remove files that match PARTS, which processes that were killed have left where nobody else is writing now."""
    for part in itertools.chain(*left):
        part.unlink(missing_ok=True)


class NoLocks(OSError):
    """The file system knows no locks."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether `path` is ours until the end: the system lets go of it when the process ends, however it ends."""
    with open(path, "w") as file:
        yield _lock(file, wait)


def _lock(file: IO[str], wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, where nothing keeps two processes apart
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        raise NoLocks(str(error)) from error
    return True
