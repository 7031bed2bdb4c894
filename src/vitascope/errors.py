"""The one kind of error that is the user's to mend; in a file of its own so that it can be caught without torch."""

from __future__ import annotations


class UserError(Exception):
    """Something the user asked for cannot be done: what was required, what came, what to do.

    The command line prints it as one line and leaves with exit code 2.
    """
