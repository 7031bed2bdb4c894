"""The weights of a PixArt (Chen et al. 2023, 2024), the text-to-image model that STIV was built on, under STIV's names.

What both models have alike comes over: spatial attention, cross attention and the feed-forward layer of each block. All
else differs (positions, modulation, what enters and leaves) and begins anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vitascope.types import UserError

MATRICES = {
    "space.enter": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "space.leave": ("attn1.to_out.0",),
    "text.query": ("attn2.to_q",),
    "text.enter": ("attn2.to_k", "attn2.to_v"),
    "text.leave": ("attn2.to_out.0",),
    "mlp.0": ("ff.net.0.proj",),
    "mlp.2": ("ff.net.2",),
}
"""Of a block: our layer, and those of PixArt (as diffusers names them) that stand in it one above another."""
LEFT_OUT = ("pos_embed.", "adaln_single.", "caption_projection.", "proj_out.", "scale_shift_table")
TAKEN = tuple(f"backbone.blocks.*.{layer}.*" for layer in MATRICES)


def is_pixart(folder: Path) -> bool:
    try:
        return _settings(folder).get("_class_name") == "PixArtTransformer2DModel"
    except (OSError, ValueError, AttributeError):
        return False


def heads_of(folder: Path) -> int:
    """Into how many heads a PixArt cuts the width: the shapes of its weights do not tell."""
    heads = _settings(folder).get("num_attention_heads")
    if not isinstance(heads, int):
        raise UserError(f"'{folder / 'config.json'}' does not tell num_attention_heads; copy it again")
    return heads


def _settings(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def taken_by(depth: int) -> set[str]:
    """Names of the weights that a model with so many main blocks takes: blocks after those (MaskDiT's tail) have no
    counterpart in a PixArt."""
    kinds = ("weight", "bias")
    return {f"backbone.blocks.{block}.{layer}.{kind}" for block in range(depth) for layer in MATRICES for kind in kinds}


def refuse_other_sizes(given: Iterable[str], folder: Path, depth: int, heads: int) -> None:
    """Weights `given` of a PixArt for a model of `depth` main blocks of `heads` heads each. A block too many would
    otherwise be lost in silence where the model has tail blocks, and other heads have weights of the same shape."""
    theirs = {int(name.split(".")[2]) for name in given}
    mistakes = []
    if theirs != set(range(depth)):
        alone = sorted(theirs.symmetric_difference(range(depth)))
        where = "the PixArt" if len(theirs) > depth else "the backbone"
        names = ", ".join(f"backbone.blocks.{block}" for block in alone)
        mistakes.append(
            f"it has {len(theirs)} blocks and the backbone {depth} before its tail, so that {names} of {where} would "
            f"find no partner; set model.backbone.depth={len(theirs)}"
        )
    if (wanted := heads_of(folder)) != heads:
        mistakes.append(f"it has {wanted} heads and the backbone {heads}; set model.backbone.heads={wanted}")
    if mistakes:
        raise UserError(f"'{folder}' does not fit: {'. Also: '.join(mistakes)}")


def read_pixart(folder: Path) -> dict[str, Tensor]:
    """Weights of the folder of a PixArt transformer in diffusers' layout; every name must be understood."""
    given: dict[str, Tensor] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            given.update(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"'{folder}' holds no readable weights ({error}); copy it again") from None
    return renamed(given, str(folder))


def renamed(given: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    blocks = {int(found[1]) for name in given if (found := re.match(r"transformer_blocks\.(\d+)\.", name))}
    used, taken, missing = set(), {}, []
    for block in sorted(blocks):
        for ours, theirs in MATRICES.items():
            for kind in ("weight", "bias"):
                names = [f"transformer_blocks.{block}.{layer}.{kind}" for layer in theirs]
                used.update(names)
                if lacking := [name for name in names if name not in given]:
                    missing += lacking
                    continue
                taken[f"backbone.blocks.{block}.{ours}.{kind}"] = torch.cat([given[name] for name in names])
    foreign = [
        name
        for name in given
        if name not in used
        and not name.startswith(LEFT_OUT)
        and not re.fullmatch(r"transformer_blocks\.\d+\.scale_shift_table", name)
    ]
    if missing or foreign or not blocks or blocks != set(range(len(blocks))):
        told = [f"it lacks {', '.join(missing)}"] * bool(missing) + [f"it also has {', '.join(foreign)}"] * bool(
            foreign
        )
        raise UserError(f"'{source}' is no PixArt that is known here: {'; '.join(told) or 'it has no whole blocks'}")
    return taken
