"""How strong the changes of a LoRA file are meant to be, where its header or PEFT's settings beside it say so."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitascope.types import UserError

HEADER = "lora_adapter_metadata"  # where diffusers' `save_lora_weights` keeps PEFT's settings
PEFT_WEIGHTS, PEFT_SETTINGS = "adapter_model.safetensors", "adapter_config.json"
OTHER_SUMS = ("use_dora", "use_qalora", "use_bdlora", "fan_in_fan_out", "layer_replication")
"""Settings under which a change is another sum than the product of its halves."""

Stated = Mapping[str, Mapping[str, Any]]  # PEFT's settings, by what the names of their modules begin with


def stated_strengths(path: Path, header: Mapping[str, str]) -> Stated:
    """PEFT's settings of the changes in a file, of each part of the pipeline; empty where nothing is stated."""
    beside = path.with_name(PEFT_SETTINGS)
    if HEADER in header:
        text, place = header[HEADER], f"the header of '{path}'"
    elif path.name == PEFT_WEIGHTS and beside.is_file():
        text, place = beside.read_text(encoding="utf-8", errors="replace"), f"'{beside}'"
    else:
        return {}
    try:
        told = dict(json.loads(text).items())
    except (ValueError, AttributeError):
        raise UserError(f"{place} must hold the settings of a LoRA as JSON and does not; fetch it again") from None
    parts: dict[str, dict[str, Any]] = {}
    for name, value in told.items():
        part, _, setting = name.rpartition(".")
        parts.setdefault(part, {})[setting] = value
    for part in parts.values():
        _check(part, place)
    return parts


def _check(part: Mapping[str, Any], place: str) -> None:
    if others := [name for name in OTHER_SUMS if part.get(name)]:
        raise UserError(f"{place} says {others[0]}: such changes are no plain products and cannot be added here")
    if part.get("peft_type", "LORA") != "LORA":
        raise UserError(f"{place} is of a {part['peft_type']}, and only LORA can be added here")
    patterns = [part.get(name) or {} for name in ("rank_pattern", "alpha_pattern")]
    if not all(isinstance(one, Mapping) for one in patterns):
        raise UserError(f"{place} must give rank_pattern and alpha_pattern by module; fetch it again")
    for name, value in (("r", part.get("r")), ("lora_alpha", part.get("lora_alpha")), *patterns[0].items(),
                        *patterns[1].items()):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UserError(f"{place} must give a number for {name}, got {value!r}; fetch it again")


def strength(stated: Stated, module: str, rank: int, path: Path) -> float | None:
    """What the product of a module's halves is to be multiplied by; None where nothing is stated of it."""
    parts = [part for part in stated if not part or module.startswith(f"{part}.")]
    if not parts:
        return None
    told = stated[max(parts, key=len)]
    should = _of(module, told.get("rank_pattern"), told["r"])
    if should != rank:
        raise UserError(f"'{path}' states rank {should:g} for '{module}' and has {rank}; it is damaged, fetch it again")
    alpha = _of(module, told.get("alpha_pattern"), told["lora_alpha"])
    return alpha / (math.sqrt(rank) if told.get("use_rslora") else rank)


def _of(module: str, pattern: Mapping[str, int | float] | None, usual: int | float) -> int | float:
    """The number for a module, whose name ends with a name in the pattern or is matched by it, as in PEFT."""
    for name, value in (pattern or {}).items():
        if module.endswith(f".{name}") or module == name or _matches(name, module):
            return value
    return usual


def _matches(name: str, module: str) -> bool:
    try:
        return re.fullmatch(rf"(?:.*\.)?(?:{name})", module) is not None
    except re.error:
        return False
