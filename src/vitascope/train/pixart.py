"""The weights of a PixArt (Chen et al. 2023, 2024), the text-to-image model that STIV was built on, under STIV's names.

What both models have alike comes over: spatial attention, cross attention and the feed-forward layer of each block. All
else differs (positions, modulation, what enters and leaves) and begins anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

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
        return json.loads((folder / "config.json").read_text()).get("_class_name") == "PixArtTransformer2DModel"
    except (OSError, ValueError, AttributeError):
        return False


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
