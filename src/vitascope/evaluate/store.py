"""What was read off videos, by content: a stopped evaluation goes on, and a real set is read once for all models."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.types import UserError

FEATURES = "features.sqlite"
"""What a store is called that lies beside a report."""

VERSION = 1
"""Of how frames are decoded and prepared: raised when that changes, so that nothing old is taken for new."""


class Store:
    """Rows of features by a key made of all that they follow from. Each is kept at once and whole."""

    def __init__(self, path: Path | None) -> None:
        """In memory only if `path` is None."""
        try:
            # Writing is left to one thread; WAL lets several evaluations share the file.
            self._base = sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute("DROP TABLE IF EXISTS features")  # of an earlier layout
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, type TEXT, width INTEGER, content BLOB)"
                " WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise UserError(f"'{path}' cannot keep features ({error}); remove it, or choose another --cache") from None

    @classmethod
    def there(cls, path: Path) -> Store:
        """One that was filled before."""
        if not path.is_file():
            raise UserError(f"there are no features at '{path}'; name the file that the evaluation kept, with --cache")
        return cls(path)

    def get(self, key: str) -> Float[Tensor, "n d"] | None:
        row = self._base.execute("SELECT type, width, content FROM rows WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        kind, width, content = row
        return torch.from_numpy(np.frombuffer(bytearray(content), kind).reshape(-1, width))

    def put(self, key: str, rows: Float[Tensor, "n d"]) -> None:
        values = rows.cpu().numpy()
        told = key, values.dtype.str, values.shape[1], values.tobytes()
        try:
            self._base.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", told)
        except sqlite3.Error as error:
            raise UserError(f"features cannot be kept ({error}); free some space, or choose another --cache") from None

    def close(self) -> None:
        self._base.close()


def key_of(**parts: Mapping[str, Any] | str) -> str:
    told = json.dumps({"version": VERSION, **parts}, sort_keys=True, default=list)
    return hashlib.blake2b(told.encode(), digest_size=20).hexdigest()
