"""Where a model comes from: a folder of ours, the package itself, or a checkpoint of others."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import vitascope
from vitascope.card import load_model, model_folder, read_card
from vitascope.config import code_options
from vitascope.device import usual_device
from vitascope.sample.model import HUB, Model, OwnModel
from vitascope.types import UserError


def load(
    folder: str | Path | None = None,
    device: str | None = None,
    *,
    revision: str | None = None,
    dtype: str | None = None,
    offload: str | None = None,
    loras: Sequence[str] = (),
) -> Model:
    """The model in `folder`, the bundled one, or after "hub:" the checkpoint of an id or a folder in diffusers' layout.

    On the GPU where there is one unless `device` says otherwise. The options are a checkpoint's: `revision` of its
    repository, `dtype` ("bf16", "fp16", "fp32"), `offload` ("none", "model", "sequential") and `loras` ("FILE" or
    "FILE:scale").
    """
    if folder is not None and str(folder).startswith(HUB):
        from vitascope.sample.hub.model import load_checkpoint  # late: an extra, and slow to import

        found = load_checkpoint(
            str(folder).removeprefix(HUB), revision, dtype, offload, tuple(loras), usual_device(device)
        )
        found.options = _typed(model=folder, revision=revision, dtype=dtype, offload=offload, lora=loras)
        return found
    for option, value in (("revision", revision), ("dtype", dtype), ("offload", offload), ("lora", loras)):
        if value:
            raise UserError(f"{option} is for checkpoints in diffusers' layout (hub:ID or hub:FOLDER); leave it out")
    path = bundled() if folder is None else model_folder(Path(folder))
    if (path / "model_index.json").is_file() and not (path / "model.json").is_file():
        raise UserError(f"'{path}' is a checkpoint in diffusers' layout: give it as {HUB}{path}")
    model = OwnModel(load_model(path, usual_device(device)), read_card(path))
    model.options, model.code = _typed(model=folder), code_options(model.card.config)
    return model


def _typed(**options: str | Path | Sequence[str] | None) -> str:
    """Options as they were typed, each after a blank."""
    words = [
        (f"--{name}", str(one))
        for name, given in options.items()
        for one in ([given] if isinstance(given, (str, Path)) else given or ())
    ]
    return "".join(f" {name} {shlex.quote(value)}" for name, value in words)


def load_own(folder: str | Path | None = None, device: str | None = None) -> OwnModel:
    """As `load`, for what needs the parts of a model of ours."""
    model = load(folder, device)
    if not isinstance(model, OwnModel):
        raise UserError(f"'{folder}' is a checkpoint of others, whose parts this cannot use; give a model of vitascope")
    return model


def bundled() -> Path:
    """The folder of the model that came with the package."""
    folders = sorted(card.parent for card in (Path(vitascope.__file__).parent / "bundled").glob("*/model.json"))
    if not folders:
        raise UserError(
            "no model came with this installation; train one ('vitascope train laptop:stiv') and give its folder"
        )
    return folders[0]
