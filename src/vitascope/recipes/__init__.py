"""Whole runs, each a function that returns one value."""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import pydantic

from vitascope.config import first_mistake, from_json, nearest
from vitascope.errors import first_line
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
    if not path.is_file():
        raise UserError(f"there is no file '{path}'; a recipe of your own is named ./file.py:function")
    spec = importlib.util.spec_from_file_location(f"recipe_of_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # settings classes in the file look their own names up there, also when read back
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, function, None)):
            names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise UserError(f"'{path}' has no function '{function}'; {nearest(function, names)}")
        return getattr(module, function)()
    except UserError:
        raise
    except Exception as error:
        raise _mistake(error, path) from error


def _mistake(error: Exception, path: Path) -> UserError:
    """A mistake in a recipe, in one line, with the last line of that file that led to it."""
    if isinstance(error, SyntaxError):
        return UserError(f"'{error.filename}', line {error.lineno}: {error.msg}")
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    where = f"'{path}', line {numbers[-1]}" if numbers else f"'{path}'"
    what = first_mistake(error) if isinstance(error, pydantic.ValidationError) else first_line(error)
    return UserError(f"{where}: {type(error).__name__}: {what}")
