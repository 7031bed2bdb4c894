"""Whole runs, each a function that returns one value."""

from __future__ import annotations

import importlib.util
import json
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from vitascope.config import from_json, nearest
from vitascope.train.stages import Run
from vitascope.types import UserError


def resolve(name: str) -> Run:
    """The run of a name: `laptop:stiv`, a function in a file (`./mine.py:run`), or a saved `run.json`."""
    if name.endswith(".json"):
        return _checked(_read(Path(name)), name)
    room, _, function = name.partition(":")
    if room.endswith(".py"):
        return _checked(_from_file(Path(room), function or "run"), name)
    rooms = {module.name: import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)}
    known = {
        f"{here}:{there}": make
        for here, module in rooms.items()
        for there, make in getattr(module, "RECIPES", {}).items()
    }
    if name not in known:
        raise UserError(f"there is no recipe '{name}'; {nearest(name, list(known))}")
    return _checked(known[name](), name)


def _checked(run: Any, name: str) -> Run:
    if not isinstance(run, Run):
        raise UserError(f"'{name}' gives a {type(run).__name__}; a recipe is a function that returns a Run")
    return run


def _read(path: Path) -> Any:
    try:
        return from_json(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no readable run ({error}); give the run.json that training wrote") from None


def _from_file(path: Path, function: str) -> Any:
    if not path.is_file():
        raise UserError(f"there is no file '{path}'; a recipe of your own is named ./file.py:function")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UserError(f"'{path}' has no function '{function}'; {nearest(function, names)}")
    return getattr(module, function)()
