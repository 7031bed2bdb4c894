"""Files that are whole or absent, whatever happens while they are written, and that one process at a time writes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        part.chmod(mode)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed have left of files in `folder`, where nobody else is writing now."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether `path` is ours until the end: the system lets go of it when the process ends, however it ends.

    OSError on a file system without locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where nothing keeps two processes apart
        yield True
        return
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
