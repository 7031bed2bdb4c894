"""Code of the user's own: a file with a recipe, or with the classes that a model or a run names."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

import pydantic

from vitascope.config import first_mistake
from vitascope.errors import first_line
from vitascope.types import UserError


def imported(path: Path) -> ModuleType:
    """The module of a file, as `import` has it in a script beside it: by its own name, its folder first in the search.

    So classes of `mine.py` are those of the module `mine`, whoever imports it. There can be only one module of a name.
    """
    file, name = path.resolve(), path.stem
    if not file.is_file():
        raise UserError(f"there is no file '{path}'; code of your own is a file such as ./mine.py")
    if path.suffix != ".py" or "." in name:
        raise UserError(f"'{path}' cannot be imported: code of your own is a file such as ./mine.py, with no other dot")
    if sys.path[:1] != [str(file.parent)]:
        sys.path.insert(0, str(file.parent))
    importlib.invalidate_caches()  # it may have been written a moment ago
    try:
        module = importlib.import_module(name)
    except UserError:
        raise
    except Exception as error:
        raise mistake(error, path) from error
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file:
        other = f"'{found}'" if found else "a part of Python"
        raise UserError(f"'{path}' cannot be imported: the module '{name}' is {other} already; rename the file")
    return module


def mistake(error: Exception, path: Path) -> UserError:
    """A mistake in a file, in one line, with the last line of that file that led to it."""
    if isinstance(error, SyntaxError):
        return UserError(f"'{error.filename}', line {error.lineno}: {error.msg}")
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve()]
    where = f"'{path}', line {numbers[-1]}" if numbers else f"'{path}'"
    what = first_mistake(error) if isinstance(error, pydantic.ValidationError) else first_line(error)
    return UserError(f"{where}: {type(error).__name__}: {what}")
