"""Low-rank changes to weights (LoRA), added to a checkpoint's own before anything else is done with them."""

from __future__ import annotations

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
from vitascope.sample.hub.folder import sha256_of
from vitascope.sample.hub.traits import DENOISERS
from vitascope.types import UserError

FACTOR = re.compile(r"(?P<module>.+?)\.(?:lora\.|lora_)(?P<side>A|B|down|up)(?:\.default)?\.weight")
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
    if parsed.scale == 0:
        raise UserError(f"--lora '{parsed.path}' at scale 0 changes nothing; leave it out")
    return parsed


@torch.no_grad()
def merge(pipeline: Any, lora: Lora) -> str:
    """Add the changes to the weights of `pipeline`, all of them or none, and give the file's checksum."""
    factors, alphas = _read(pipeline, lora.path)
    changes: list[tuple[Tensor, Tensor]] = []
    for given, sides in factors.items():
        name, weight = _weight(pipeline, given, lora.path)
        change = _product(name, sides, alphas.get(given), lora)
        if change.numel() != weight.numel():
            raise UserError(
                f"'{lora.path}': the change of '{name}' has shape {tuple(change.shape)} and its weight "
                f"{tuple(weight.shape)}: it was made for another model; check --model"
            )
        changes.append((weight, change.reshape(weight.shape)))
    if not any(bool(change.any()) for _, change in changes):
        raise UserError(f"'{lora.path}' changes nothing: all its products are zero; leave it out")
    for weight, change in changes:
        weight += change.to(weight.device, weight.dtype)
    return sha256_of(lora.path)


def _read(pipeline: Any, path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, float]]:
    """Both factors of each module, and what their product is to be divided by the rank of."""
    factors: dict[str, dict[str, Tensor]] = {}
    alphas: dict[str, float] = {}
    for key, value in _state(pipeline, path).items():
        if key.endswith(".alpha"):
            alphas[key.removesuffix(".alpha")] = float(value)
        elif found := FACTOR.fullmatch(key):
            side = {"down": "A", "up": "B"}.get(found["side"], found["side"])
            factors.setdefault(found["module"], {})[side] = value
        else:
            raise UserError(f"'{path}': '{key}' is neither half of a low-rank change; it is no LoRA file known here")
    if not factors:
        raise UserError(f"'{path}' holds no low-rank changes; give a LoRA file")
    if halves := [name for name, sides in factors.items() if len(sides) < 2]:
        raise UserError(f"'{path}' has only one half of the change of '{halves[0]}'; it is damaged, fetch it again")
    return factors, alphas


def _state(pipeline: Any, path: Path) -> Mapping[str, Any]:
    """The file's tensors, by diffusers' names where the pipeline's class knows how to translate other programs'."""
    try:
        with safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(f"'{path}' is no readable safetensors file ({first_line(error)})") from None
    if not hasattr(pipeline, "lora_state_dict"):
        return state
    try:
        translated = type(pipeline).lora_state_dict(dict(state))
    except (ValueError, KeyError, RuntimeError, IndexError, AttributeError) as error:
        raise UserError(f"'{path}' is no LoRA file for {type(pipeline).__name__} ({first_line(error)})") from error
    if isinstance(translated, tuple):  # with alphas by name, for U-Nets
        weights, alphas, *_ = translated
        return {**weights, **{_alpha_name(name): value for name, value in (alphas or {}).items()}}
    return translated


def _alpha_name(name: str) -> str:
    return name if name.endswith(".alpha") else f"{name}.alpha"


def _weight(pipeline: Any, name: str, path: Path) -> tuple[str, Tensor]:
    """The weight that a change is of, with the whole name of its module; an error with the nearest if there is none."""
    plain = name
    for wrapper in WRAPPERS:
        plain = plain.removeprefix(wrapper)
    parts = {part: module for part, module in pipeline.components.items() if isinstance(module, nn.Module)}
    part, _, inner = plain.partition(".")
    if part not in parts:
        part, inner = next(one for one in DENOISERS if one in parts), plain
    modules = dict(parts[part].named_modules())
    if isinstance(module := modules.get(inner), WITH_WEIGHTS):
        return f"{part}.{inner}", module.weight
    known = [f"{part}.{one}" for one, module in modules.items() if isinstance(module, WITH_WEIGHTS)]
    near = nearest(f"{part}.{inner}", known)
    raise UserError(f"'{path}' changes '{name}', which this model does not have; {near}")


def _product(name: str, sides: Mapping[str, Tensor], alpha: float | None, lora: Lora) -> Tensor:
    down, up = sides["A"].float().flatten(1), sides["B"].float().flatten(1)
    if down.shape[0] != up.shape[1]:
        raise UserError(
            f"'{lora.path}': the halves of the change of '{name}' have ranks {down.shape[0]} and {up.shape[1]}; "
            "it is damaged, fetch it again"
        )
    rank = down.shape[0]
    return up @ down * (lora.scale * (1.0 if alpha is None else alpha / rank))
