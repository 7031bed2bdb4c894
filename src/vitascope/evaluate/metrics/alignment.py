"""Scores of a video by what CLIP sees in its frames: beside its caption, and from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        return (rows.double() @ clip.text(prefix + caption).double()).mean().item()

    return score


def frame_consistency(frames: int) -> Score:
    """Mean cosine of successive frames, never across two clips. A still video scores 1."""

    def score(rows: Float[Tensor, "n d"], caption: str) -> float:
        del caption
        if frames < 2:
            raise UserError(f"consistency needs 2 frames at least, and the protocol takes {frames}")
        clips = rearrange(rows.double(), "(c t) d -> c t d", t=frames)
        return (clips[:, 1:] * clips[:, :-1]).sum(2).mean().item()

    return score


def conventions(clip: ClipNetwork, prefix: str, made: Features, cosine: float) -> Mapping[str, Any]:
    """The same number as others print it, and the share of captions that CLIP does not read to their end."""
    cut = sum(clip.is_cut(prefix + caption) for caption in made.captions) / len(made.captions)
    return {"times 2.5": 2.5 * max(cosine, 0.0), "times 100": 100 * max(cosine, 0.0), "captions cut": cut}
