"""The checksums by which files are told apart and known again."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Of a file, or of all files of a folder by name; what begins with a dot is left out."""
    if not path.is_dir():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    names = {file.relative_to(path): file for file in path.rglob("*") if file.is_file()}
    told = [
        f"{name.as_posix()} {sha256_of(file)}\n"
        for name, file in sorted(names.items())
        if not any(part.startswith(".") for part in name.parts)
    ]
    return hashlib.sha256("".join(told).encode()).hexdigest()
