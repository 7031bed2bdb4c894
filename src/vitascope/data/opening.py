"""Footage by its path, whatever it is: shards, a folder of files, or a table."""

from __future__ import annotations

from pathlib import Path

from vitascope.data.folder import open_folder, open_table
from vitascope.data.footage import Footage, Track
from vitascope.data.shards import SHARDS, open_shards
from vitascope.types import UserError

BEGUN = Path("work", "lock")
"""In the folder of a `vitascope curate` that has begun. Its pieces lie there before it is known which are kept."""


def open_footage(path: Path, track: Track = lambda items: items) -> Footage:
    """A folder with a `shards.json` is one of shards; any other folder holds files, and a file is a table."""
    if (path / SHARDS).is_file():
        return open_shards(path, track)
    if (path / BEGUN).is_file():
        raise UserError(
            f"'{path}' has no {SHARDS}, so its 'vitascope curate' has not ended: "
            "give the same command again, which goes on"
        )
    return open_table(path, track) if path.is_file() else open_folder(path, track)
