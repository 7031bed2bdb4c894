"""Whole runs, each a function that returns one value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vitascope.config import from_json, nearest
from vitascope.recipes.code import imported, mistake
from vitascope.train.stages import Run
from vitascope.types import UserError


def resolve(name: str) -> Run:
    """The run of a name: `laptop:stiv`, a function in a file (`./mine.py:run`), or a saved `run.json`."""
    if name.endswith(".json"):
        return _checked(_read(Path(name)), name)
    file, _, function = name.partition(":")
    if file.endswith(".py"):
        return _checked(_from_file(Path(file), function or "run"), name)
    from vitascope.recipes import laptop, stiv  # late: rooms import this package

    rooms = {"laptop": laptop.RECIPES, "stiv": stiv.RECIPES}
    known = {f"{room}:{name}": make for room, recipes in rooms.items() for name, make in recipes.items()}
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
    module = imported(path)
    if not callable(getattr(module, function, None)):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UserError(f"'{path}' has no function '{function}'; {nearest(function, names)}")
    try:
        return getattr(module, function)()
    except UserError:
        raise
    except Exception as error:
        raise mistake(error, path) from error
