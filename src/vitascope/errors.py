"""Errors that are told without a traceback; in a file of their own so that they can be caught without torch."""

from __future__ import annotations


class UserError(Exception):
    """Something the user asked for cannot be done: what was required, what came, what to do.

    The command line prints it as one line and leaves with exit code 2.
    """


def first_line(error: BaseException) -> str:
    """What an error says, without what some libraries add in further lines."""
    return str(error).partition("\n")[0] or type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Known by its words: torch's error for a full CPU memory has no class of its own."""
    told = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("allocate memory" in told or "out of memory" in told)
    )
