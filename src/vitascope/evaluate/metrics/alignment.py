"""Scores of a video by what CLIP sees in its frames: beside its caption, and from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vitascope.evaluate.measured import Features
from vitascope.evaluate.metrics.metric import Score
from vitascope.evaluate.networks.pretrained import ClipNetwork
from vitascope.types import UserError

CLIPSCORE_PREFIX = "A photo depicts "


def cosine_with_caption(clip: ClipNetwork, prefix: str = "") -> Score:
    """Mean over frames of the cosine of frame and caption. What is stored is the cosine: conventions follow from it."""

    def score(rows: Float[Tensor, "n d"], caption: str) -> float:
        return cosines(clip, rows, prefix + caption).mean().item()

    return score


def cosines(clip: ClipNetwork, rows: Float[Tensor, "n d"], text: str) -> Float[Tensor, "n"]:
    return rows.double() @ clip.text(text).double()


def frame_consistency(frames: int) -> Score:
    """Mean cosine of successive frames, never across two clips. A still video scores 1."""

    def score(rows: Float[Tensor, "n d"], caption: str) -> float:
        del caption
        if frames < 2:
            raise UserError(f"consistency needs 2 frames at least, and the protocol takes {frames}")
        clips = rearrange(rows.double(), "(c t) d -> c t d", t=frames)
        return (clips[:, 1:] * clips[:, :-1]).sum(2).mean().item()

    return score


def conventions(clip: ClipNetwork, prefix: str, made: Features) -> Mapping[str, Any]:
    """The number as others print it, and the share of captions that CLIP does not read to their end.

    Hessel's clamps the cosine of each frame and caption at 0 before any mean, torchmetrics' clamps the mean of all.
    """
    pairs = zip(made.of_each(), made.captions, strict=True)
    found = [cosines(clip, rows, prefix + caption) for rows, caption in pairs]
    of_pairs = torch.stack([some.clamp(min=0).mean() for some in found]).mean()
    of_all = torch.stack([some.mean() for some in found]).mean().clamp(min=0)
    cut = sum(clip.is_cut(prefix + caption) for caption in made.captions) / len(made.captions)
    return {"times 2.5": 2.5 * of_pairs.item(), "times 100": 100 * of_all.item(), "captions cut": cut}
