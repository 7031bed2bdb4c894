"""Checkpoints that are whole or absent: written beside, flushed, then moved; the one before is kept."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitascope.train.optim import MovingAverage
from vitascope.types import UserError

LAST, BEFORE = "last.pt", "before.pt"


@dataclass(frozen=True)
class Progress:
    """Where a stage stands. Randomness and data position are functions of the step, so this is all there is to know."""

    stage: str
    step: int
    seconds: float


def save(
    folder: Path,
    progress: Progress,
    module: nn.Module,
    average: MovingAverage,
    optimizer: torch.optim.Optimizer,
    run: Any,
) -> None:
    """Replace the last checkpoint; until the new one is whole on disk the old one stays where it was."""
    state = {
        "progress": vars(progress),
        "module": module.state_dict(),
        "average": {"weights": average.weights, "num_updates": average.num_updates},
        "optimizer": optimizer.state_dict(),
        "run": run,
    }
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{LAST}"
    try:
        with open(fresh, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        fresh.unlink(missing_ok=True)
        raise UserError(
            f"could not write a checkpoint to '{folder}' ({error}); the one before is kept: free some space, then --resume"
        ) from None
    if (folder / LAST).exists():
        os.replace(folder / LAST, folder / BEFORE)
    os.replace(fresh, folder / LAST)


def load(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint: the last, else the one before; None where there is none."""
    for name in (LAST, BEFORE):
        path = folder / name
        if path.is_file():
            try:
                return torch.load(path, weights_only=True)
            except (RuntimeError, EOFError, pickle.UnpicklingError, OSError):
                continue
    return None


def restore(
    state: dict[str, Any], module: nn.Module, average: MovingAverage, optimizer: torch.optim.Optimizer
) -> Progress:
    """Put a checkpoint into a stage that has just begun."""
    module.load_state_dict(state["module"])
    for name, value in state["average"]["weights"].items():
        average.weights[name].copy_(value)
    average.num_updates = state["average"]["num_updates"]
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def strip(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
