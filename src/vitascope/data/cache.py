"""Latents of a source of clips, encoded once and kept under a name made of all that they depend on.

A cache cannot go stale: its folder is named after the source's identity and the tokenizer's weights. It grows by
shards, of which the last may be shorter and is written anew when more is asked for; a shard is written whole or not at
all, so a killed run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vitascope.atomic import replacing
from vitascope.conditions import MICRO, framing_of, micro_conditions
from vitascope.errors import why_unwritten
from vitascope.types import Batch, Clip, UserError, generator_for

CLIPS_PER_SHARD = 256
LAYOUT = "latents and micro-conditions"
"""What a shard holds; part of the name of a cache, so that one of another layout is never opened."""


@runtime_checkable
class ClipSource(Protocol):
    """An endless, numbered supply of clips, alike in size and length: those of `model.defaults`.

    A number gives the same clip at every call. One that has `pictures` and `details` too (`data.pictures`) teaches an
    autoencoder by those, another one by frames of its clips.
    """

    @property
    def identity(self) -> str:
        """Changes whenever any clip would: encoded clips are kept under it."""
        ...

    def clip(self, index: int) -> Clip: ...

    def captions(self, index: int) -> tuple[str, ...]:
        """One or more ways to say the clip, `("",)` of one without words; a `CaptionStage` compares two."""
        ...


@runtime_checkable
class Encoder(Protocol):
    def encode(self, pixels: Tensor) -> Tensor: ...

    def state_dict(self) -> dict[str, Tensor]: ...


class LatentCache:
    """`num_clips` clips as latents in memory (half precision), how each was cut, and their captions."""

    def __init__(self, folder: Path, num_clips: int) -> None:
        shards = [_read_shard(folder, number) for number in range(num_shards(num_clips))]
        self.latents: Float[Tensor, "n t c h w"] = torch.cat([latents for latents, _, _ in shards])[:num_clips]
        self.micro: Float[Tensor, "n m"] = torch.cat([micro for _, micro, _ in shards])[:num_clips]
        self.captions = [said for _, _, captions in shards for said in captions][:num_clips]
        if len(self.captions) < num_clips:
            raise UserError(
                f"'{folder}' holds {len(self.captions)} clips and {num_clips} were to be there: another run was "
                "writing there too; begin again when it has ended"
            )

    def batch(self, step: int, size: int, seed: int, *, pictures: int = 0, first_frames: float = 0.0) -> Batch:
        """The batch of one step: clips in an order shuffled anew each epoch, a caption drawn for each.

        A pure function of its arguments, so the data position of a run is its step. With `pictures` the batch holds
        images: so many random frames of each clip, under one caption. A share `first_frames` of them begin their clips
        and are told how many frames those have; any other is told to be one alone.
        """
        num_clips = -(-size // max(pictures, 1))
        rows = [_row(step * num_clips + place, len(self.latents), seed) for place in range(num_clips)]
        rng = generator_for(seed, "batch", step)
        clean, micro = self.latents[rows].float(), self.micro[rows]
        said = torch.rand(num_clips, generator=rng)
        captions = tuple(
            self.captions[row][int(share * len(self.captions[row]))]
            for row, share in zip(rows, said.tolist(), strict=True)
        )
        if pictures:
            clip = torch.arange(num_clips).repeat_interleave(pictures)[:size]
            frame = torch.randint(clean.shape[1], (size,), generator=rng)
            is_first = torch.rand(size, generator=rng) < first_frames
            clean, captions = (
                clean[clip, frame.masked_fill(is_first, 0)][:, None],
                tuple(captions[one] for one in clip.tolist()),
            )
            micro = micro[clip]
            micro[~is_first, MICRO.index("num_frames")] = 1
        return Batch(clean, captions, micro)


def _row(position: int, num_clips: int, seed: int) -> int:
    """The clip at `position` of the endless sequence of shuffled epochs."""
    epoch, place = divmod(position, num_clips)
    return _order(epoch, num_clips, seed)[place]


@lru_cache(2)  # a batch may lie in two epochs
def _order(epoch: int, num_clips: int, seed: int) -> list[int]:
    return torch.randperm(num_clips, generator=generator_for(seed, "epoch", epoch)).tolist()


def open_cache(
    root: Path,
    source: ClipSource,
    tokenizer: Encoder,
    num_clips: int,
    track: Callable[[Sequence[int], str], Iterator[int]] = lambda items, _: iter(items),
) -> LatentCache:
    """The cache of `source` through `tokenizer` below `root`, filled as far as needed. `track` shows progress."""
    if num_clips < 1:
        raise UserError(f"training needs clips, got num_clips {num_clips}; set it to 1 or more")
    folder = root / cache_key(source, tokenizer)
    wanted = [min(CLIPS_PER_SHARD, num_clips - first) for first in range(0, num_clips, CLIPS_PER_SHARD)]
    missing = [number for number, clips in enumerate(wanted) if _num_held(folder, number) < clips]
    for number in track(missing, "encoding clips"):
        _fill_shard(folder, number, wanted[number], source, tokenizer)
    return LatentCache(folder, num_clips)


def cache_key(source: ClipSource, tokenizer: Encoder) -> str:
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{LAYOUT}\0{source.identity}".encode())
    for name, value in sorted(tokenizer.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()


def num_shards(num_clips: int) -> int:
    return -(-num_clips // CLIPS_PER_SHARD)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


@torch.no_grad()
def _fill_shard(folder: Path, number: int, num_clips: int, source: ClipSource, tokenizer: Encoder) -> None:
    """Write a shard of so many clips, encoding those that it does not hold."""
    device = next((value.device for value in tokenizer.state_dict().values()), torch.device("cpu"))
    held = _num_held(folder, number)
    before = [_read_shard(folder, number)] if held else []
    indices = range(number * CLIPS_PER_SHARD + held, number * CLIPS_PER_SHARD + num_clips)
    if not indices:
        return  # another run has filled it meanwhile
    clips = [source.clip(index) for index in indices]
    latents = torch.cat([tokenizer.encode(clip.pixels[None].to(device)).half().cpu() for clip in clips])
    micro = micro_conditions([framing_of(clip) for clip in clips], latents.shape[1])
    tensors = {
        "latents": torch.cat([*(kept for kept, _, _ in before), latents]),
        "micro": torch.cat([*(kept for _, kept, _ in before), micro]),
    }
    said = [*(told for _, _, captions in before for told in captions), *map(source.captions, indices)]
    if _num_held(folder, number) >= num_clips:
        return  # another run that wants more has filled it meanwhile
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(_shard(folder, number)) as fresh:
            save_file(tensors, fresh, {"captions": json.dumps(said)})
    except (OSError, SafetensorError) as error:
        raise UserError(f"could not write latents to '{folder}' ({why_unwritten(error)})") from None


def _num_held(folder: Path, number: int) -> int:
    """How many clips a shard holds; none if it is not there."""
    if not _shard(folder, number).is_file():
        return 0
    with _opened(folder, number) as file:
        return file.get_slice("latents").get_shape()[0]


def _read_shard(folder: Path, number: int) -> tuple[Tensor, Tensor, list[list[str]]]:
    with _opened(folder, number) as file:
        captions = json.loads(file.metadata()["captions"])
        return file.get_tensor("latents"), file.get_tensor("micro"), captions


@contextmanager
def _opened(folder: Path, number: int) -> Iterator[Any]:
    path = _shard(folder, number)
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"'{path}' is damaged ({error}); delete it, and it is made again") from None
