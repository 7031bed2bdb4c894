"""Forgetting what a process that begins would not know: files of the user's own that another one imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def forget_files(below: Path) -> None:
    """As if no file below a folder had been imported, nor that folder been searched; not if the package is there."""
    folder = below.resolve()
    if REPOSITORY.is_relative_to(folder):
        return
    inside = f"{folder}{os.sep}"  # compared as texts: there are thousands of modules, and this runs after every test
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        own = name.partition(".")[0] == "vitascope"  # which one test says to lie elsewhere
        if isinstance(file, str) and file.startswith(inside) and not own:
            del sys.modules[name]
    sys.path[:] = [place for place in sys.path if not f"{place}{os.sep}".startswith(inside)]
