"""Where a model comes from: a folder of ours, the package itself, or a checkpoint of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import vitascope
from vitascope.card import CARD, load_model, model_folder, read_card
from vitascope.config import code_files
from vitascope.device import usual_device
from vitascope.sample.model import HUB, Model, OwnModel, Source
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

        name = str(folder).removeprefix(HUB)
        return load_checkpoint(name, revision, dtype, offload, tuple(loras), usual_device(device))
    for option, value in (("revision", revision), ("dtype", dtype), ("offload", offload), ("lora", loras)):
        if value:
            raise UserError(f"{option} is for checkpoints in diffusers' layout (hub:ID or hub:FOLDER); leave it out")
    path = bundled() if folder is None else model_folder(Path(folder))
    if (path / "model_index.json").is_file() and not (path / CARD).is_file():
        raise UserError(f"'{path}' is a checkpoint in diffusers' layout: give it as {HUB}{path}")
    system, card = load_model(path, usual_device(device)), read_card(path)
    return OwnModel(system, card, Source(None if folder is None else str(folder), code=code_files(card.config)))


def load_own(folder: str | Path | None = None, device: str | None = None) -> OwnModel:
    """As `load`, for what needs the parts of a model of ours."""
    model = load(folder, device)
    if not isinstance(model, OwnModel):
        raise UserError(f"'{folder}' is a checkpoint of others, whose parts this cannot use; give a model of vitascope")
    return model


def bundled() -> Path:
    """The folder of the model that came with the package."""
    folders = sorted(card.parent for card in (Path(vitascope.__file__).parent / "bundled").glob(f"*/{CARD}"))
    if not folders:
        raise UserError(
            "no model came with this installation; train one ('vitascope train laptop:stiv') and give its folder"
        )
    return folders[0]
