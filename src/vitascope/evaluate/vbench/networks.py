"""The networks of VBench's dimensions, from files of the user's, with pictures prepared as the official code does."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vitascope.checksums import sha256_of
from vitascope.errors import UserError
from vitascope.evaluate.networks.features import CPU, load_weights
from vitascope.evaluate.networks.pretrained import ClipNetwork, load_pretrained
from vitascope.evaluate.prepare import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, middle, short_side_to

SIDE, LARGER_SIDE = 224, 256
BATCH = 32

Embed = Callable[[Float[Tensor, "t 3 h w"]], Float[Tensor, "t d"]]


@dataclass(frozen=True)
class Networks:
    """What the user has; a dimension whose network is missing is left out and listed.

    Networks that also look at the picture from which a video was made have a second way in, for pictures: the official
    code scales those with antialiasing, and frames of videos without.
    """

    dino: Embed | None = None  # ViT-B/16
    dino_cut: Embed | None = None  # the same, of the middle of frames
    dino_picture: Embed | None = None
    clip: Embed | None = None  # ViT-B/32
    words: Callable[[str], Float[Tensor, "d"]] | None = None  # of the same
    large_clip: Embed | None = None  # ViT-L/14
    aesthetic_head: tuple[Float[Tensor, "1 d"], Float[Tensor, "1"]] | None = None
    dreamsim: Embed | None = None
    dreamsim_picture: Embed | None = None
    dino2: Embed | None = None  # ViT-B/14, of the middle of frames
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by field: file and sha256


@dataclass(frozen=True)
class Files:
    """Where the user keeps them: folders as transformers writes them, LAION's head as published, DreamSim scripted."""

    dino: Path | None = None
    clip: Path | None = None
    large_clip: Path | None = None
    head: Path | None = None
    dreamsim: Path | None = None
    dino2: Path | None = None


def load_networks(files: Files, device: torch.device = CPU) -> Networks:
    """All of them on `device`, where frames are prepared too; what they see comes back to the CPU."""
    given: dict[str, Any] = {}

    def batched(embed: Embed) -> Embed:
        return in_batches(embed, device)

    if files.dino is not None:
        vit = load_pretrained("dino", files.dino, "ViTModel", "vit").to(device)
        given["dino"] = batched(
            lambda frames: vit(for_dino(frames), interpolate_pos_encoding=True).last_hidden_state[:, 0]
        )
        given["dino_cut"] = batched(lambda frames: vit(cut(frames)).last_hidden_state[:, 0])
        given["dino_picture"] = batched(lambda frames: vit(cut(frames, antialias=True)).last_hidden_state[:, 0])
    if files.clip is not None:
        base = ClipNetwork(files.clip, device)
        given["clip"], given["words"] = batched(lambda frames: base.pictures(for_clip(frames))), base.text
    if files.large_clip is not None:
        large = ClipNetwork(files.large_clip, device)
        given["large_clip"] = batched(lambda frames: large.pictures(for_clip(frames)))
    if files.head is not None:
        given["aesthetic_head"] = read_head(files.head)
    if files.dreamsim is not None:
        dreamsim = load_weights(files.dreamsim).to(device)
        given["dreamsim"] = batched(lambda frames: dreamsim(squashed(frames)))
        given["dreamsim_picture"] = batched(lambda frames: dreamsim(squashed(frames, antialias=True)))
    if files.dino2 is not None:
        newer = load_pretrained("dino2", files.dino2, "Dinov2Model", "dinov2").to(device)
        given["dino2"] = batched(lambda frames: newer(cut(frames)).last_hidden_state[:, 0])
    paths = {one.name: getattr(files, one.name) for one in fields(files)}
    names = {
        "aesthetic_head" if name == "head" else name: {"file": path.name, "sha256": sha256_of(path)}
        for name, path in paths.items()
        if path is not None
    }
    return Networks(**given, names=names)


def in_batches(embed: Embed, device: torch.device) -> Embed:
    @torch.no_grad()
    def in_parts(frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
        return torch.cat([embed(part.to(device)).cpu() for part in frames.split(BATCH)])

    return in_parts


def for_clip(frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 224 224"]:
    """Short side to 224, bicubic without antialiasing, the middle, CLIP's mean and deviation."""
    return normed(middle(scaled(frames, SIDE, "bicubic"), SIDE), CLIP_MEAN, CLIP_STD)


def for_dino(frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 height width"]:
    """Short side to 224, bilinear, nothing cut off, ImageNet's mean and deviation."""
    return normed(scaled(frames, SIDE, "bilinear"), IMAGENET_MEAN, IMAGENET_STD)


def cut(frames: Float[Tensor, "t 3 h w"], *, antialias: bool = False) -> Float[Tensor, "t 3 224 224"]:
    """What DINO sees in VBench-I2V and DINOv2 in VBench-Long: short side to 256, bicubic, the middle 224."""
    return normed(middle(scaled(frames, LARGER_SIDE, "bicubic", antialias), SIDE), IMAGENET_MEAN, IMAGENET_STD)


def squashed(frames: Float[Tensor, "t 3 h w"], *, antialias: bool = False) -> Float[Tensor, "t 3 224 224"]:
    """What DreamSim sees: both sides to 224, bicubic. It takes mean and deviation off by itself."""
    return functional.interpolate(frames, (SIDE, SIDE), mode="bicubic", antialias=antialias)


def scaled(
    frames: Float[Tensor, "t 3 h w"], side: int, mode: str, antialias: bool = False
) -> Float[Tensor, "t 3 height width"]:
    """The short side to `side`. What bicubic curves overshoot stays, as in the official code."""
    size = short_side_to(side, *frames.shape[-2:])
    return functional.interpolate(frames, size, mode=mode, antialias=antialias)


def normed(
    frames: Float[Tensor, "t 3 h w"], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Float[Tensor, "t 3 h w"]:
    return (frames - frames.new_tensor(mean)[:, None, None]) / frames.new_tensor(std)[:, None, None]


def read_head(path: Path) -> tuple[Float[Tensor, "1 d"], Float[Tensor, "1"]]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return state["weight"].float(), state["bias"].float()
    except (OSError, KeyError, TypeError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        why = type(error).__name__
        raise UserError(f"'{path}' is no linear head of LAION ({why}); give sa_0_4_vit_l_14_linear.pth") from None
