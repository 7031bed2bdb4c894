"""What CLIP sees in the clips that are left: LAION's rating of beauty, and how alike their frames stay.

The networks are files of the user's. The vectors of a clip are kept under a key of its content and the network, so a
threshold or another head embeds nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.checksums import sha256_of
from vitascope.engine.captions import frames_at
from vitascope.engine.config import Curate, Embedding
from vitascope.engine.cutting import clip_path
from vitascope.engine.executors import Failed, Limits, in_process, results
from vitascope.engine.keys import key_of
from vitascope.engine.pieces import Piece, Rule, broken
from vitascope.errors import UserError
from vitascope.evaluate.judges.asking import spread
from vitascope.evaluate.networks.features import Reader
from vitascope.evaluate.vbench.dimensions import aesthetic_quality
from vitascope.media import count_frames, make_folder, replace_file
from vitascope.types import Progress

AESTHETICS, CONSISTENCY = "aesthetics", "embedding_consistency"
LAION = "https://github.com/LAION-AI/aesthetic-predictor/raw/main"


@dataclass(frozen=True)
class Head:
    """A linear head of LAION as it was published (MIT), and the CLIP that it rates the vectors of."""

    file: str
    clip: str
    sha256: str

    @property
    def command(self) -> str:
        return f"curl -LO {LAION}/{self.file}; hf download {self.clip} --local-dir clip"


HEADS = (
    Head(
        "sa_0_4_vit_l_14_linear.pth", "openai/clip-vit-large-patch14",
        "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
    ),
    Head(
        "sa_0_4_vit_b_32_linear.pth", "openai/clip-vit-base-patch32",
        "c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f",
    ),
    Head(
        "sa_0_4_vit_b_16_linear.pth", "openai/clip-vit-base-patch16",
        "8ad3923d7ecf019df20ecd2ab5542a3075fbba0278d239c0371345f3d7fcbde0",
    ),
)  # fmt: skip

HOW = (
    f"fetch the networks with: {HEADS[0].command}; then --set embedding.on=true --set embedding.clip=clip "
    f"--set embedding.head={HEADS[0].file}"
)


def check_asked(settings: Curate) -> None:
    """Whoever asks for aesthetics must have the networks; said before anything is decoded."""
    wanted = settings.embedding
    by_tiers = any(tier.least_aesthetics is not None for tier in settings.tiers)
    asked = by_tiers or wanted.least_aesthetics is not None
    if asked and not (wanted.on and wanted.head):
        raise UserError(f"aesthetics are asked for, and nothing measures them; {HOW}")
    if wanted.least_consistency is not None and not wanted.on:
        raise UserError(f"embedding.least_consistency needs embedding.on=true; {HOW}")
    if not wanted.on:
        return
    if not wanted.clip or not Path(wanted.clip).is_dir():
        raise UserError(f"embedding.clip must be the folder of a CLIP, got '{wanted.clip}'; {HOW}")
    if wanted.head:
        checked_head(Path(wanted.head))


def checked_head(path: Path) -> Head:
    """Which of the published heads a file is."""
    if not path.is_file():
        raise UserError(f"embedding.head must be a file, and there is none at '{path}'; {HOW}")
    found = sha256_of(path)
    for head in HEADS:
        if head.sha256 == found:
            return head
    known = ", ".join(f"{head.file} {head.sha256[:12]}" for head in HEADS)
    raise UserError(f"'{path}' is none of LAION's heads: its sha256 is {found}, known are {known}; {HOW}")


def embed_clips(
    keys: Sequence[str], work: Path, settings: Curate, progress: Progress
) -> dict[str, dict[str, float] | Failed]:
    """For each clip, by its key, its features, or why there are none; nothing if it is off. In this process."""
    wanted = settings.embedding
    if not wanted.on:
        return {}
    make_folder(work / "embedded")
    reader, rating = _Reader(work, wanted), _rating(wanted)
    limits = Limits(settings.measuring.most_seconds, settings.measuring.most_megabytes)
    made = results(in_process, reader, list(keys), limits, progress)
    found: dict[str, dict[str, float] | Failed] = {}
    for key, vectors in zip(keys, made, strict=True):
        found[key] = vectors if isinstance(vectors, Failed) else features_of_vectors(vectors, rating)
    return found


def judged_by(piece: Piece, found: dict[str, float] | Failed | None, wanted: Embedding) -> Piece:
    """The piece with its new features, or dropped for one of them."""
    if piece.dropped or found is None:
        return piece
    if isinstance(found, Failed):
        return piece.drop("embedding", found.reason)
    piece = replace(piece, features={**piece.features, **found})
    reason = broken(piece.features, wanted, THRESHOLDS)
    return piece.drop("embedding", reason) if reason else piece


THRESHOLDS: tuple[Rule, ...] = (
    (AESTHETICS, "least_aesthetics", -1, "not beautiful"),
    (CONSISTENCY, "least_consistency", -1, "frames are unlike each other"),
)
Rating = Callable[[Float[Tensor, "t d"]], float]


def _rating(wanted: Embedding) -> Rating | None:
    if not wanted.head:
        return None
    from vitascope.evaluate.vbench.networks import read_head  # late, like the catalogue

    head, (weight, bias) = checked_head(Path(wanted.head)), read_head(Path(wanted.head))

    def rate(vectors: Float[Tensor, "t d"]) -> float:
        if vectors.shape[1] != weight.shape[1]:
            raise UserError(
                f"{head.file} rates vectors of {weight.shape[1]} numbers, those of '{wanted.clip}' have "
                f"{vectors.shape[1]}; it belongs to {head.clip}"
            )
        return 10 * aesthetic_quality(vectors, weight, bias).total

    return rate


def features_of_vectors(vectors: Float[Tensor, "t d"], rating: Rating | None) -> dict[str, float]:
    """LAION's rating, the mean of the frames; and the mean cosine of successive frames."""
    alike = (vectors[1:] * vectors[:-1]).sum(1).mean().item() if len(vectors) > 1 else 1.0
    values = {CONSISTENCY: alike} | ({AESTHETICS: rating(vectors)} if rating else {})
    return {name: round(value, 6) for name, value in values.items()}


class _Reader:
    """Vectors of a clip, of unit length; the network is loaded when a clip has none yet."""

    def __init__(self, work: Path, wanted: Embedding) -> None:
        self.work, self.wanted = work, wanted
        self.key = key_of(sha256_of(Path(wanted.clip)), wanted.frames)[:12]

    @cached_property
    def read(self) -> Reader:
        from vitascope.device import usual_device
        from vitascope.evaluate.catalogue import Networks  # late: every metric comes with it
        from vitascope.evaluate.protocol import Protocol

        device = torch.device(usual_device())
        return Networks({"clip": Path(self.wanted.clip)}, Protocol(), device).clip_frames

    def __call__(self, key: str) -> Float[Tensor, "t d"]:
        path = self.work / "embedded" / f"{key}-{self.key}.npy"
        if not path.is_file():
            table = BytesIO()
            np.save(table, self._made(key).numpy())
            replace_file(path, table.getvalue())
        return torch.from_numpy(np.load(path))

    def _made(self, key: str) -> Float[Tensor, "t d"]:
        path = clip_path(self.work, key)
        frames = frames_at(path, spread(count_frames(path), self.wanted.frames))
        return self.read([torch.stack(list(frames.values()))])
