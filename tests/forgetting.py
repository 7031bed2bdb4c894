"""Forgetting what a process that begins would not know: files of the user's own that another one imported."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def forget_files(below: Path) -> None:
    """As if no file below a folder had been imported, nor that folder been searched; not if the package is there."""
    if REPOSITORY.is_relative_to(below.resolve()):
        return
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if file is not None and Path(file).is_relative_to(below.resolve()):
            del sys.modules[name]
    sys.path[:] = [place for place in sys.path if not Path(place).is_relative_to(below.resolve())]
