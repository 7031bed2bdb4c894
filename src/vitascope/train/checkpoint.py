"""Checkpoints that are whole or absent: written beside, flushed, then moved; the one before is kept."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitascope.atomic import replacing
from vitascope.train.optim import MovingAverage
from vitascope.types import UserError

LAST, BEFORE, DAMAGED = "last.pt", "before.pt", "damaged.pt"


@dataclass(frozen=True)
class Position:
    """Where a stage stands. Randomness and data position are functions of the step, so this is all there is to know."""

    stage: str
    step: int
    seconds: float


def save(
    folder: Path,
    position: Position,
    module: nn.Module,
    average: MovingAverage,
    optimizer: torch.optim.Optimizer,
    run: Any,
) -> None:
    """Replace the last checkpoint. When the new one is whole on disk the old one is moved aside, then the new one into
    its place: if the process ends between the two, there is none in that place, and `load` takes the one aside."""
    state = {
        "progress": vars(position),  # the key of all checkpoints so far
        "module": module.state_dict(),
        "average": {"weights": average.weights, "num_updates": average.num_updates},
        "optimizer": optimizer.state_dict(),
        "run": run,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / LAST) as fresh:
            with open(fresh, "wb") as file:  # given a path, torch does not say why it failed
                torch.save(state, file)
            if (folder / LAST).exists():
                os.replace(folder / LAST, folder / BEFORE)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise UserError(
            f"no checkpoint can be written to '{folder}' ({_why(error)}); the one before is kept: make room there, "
            "then go on with --resume"
        ) from error


def _why(error: Exception) -> str:
    """The reason at the root of a chain of errors, in one line."""
    root: BaseException = error
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper
    return getattr(root, "strerror", None) or str(root).partition("\n")[0]


def load(folder: Path, tell: Callable[[str], None] = lambda text: None) -> dict[str, Any] | None:
    """The newest whole checkpoint: the last, else the one before; None where there is none.

    A damaged last one is put aside, so that the next save cannot move it over the good one.
    """
    found = [folder / name for name in (LAST, BEFORE) if (folder / name).is_file()]
    for path in found:
        state = _read(path)
        if state is not None:
            return state
        tell(f"'{path}' is damaged and put aside as '{DAMAGED}'")
        os.replace(path, folder / DAMAGED)
    if found:
        raise UserError(
            f"no checkpoint in '{folder}' is whole: put a copy of one back, or go on again with --resume to begin the "
            "stage anew"
        )
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # torch does not look at the checksums that it writes
                return None
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile):
        return None


def restore(
    state: dict[str, Any], module: nn.Module, average: MovingAverage, optimizer: torch.optim.Optimizer
) -> Position:
    """Put a checkpoint into a stage that has just begun."""
    module.load_state_dict(state["module"])
    for name, value in state["average"]["weights"].items():
        average.weights[name].copy_(value)
    average.num_updates = state["average"]["num_updates"]
    optimizer.load_state_dict(state["optimizer"])
    return Position(**state["progress"])
