"""VBench's dimensions measured here, over a folder of videos, with networks from folders of the user's."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vitascope import media
from vitascope.config import nearest
from vitascope.errors import UserError
from vitascope.evaluate.networks.pretrained import ClipNetwork, load_pretrained
from vitascope.evaluate.vbench import dimensions
from vitascope.evaluate.vbench.aggregate import VBENCH
from vitascope.evaluate.vbench.dimensions import FLOW, INTERPOLATION, Sum, dis_flow, halfway
from vitascope.evaluate.vbench.files import SAMPLES, Prompt, find_videos
from vitascope.evaluate.vbench.report import SuiteReport, over_videos
from vitascope.types import Clip

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 224
BATCH = 32

Embed = Callable[[Float[Tensor, "t 3 h w"]], Float[Tensor, "t d"]]


@dataclass(frozen=True)
class Networks:
    """What the user has; a dimension whose network is missing is left out and listed."""

    dino: Embed | None = None  # ViT-B/16
    clip: Embed | None = None  # ViT-B/32
    words: Callable[[str], Float[Tensor, "d"]] | None = None  # of the same
    large_clip: Embed | None = None  # ViT-L/14
    aesthetic_head: tuple[Float[Tensor, "1 d"], Float[Tensor, "1"]] | None = None
    names: Mapping[str, str] = field(default_factory=dict)  # for the protocol


@dataclass(frozen=True)
class Dimension:
    score: Callable[[Clip, Prompt, Networks], Sum | None]  # None: the video does not count
    needs: tuple[str, ...] = ()
    by_frames: bool = False  # all frames count alike, so that long videos weigh more; else all videos
    departures: tuple[str, ...] = ()


def measure(
    folder: Path,
    prompts: Sequence[Prompt],
    networks: Networks,
    *,
    model: str,
    wanted: Sequence[str] = (),
    progress: Callable[[int, int], None],
) -> SuiteReport:
    """Every dimension for which there are videos and a network; one decoding serves all. Without `wanted`, all."""
    for name in wanted:
        if name not in DIMENSIONS:
            raise UserError(f"'{name}' is not measured here; {nearest(name, list(DIMENSIONS))}; else use --official")
    chosen = {name: one for name, one in DIMENSIONS.items() if not wanted or name in wanted}
    left_out = {name: [need for need in one.needs if getattr(networks, need) is None] for name, one in chosen.items()}
    found, missing = find_videos(folder, prompts)
    sums: dict[str, list[Sum]] = {name: [] for name, lacking in left_out.items() if not lacking}
    kept: dict[tuple[str, str], int] = {}
    skipped = []
    for number, (path, prompt) in enumerate(found.items(), 1):
        asked = [name for name in sums if name in prompt.dimensions]
        asked = [name for name in asked if kept.get((name, prompt.text), 0) < SAMPLES]  # the first five static ones
        try:
            clip = media.read_video(path) if asked else None
            for name in asked:
                score = DIMENSIONS[name].score(clip, prompt, networks) if clip else None
                if score is not None:
                    sums[name].append(score)
                    kept[name, prompt.text] = kept.get((name, prompt.text), 0) + 1
        except UserError as error:
            skipped.append(f"{path.name}: {error}")
        progress(number, len(found))
    measured = {}
    for name, values in sums.items():
        by_frames = DIMENSIONS[name].by_frames
        units = values if by_frames else [Sum(one.value, 1) for one in values]
        if units:
            totals, counts = [one.total for one in units], [one.count for one in units]
            measured[name] = over_videos(totals, counts, DIMENSIONS[name].departures)
    protocol = {
        "version": version("vitascope"), "networks": dict(networks.names), "missing_videos": len(missing),
        "skipped": skipped, "left_out": {name: lacking for name, lacking in left_out.items() if lacking},
    }  # fmt: skip
    return SuiteReport(suite=VBENCH.name, model=model, dimensions=measured, protocol=protocol)


# One line each: what is read, by what network.


def subject(clip: Clip, prompt: Prompt, networks: Networks) -> Sum | None:
    return dimensions.consistency(networks.dino(clip.pixels)) if networks.dino else None


def background(clip: Clip, prompt: Prompt, networks: Networks) -> Sum | None:
    return dimensions.consistency(networks.clip(clip.pixels)) if networks.clip else None


def flickering(clip: Clip, prompt: Prompt, networks: Networks) -> Sum | None:
    return dimensions.temporal_flickering(clip.pixels) if dimensions.is_static(clip, dis_flow) else None


def smoothness(clip: Clip, prompt: Prompt, networks: Networks) -> Sum | None:
    return dimensions.motion_smoothness(clip.pixels, halfway(dis_flow))


def dynamics(clip: Clip, prompt: Prompt, networks: Networks) -> Sum | None:
    return dimensions.dynamic_degree(clip, dis_flow)


def aesthetics(clip: Clip, prompt: Prompt, networks: Networks) -> Sum | None:
    if networks.large_clip is None or networks.aesthetic_head is None:
        return None
    return dimensions.aesthetic_quality(networks.large_clip(clip.pixels), *networks.aesthetic_head)


def style(clip: Clip, prompt: Prompt, networks: Networks) -> Sum | None:
    if networks.clip is None or networks.words is None:
        return None
    try:
        about = prompt.about["appearance_style"]["appearance_style"]
    except (LookupError, TypeError):
        raise UserError(
            f"'{prompt.text}' has no auxiliary_info for appearance_style; give the official file of prompts"
        ) from None
    return dimensions.appearance_style(networks.clip(clip.pixels), networks.words(about))


DIMENSIONS: dict[str, Dimension] = {
    "subject_consistency": Dimension(subject, ("dino",), by_frames=True),
    "background_consistency": Dimension(background, ("clip",), by_frames=True),
    "temporal_flickering": Dimension(flickering, departures=(f"static videos chosen with {FLOW}",)),
    "motion_smoothness": Dimension(smoothness, departures=(INTERPOLATION,)),
    "dynamic_degree": Dimension(dynamics, departures=(FLOW,)),
    "aesthetic_quality": Dimension(aesthetics, ("large_clip", "aesthetic_head")),
    "appearance_style": Dimension(style, ("clip", "words"), by_frames=True),
}


# The networks, with the pictures prepared as the official code does.


def for_clip(frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 224 224"]:
    """Short side to 224, bicubic without antialiasing, the middle, CLIP's mean and deviation."""
    scaled = short_side(frames, "bicubic")
    top, left = (scaled.shape[-2] - SIDE) // 2, (scaled.shape[-1] - SIDE) // 2
    return normed(scaled[..., top : top + SIDE, left : left + SIDE], CLIP_MEAN, CLIP_STD)


def for_dino(frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 height width"]:
    """Short side to 224, bilinear, nothing cut off, ImageNet's mean and deviation."""
    return normed(short_side(frames, "bilinear"), IMAGENET_MEAN, IMAGENET_STD)


def short_side(frames: Float[Tensor, "t 3 h w"], mode: str) -> Float[Tensor, "t 3 height width"]:
    height, width = frames.shape[-2:]
    size = (SIDE, SIDE * width // height) if height <= width else (SIDE * height // width, SIDE)
    return functional.interpolate(frames, size, mode=mode, antialias=False).clamp(0, 1)


def normed(
    frames: Float[Tensor, "t 3 h w"], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Float[Tensor, "t 3 h w"]:
    return (frames - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def batched(embed: Embed) -> Embed:
    @torch.no_grad()
    def in_parts(frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
        return torch.cat([embed(part) for part in frames.split(BATCH)])

    return in_parts


def load_networks(
    dino: Path | None = None, clip: Path | None = None, large_clip: Path | None = None, head: Path | None = None
) -> Networks:
    """From folders as transformers writes them, and LAION's head as it was published."""
    given: dict[str, Any] = {}
    if dino is not None:
        vit = load_pretrained("dino", dino, "ViTModel", "vit")
        given["dino"] = batched(
            lambda frames: vit(for_dino(frames), interpolate_pos_encoding=True).last_hidden_state[:, 0]
        )
    if clip is not None:
        base = ClipNetwork(clip, torch.device("cpu"))
        given["clip"], given["words"] = batched(lambda frames: base.pictures(for_clip(frames))), base.text
    if large_clip is not None:
        large = ClipNetwork(large_clip, torch.device("cpu"))
        given["large_clip"] = batched(lambda frames: large.pictures(for_clip(frames)))
    if head is not None:
        given["aesthetic_head"] = read_head(head)
    paths = {"dino": dino, "clip": clip, "large_clip": large_clip, "aesthetic_head": head}
    return Networks(**given, names={name: path.name for name, path in paths.items() if path is not None})


def read_head(path: Path) -> tuple[Float[Tensor, "1 d"], Float[Tensor, "1"]]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return state["weight"].float(), state["bias"].float()
    except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        why = type(error).__name__
        raise UserError(f"'{path}' is no linear head of LAION ({why}); give sa_0_4_vit_l_14_linear.pth") from None
