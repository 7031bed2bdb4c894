"""Errors that are told without a traceback; in a file of their own so that they can be caught without torch."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path


class UserError(Exception):
    """Something the user asked for cannot be done: what was required, what came, what to do.

    The command line prints it as one line and leaves with exit code 2.
    """


class NonFinite(UserError):
    """A number that should be finite is not: in training a loss, gradient or weight; in sampling the video."""


def install(extra: str) -> str:
    """What to type for the packages of an extra: it lies with the source, as vitascope is on no index."""
    source = Path(__file__).resolve().parents[2]
    if not (source / "constraints.txt").is_file():  # it was installed as a copy
        source = Path("VITASCOPE")  # the folder of its source
    words = ["-m", "pip", "install", "-e", f"{source}[{extra}]", "-c", str(source / "constraints.txt")]
    return shlex.join([sys.executable, *words])


def first_line(error: BaseException) -> str:
    """What an error says, without what some libraries add in further lines."""
    return str(error).partition("\n")[0] or type(error).__name__


FULL = (errno.ENOSPC, errno.EDQUOT)


def why_unwritten(error: Exception) -> str:
    """The reason why something was not written, and what to do: room is made only where there is none."""
    why = getattr(error, "strerror", None) or first_line(error)
    full = getattr(error, "errno", None) in FULL or os.strerror(errno.ENOSPC) in str(error)
    return f"{why}: {'free some space' if full else 'see to that place'} and try again"


def is_out_of_memory(error: BaseException) -> bool:
    """Known by its words: torch's error for a full CPU memory has no class of its own."""
    told = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("allocate memory" in told or "out of memory" in told)
    )
