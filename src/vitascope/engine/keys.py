"""Names made of what a result depends on: so it is found again, and never taken for another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitascope.config import Config


def key_of(*parts: Any) -> str:
    """A name made of everything that a result depends on."""
    plain = [part.model_dump_json() if isinstance(part, Config) else repr(part) for part in parts]
    return hashlib.blake2b("\n".join(plain).encode(), digest_size=12).hexdigest()


def content_key(path: Path, beat: Callable[[], None] = lambda: None) -> str:
    """`beat` is called now and then."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            beat()
    return digest.hexdigest()
