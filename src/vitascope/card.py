"""A model on disk: its weights, and beside them a card with its settings, a checksum and how it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vitascope.atomic import replacing
from vitascope.checksums import sha256_of
from vitascope.config import from_json, nearest, to_json
from vitascope.errors import why_unwritten
from vitascope.system import ModelConfig, VideoModel
from vitascope.types import UserError

WEIGHTS, CARD = "model.safetensors", "model.json"


@dataclass(frozen=True)
class Card:
    """What stands beside the weights: the settings, a checksum, and whatever the trainer has to report."""

    config: ModelConfig
    sha256: str
    report: Mapping[str, Any]


def save_model(
    config: ModelConfig,
    state: Mapping[str, Tensor],
    folder: Path,
    report: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and card, each whole or not at all. The card holds the checksum of its weights, so that a pair torn
    between the two moves is seen for what it is."""
    tensors = {
        name: value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()
        for name, value in state.items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / CARD) as card, replacing(folder / WEIGHTS) as weights:
            save_file(tensors, weights)
            told = {"config": to_json(config), "sha256": sha256_of(weights), "report": dict(report)}
            card.write_text(json.dumps(told, indent=1))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"could not write the model to '{folder}' ({why_unwritten(error)}); what was there is kept"
        ) from None


def model_folder(folder: Path) -> Path:
    """The folder of a model, or that of a run, which has it inside."""
    return folder / "model" if (folder / "model" / CARD).is_file() else folder


def read_card(folder: Path) -> Card:
    path = folder / CARD
    if not path.is_file():
        raise UserError(f"'{folder}' holds no model: '{CARD}' is missing; give the folder that training wrote")
    try:
        data = json.loads(path.read_text())
        config, sha256, report = from_json(data["config"]), data["sha256"], data["report"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is damaged ({error!r}); copy the model again") from None
    if not isinstance(config, ModelConfig):
        raise UserError(f"'{path}' describes no model but '{type(config).__name__}'; copy the model again")
    return Card(config, sha256, report)


def load_model(folder: Path, device: str = "cpu") -> VideoModel:
    """Rebuild a model from its folder; damaged or foreign weights are refused, never partly loaded."""
    card = read_card(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"'{folder}' holds no weights: '{WEIGHTS}' is missing; copy the model again")
    try:
        intact = sha256_of(path) == card.sha256
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({os.strerror(error.errno or 0)}); see to its permissions") from None
    if not intact:
        raise UserError(f"'{path}' is damaged: its checksum is not the one in '{CARD}'; copy the model again")
    try:
        model = card.config.build()
    except UserError as error:
        raise UserError(f"'{folder / CARD}': {error}") from error
    load_weights(model, path)
    return model.eval().requires_grad_(False).to(device)


def load_weights(module: nn.Module, path: Path) -> None:
    """Load every tensor of `path` into `module`; a name or shape without partner is an error with the nearest name."""
    try:
        with safe_open(path, "pt") as file:
            given = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(f"'{path}' is no readable safetensors file ({error})") from None
    load_state(module, given, str(path))


def load_state(module: nn.Module, given: Mapping[str, Tensor], source: str) -> None:
    """As `load_weights`, from memory; `source` is named in errors."""
    wanted = module.state_dict()
    foreign, missing = [n for n in given if n not in wanted], [n for n in wanted if n not in given]
    told = f"{source}: {len(foreign)} weights are foreign and {len(missing)} missing, first"
    if foreign:
        raise UserError(f"{told} '{foreign[0]}', which the model does not have; {nearest(foreign[0], list(wanted))}")
    if missing:
        raise UserError(f"{told} '{missing[0]}', which the model needs; {nearest(missing[0], list(given))}")
    for name, value in given.items():
        if value.shape != wanted[name].shape:
            raise UserError(
                f"{source}: '{name}' has shape {tuple(value.shape)}, the model needs {tuple(wanted[name].shape)}"
            )
    module.load_state_dict({name: value.to(wanted[name].dtype) for name, value in given.items()})
