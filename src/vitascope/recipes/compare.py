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
    """For each clip: itself, its reconstruction, a clip from its words if it has any, and one from its first frame."""
    clips = [source.clip(index) for index in indices]
    wished = [Request(clip.caption, num_frames=clip.num_frames, size=clip.size, seed=seed) for clip in clips]
    again = [model.tokenizer.decode(model.tokenizer.encode(clip.pixels[None].to(model.device)))[0] for clip in clips]
    worded = [wish for wish in wished if wish.prompt.strip(" .")]
    from_words = iter(generate(model, worded) if worded else ())
    begun = [replace(wish, frames={0: clip.pixels[0]}) for wish, clip in zip(wished, clips, strict=True)]
    from_frame = generate(model, begun)
    return [
        [clip, Clip(pixels.cpu()), next(from_words) if wish.prompt.strip(" .") else nothing(clip), begun_so]
        for clip, pixels, wish, begun_so in zip(clips, again, wished, from_frame, strict=True)
    ]


def nothing(clip: Clip) -> Clip:
    """Black, in place of what words would have given of footage that has none."""
    return replace(clip, pixels=torch.zeros_like(clip.pixels))


def sheet(rows: Sequence[Sequence[Clip]], num: int = 4) -> Clip:
    """One picture: a row for each clip, a column for each of ROWS."""
    labels = [f"{what}: {row[0].caption or 'no words'}" if what == ROWS[0] else what for row in rows for what in ROWS]
    clips = [clip for row in rows for clip in row]
    return Clip(media.contact_sheet(clips, columns=len(ROWS), labels=labels, num=num)[None])


def psnr(rows: Sequence[Sequence[Clip]]) -> float:
    """Of the reconstructions, in decibels, over all their pixels."""
    errors = [(row[0].pixels - row[1].pixels).square().mean() for row in rows]
    return float(-10 * torch.stack(errors).mean().log10())
