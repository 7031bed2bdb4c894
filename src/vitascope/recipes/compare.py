"""What a model makes of footage, beside the footage: its reconstruction, and its own clips from the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from vitascope import media
from vitascope.data.cache import ClipSource
from vitascope.sample.generate import generate
from vitascope.system import VideoModel
from vitascope.types import Clip, Request

ROWS = ("footage", "through the autoencoder", "from the words", "from words and first frame")


@torch.no_grad()
def compared(model: VideoModel, source: ClipSource, indices: Sequence[int], seed: int = 0) -> list[list[Clip]]:
    """For each clip: itself, its reconstruction, a clip from its caption, and one from its first frame too."""
    clips = [source.clip(index) for index in indices]
    wished = [Request(clip.caption, num_frames=clip.num_frames, size=clip.size, seed=seed) for clip in clips]
    again = [model.tokenizer.decode(model.tokenizer.encode(clip.pixels[None].to(model.device)))[0] for clip in clips]
    from_words = generate(model, wished)
    begun = [replace(wish, frames={0: clip.pixels[0]}) for wish, clip in zip(wished, clips, strict=True)]
    from_frame = generate(model, begun)
    made = zip(clips, [Clip(pixels.cpu()) for pixels in again], from_words, from_frame, strict=True)
    return [list(row) for row in made]


def sheet(rows: Sequence[Sequence[Clip]], num: int = 4) -> Clip:
    """One picture: a row for each clip, a column for each of ROWS."""
    labels = [f"{what}: {row[0].caption}" if what == ROWS[0] else what for row in rows for what in ROWS]
    clips = [clip for row in rows for clip in row]
    return Clip(media.contact_sheet(clips, columns=len(ROWS), labels=labels, num=num)[None])


def psnr(rows: Sequence[Sequence[Clip]]) -> float:
    """Of the reconstructions, in decibels, over all their pixels."""
    errors = [(row[0].pixels - row[1].pixels).square().mean() for row in rows]
    return float(-10 * torch.stack(errors).mean().log10())
