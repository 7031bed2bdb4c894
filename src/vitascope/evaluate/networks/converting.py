"""Released checkpoints into the form in which networks are read here: what no library converts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitascope.atomic import replacing
from vitascope.config import nearest
from vitascope.errors import UserError, first_line, install
from vitascope.evaluate.networks.features import load_checkpoint, sha256_known
from vitascope.evaluate.networks.vjepa import VJepa

State = Mapping[str, Tensor]

PIXELS, FRAMES, HEADS = 224, 16, 16
"""Of the released ViT-g, which its file does not say."""


@dataclass(frozen=True)
class Conversion:
    """`files`: what it wants, in this order. `write` is given their content and a place to write to."""

    files: tuple[str, ...]
    write: Callable[[Sequence[Mapping[str, Any]], Path], None]


def convert(name: str, files: Sequence[Path], out: Path, *, force: bool = False) -> None:
    if name not in CONVERSIONS:
        raise UserError(f"nothing is known to convert for '{name}'; {nearest(name, list(CONVERSIONS))}")
    wanted = CONVERSIONS[name]
    if len(files) != len(wanted.files):
        raise UserError(f"'{name}' is made of {' and '.join(wanted.files)}; got {len(files)} files")
    if not force and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise UserError(f"there is something at '{out}' already; name another place, or pass --force")
    for path in files:
        if not path.is_file():
            raise UserError(f"there is no file '{path}'; fetch {' and '.join(wanted.files)} first")
        sha256_known(path, KNOWN)
    given = [load_checkpoint(path) for path in files]
    try:
        wanted.write(given, out)
    except (KeyError, RuntimeError, ValueError) as error:
        told = f"it has no {error}" if isinstance(error, KeyError) else first_line(error)
        raise UserError(
            f"{' and '.join(map(str, files))} must be {' and '.join(wanted.files)}, and cannot be read so ({told}); "
            "fetch them again"
        ) from None


def write_videomae(given: Sequence[Mapping[str, Any]], out: Path) -> None:
    """A folder that transformers reads, from a checkpoint of VideoMAE's own code that was fine-tuned to classify.

    Its biases are those of queries and values, with none for keys; places are sines, and in no file.
    """
    try:
        import transformers
    except ImportError:
        raise UserError(f"a folder of transformers is written by transformers: {install('hub')}") from None
    content = given[0]
    bare = content.get("model", content.get("module", content))
    state = {name: value.float() for name, value in bare.items() if isinstance(value, Tensor)}
    kernel = state["patch_embed.proj.weight"]
    settings = transformers.VideoMAEConfig(
        image_size=PIXELS, num_frames=FRAMES, num_attention_heads=HEADS, patch_size=kernel.shape[3],
        tubelet_size=kernel.shape[2], hidden_size=kernel.shape[0], num_hidden_layers=depth_of(state, "blocks."),
        intermediate_size=len(state["blocks.0.mlp.fc1.weight"]), num_labels=len(state["head.weight"]),
        qkv_bias=True, use_mean_pooling=True, layer_norm_eps=1e-6,
    )  # fmt: skip
    network = transformers.VideoMAEForVideoClassification(settings)
    network.load_state_dict(dict(as_transformers(state)))
    network.save_pretrained(out)


def as_transformers(state: State) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if block is None:
            yield VIDEOMAE.get(name, name), value
            continue
        place, inner = f"videomae.encoder.layer.{block[1]}.", block[2]
        if inner == "attn.qkv.weight":
            for one, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                yield f"{place}attention.attention.{one}.weight", part
        else:
            yield place + VIDEOMAE_BLOCK.get(inner, inner), value


VIDEOMAE = {
    "patch_embed.proj.weight": "videomae.embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "videomae.embeddings.patch_embeddings.projection.bias",
    "head.weight": "classifier.weight",
    "head.bias": "classifier.bias",
}
VIDEOMAE_BLOCK = {
    "attn.q_bias": "attention.attention.query.bias",
    "attn.v_bias": "attention.attention.value.bias",
    **{f"{one}.{kind}": f"{other}.{kind}" for kind in ("weight", "bias") for one, other in (
        ("attn.proj", "attention.output.dense"), ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
        ("norm1", "layernorm_before"), ("norm2", "layernorm_after"),
    )},
}  # fmt: skip


def write_vjepa(given: Sequence[Mapping[str, Any]], out: Path) -> None:
    """One file of the encoder that was averaged while training and the pooler of its probe."""
    encoder, probe = given
    averaged = encoder.get("target_encoder", encoder.get("encoder"))
    if averaged is None:
        raise KeyError("target_encoder")
    state = {
        "encoder." + name.removeprefix("module.").removeprefix("backbone."): value.float()
        for name, value in averaged.items()
    }
    for name, value in probe["classifier"].items():
        if name.removeprefix("module.").startswith("pooler."):
            state[name.removeprefix("module.")] = value.float()
    VJepa.of(state)  # as it will be read
    with replacing(out) as place:
        torch.save(state, place)


def depth_of(state: State, start: str) -> int:
    return 1 + max(int(name.removeprefix(start).split(".")[0]) for name in state if name.startswith(start))


KNOWN = {
    "vit_g_hybrid_pt_1200e_ssv2_ft.pth": "5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",
}
CONVERSIONS: dict[str, Conversion] = {
    "videomae": Conversion(("vit_g_hybrid_pt_1200e_ssv2_ft.pth",), write_videomae),
    "vjepa": Conversion(("vith16.pth.tar", "ssv2-probe.pth.tar"), write_vjepa),
}
