"""Low-rank changes to weights (LoRA), added to a checkpoint's own before anything else is done with them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vitascope.config import nearest
from vitascope.errors import first_line
from vitascope.sample.hub.folder import file_checksum
from vitascope.sample.hub.strength import Stated, stated_strengths, strength
from vitascope.sample.hub.traits import DENOISERS
from vitascope.types import UserError

FACTOR = re.compile(r"(?P<module>.+?)\.(?:lora\.|lora_)(?P<side>A|B|down|up)(?:\.default)?\.(?P<what>weight|bias)")
SIDES = {"down.weight": "A", "A.weight": "A", "up.weight": "B", "B.weight": "B", "up.bias": "bias", "B.bias": "bias"}
WITH_WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
WRAPPERS = ("base_model.model.", "diffusion_model.")  # what other programs put before the names of modules


@dataclass(frozen=True)
class Lora:
    """A file of changes, and how much of them."""

    path: Path
    scale: float


def parse(text: str) -> Lora:
    """`FILE` or `FILE:scale`."""
    name, colon, scale = text.rpartition(":")
    try:
        parsed = Lora(Path(name), float(scale)) if colon and name else Lora(Path(text), 1.0)
    except ValueError:
        parsed = Lora(Path(text), 1.0)  # the colon belongs to the name
    if not parsed.path.is_file():
        raise UserError(
            f"--lora '{parsed.path}' must be a safetensors file, but there is none of that name; check the path"
        )
    if not math.isfinite(parsed.scale):
        raise UserError(f"--lora '{parsed.path}' must have a number as its scale, got {parsed.scale}; give one")
    if parsed.scale == 0:
        raise UserError(f"--lora '{parsed.path}' at scale 0 changes nothing; leave it out")
    return parsed


@torch.no_grad()
def merge(pipeline: Any, lora: Lora) -> str:
    """Add the changes to the weights of `pipeline`, all of them or none, and give the file's checksum."""
    factors, alphas, stated = _read(pipeline, lora.path)
    changes: list[tuple[Tensor, Tensor]] = []
    for given, sides in factors.items():
        name, module = _module(pipeline, given, lora.path)
        times = lora.scale * _strength(given, len(sides["A"]), alphas, stated, lora.path)
        changes.append(_fitting(name, module.weight, _product(name, sides, lora.path) * times, lora.path))
        if "bias" in sides:
            changes.append(_fitting(name, module.bias, sides["bias"].float() * times, lora.path))
    if not all(bool(change.isfinite().all()) for _, change in changes):
        raise UserError(f"'{lora.path}' holds what is no number; it is damaged, fetch it again")
    if not any(bool(change.any()) for _, change in changes):
        raise UserError(f"'{lora.path}' changes nothing: all its products are zero; leave it out")
    for weight, change in changes:
        weight += change.to(weight.device, weight.dtype)
    return file_checksum(lora.path)


def _fitting(name: str, weight: Tensor | None, change: Tensor, path: Path) -> tuple[Tensor, Tensor]:
    """A weight or a bias and its change, in one shape."""
    if weight is None:
        raise UserError(f"'{path}' changes the bias of '{name}', which has none; check --model")
    if change.numel() != weight.numel():
        raise UserError(
            f"'{path}': the change of '{name}' has shape {tuple(change.shape)} and its weight "
            f"{tuple(weight.shape)}: it was made for another model; check --model"
        )
    return weight, change.reshape(weight.shape)


def _strength(name: str, rank: int, alphas: Mapping[str, float], stated: Stated, path: Path) -> float:
    """What a product is multiplied by besides the scale: alpha over rank, or 1 where nothing is said of it."""
    told = strength(stated, name, rank, path)
    if name in alphas:
        return alphas[name] / rank
    return 1.0 if told is None else told


def _read(pipeline: Any, path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, float], Stated]:
    """Both factors of each module, what their product is to be divided by the rank of, and what is stated elsewhere."""
    state, header = _state(pipeline, path)
    stated = stated_strengths(path, header)
    factors: dict[str, dict[str, Tensor]] = {}
    alphas: dict[str, float] = {}
    for key, value in state.items():
        if key.endswith(".alpha"):
            alphas[key.removesuffix(".alpha")] = float(value)
        elif (found := FACTOR.fullmatch(key)) and f"{found['side']}.{found['what']}" in SIDES:
            factors.setdefault(found["module"], {})[SIDES[f"{found['side']}.{found['what']}"]] = value
        else:
            raise UserError(f"'{path}': '{key}' is neither half of a low-rank change; it is no LoRA file known here")
    if not factors:
        raise UserError(f"'{path}' holds no low-rank changes; give a LoRA file")
    if halves := [name for name, sides in factors.items() if not {"A", "B"} <= sides.keys()]:
        raise UserError(f"'{path}' has only one half of the change of '{halves[0]}'; it is damaged, fetch it again")
    if lone := alphas.keys() - factors.keys():
        raise UserError(f"'{path}' has an alpha for '{min(lone)}' and no change; it is damaged, fetch it again")
    if alphas and stated:
        raise UserError(f"'{path}' states its strength twice, by alphas and by settings; save it anew with one of them")
    return factors, alphas, stated


def _state(pipeline: Any, path: Path) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The file's tensors, by diffusers' names where the pipeline's class knows how to translate others'; its header."""
    try:
        with safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"'{path}' is no readable safetensors file ({first_line(error)})") from None
    if not hasattr(pipeline, "lora_state_dict"):
        return state, header
    try:
        translated = type(pipeline).lora_state_dict(dict(state))
    except (ValueError, KeyError, RuntimeError, IndexError, AttributeError) as error:
        raise UserError(f"'{path}' is no LoRA file for {type(pipeline).__name__} ({first_line(error)})") from error
    if isinstance(translated, tuple):  # with alphas by name, for U-Nets
        weights, alphas, *_ = translated
        return {**weights, **{_alpha_name(name): value for name, value in (alphas or {}).items()}}, header
    return translated, header


def _alpha_name(name: str) -> str:
    return name if name.endswith(".alpha") else f"{name}.alpha"


def _module(pipeline: Any, name: str, path: Path) -> tuple[str, Any]:
    """The module that a change is of, with its whole name; an error with the nearest if there is none."""
    plain = name
    for wrapper in WRAPPERS:
        plain = plain.removeprefix(wrapper)
    parts = {part: module for part, module in pipeline.components.items() if isinstance(module, nn.Module)}
    part, _, inner = plain.partition(".")
    if part not in parts:
        part, inner = next(one for one in DENOISERS if one in parts), plain
    modules = dict(parts[part].named_modules())
    if isinstance(module := modules.get(inner), WITH_WEIGHTS):
        return f"{part}.{inner}", module
    known = [f"{part}.{one}" for one, module in modules.items() if isinstance(module, WITH_WEIGHTS)]
    near = nearest(f"{part}.{inner}", known)
    raise UserError(f"'{path}' changes '{name}', which this model does not have; {near}")


def _product(name: str, sides: Mapping[str, Tensor], path: Path) -> Tensor:
    down, up = sides["A"].float().flatten(1), sides["B"].float().flatten(1)
    if down.shape[0] != up.shape[1]:
        raise UserError(
            f"'{path}': the halves of the change of '{name}' have ranks {down.shape[0]} and {up.shape[1]}; "
            "it is damaged, fetch it again"
        )
    return up @ down
