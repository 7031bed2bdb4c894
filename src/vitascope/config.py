"""A run is one frozen tree of settings: changed by dotted path, written to JSON with its classes, read back alike."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import shlex
import sys
from typing import Annotated, Any, TypeGuard, TypeVar

import pydantic

from vitascope.types import UserError

HOME = "vitascope"

Tree = TypeVar("Tree", bound="Config")

Count = Annotated[int, pydantic.Field(ge=1)]
CountOrZero = Annotated[int, pydantic.Field(ge=0)]
Amount = Annotated[float, pydantic.Field(gt=0)]
AmountOrZero = Annotated[float, pydantic.Field(ge=0)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Decay = Annotated[float, pydantic.Field(ge=0, lt=1)]  # of an average, which at 1 would never learn anything


class Config(pydantic.BaseModel):
    """Base of every settings class: frozen, no unknown names, no silent conversions of type, finite numbers."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )


def nearest(name: str, known: list[str]) -> str:
    """The end of an error message: the right word if one is near, else all of them."""
    near = difflib.get_close_matches(name, known, 1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"known: {', '.join(known[:20]) or 'none'}{more}"


def override(config: Tree, path: str, text: str) -> Tree:
    """A copy of `config` with the field at dotted `path` set to `text`, read as JSON where that is possible.

    Members of tuples are named by number or by their `name` field: `stages.t2v.steps`. A group of settings becomes
    another one by the name of its class: `stages.t2v.optimizer=vitascope.train.optim:AdafactorConfig`.
    """
    return _replace(config, path.split("."), text, path)


def _replace(node: Any, names: list[str], text: str, path: str) -> Any:
    if not names:
        if isinstance(node, Config) and ":" in text:
            return from_json({"class": text})
        if isinstance(node, Config):
            members = ", ".join(f"{path}.{name}" for name in type(node).model_fields)
            raise UserError(
                f"'{path}' is a group of settings; set one of: {members}. Or name another group, such as "
                f"{type(node).__module__}:{type(node).__name__}"
            )
        return text if isinstance(node, str) else _parse(text)
    name, rest = names[0], names[1:]
    if isinstance(node, tuple):
        keys = [getattr(item, "name", str(index)) for index, item in enumerate(node)]
        index = keys.index(name) if name in keys else int(name) if name.isdigit() and int(name) < len(node) else -1
        if index < 0:
            raise UserError(f"'{path}': there is no '{name}'; {nearest(name, keys)}")
        return (*node[:index], _replace(node[index], rest, text, path), *node[index + 1 :])
    if not isinstance(node, Config):
        raise UserError(f"'{path}': a plain value has no setting '{name}'")
    fields = list(type(node).model_fields)
    if name not in fields:
        raise UserError(f"'{path}': {type(node).__name__} has no setting '{name}'; {nearest(name, fields)}")
    new = _replace(getattr(node, name), rest, text, path)
    return _validated(type(node), {**{field: getattr(node, field) for field in fields}, name: new}, path, text)


def _parse(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError:
        return text
    return from_json(value)


def _no_number(text: str) -> Any:
    raise UserError(f"a setting must be a finite number, got {text}")


def _validated(kind: type[Tree], fields: dict[str, Any], path: str, text: str) -> Tree:
    try:
        return kind.model_validate(fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        hint = ", written as [.., ..]" if first["type"] == "tuple_type" else ""
        where = "".join(f"{part}: " for part in [".".join(map(str, first["loc"][1:]))] if part)
        raise UserError(f"'{path}' cannot be {text!r}: {where}{first['msg']}{hint}") from None


def to_json(node: Any) -> Any:
    """Plain data in which every group of settings names its class, so that a checkpoint can rebuild its own model."""
    if isinstance(node, Config):
        kind = type(node)
        values = {name: to_json(getattr(node, name)) for name in kind.model_fields}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", **values}
    if isinstance(node, tuple):
        return [to_json(item) for item in node]
    return node


def from_json(data: Any) -> Any:
    """The inverse of `to_json`. A class that is neither of this package nor already loaded raises UserError."""
    if isinstance(data, list):
        return tuple(from_json(item) for item in data)
    if not isinstance(data, dict):
        return data
    fields = {key: from_json(value) for key, value in data.items() if key != "class"}
    if "class" not in data:
        return fields
    kind = _class_named(str(data["class"]))
    try:
        return kind.model_validate(fields)
    except pydantic.ValidationError as error:
        raise UserError(first_mistake(error)) from None


def modules_outside(data: Any) -> list[str]:
    """The modules outside this package whose classes `data` names, which is of the form that `to_json` gives."""
    if isinstance(data, dict):
        module = str(data.get("class", HOME)).partition(":")[0]
        own = [] if module.partition(".")[0] == HOME else [module]
        return own + modules_outside(list(data.values()))
    return [module for item in data for module in modules_outside(item)] if isinstance(data, list) else []


def code_files(config: Config) -> tuple[str, ...]:
    """Files with classes that these settings name and that are not of vitascope."""
    return tuple(dict.fromkeys(file_of(module) for module in modules_outside(to_json(config))))


def code_options(config: Config) -> str:
    """What to type before the name of a command that is to read these settings."""
    return "".join(f" --code {shlex.quote(file)}" for file in code_files(config))


def file_of(module: str) -> str:
    """The file to import for a module, loaded or not. Of a package or a running script the name does not tell it."""
    if "." in module or module == "__main__":
        return "./FILE.py"
    path = getattr(sys.modules.get(module), "__file__", None) or f"{module}.py"
    if os.path.basename(path) == "__init__.py":
        return "./FILE.py"
    here = os.path.relpath(path)
    return path if here.startswith(os.pardir) else f"./{here}"


def _class_named(name: str) -> type[Config]:
    """The class that a file names. A file never causes the import of anything but this package: that would run code."""
    module, _, kind_name = name.partition(":")
    if module.partition(".")[0] != HOME:
        # Looked up without `getattr`, which in some packages imports what is asked for.
        loaded = sys.modules.get(module)
        kind = vars(loaded).get(kind_name) if loaded else None
        if _is_settings(kind):
            return kind
        raise UserError(
            f"the class '{name}' lives outside vitascope and is not {'there' if loaded else 'loaded'}; of those that a "
            "file names only classes of vitascope are trusted. Name the file that defines or imports it before the "
            f"command: vitascope --code {file_of(module)} ...; in Python, import it before vitascope.load"
        )
    try:
        kind = getattr(importlib.import_module(module), kind_name)
    except (ImportError, AttributeError):
        raise UserError(f"these settings were written by another version: it had '{name}', this one does not") from None
    if not _is_settings(kind):
        raise UserError(f"'{name}' is not a group of settings")
    return kind


def _is_settings(kind: Any) -> TypeGuard[type[Config]]:
    return isinstance(kind, type) and issubclass(kind, Config)


def first_mistake(error: pydantic.ValidationError) -> str:
    """The first thing that is wrong with some settings, in one line."""
    first = error.errors()[0]
    where = ".".join([error.title, *(str(part) for part in first["loc"])])
    return f"{where}: {first['msg']} (got {first['input']!r})"
