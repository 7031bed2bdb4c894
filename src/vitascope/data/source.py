"""The user's own footage as a source of clips to learn from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vitascope.config import Amount, Config, Count
from vitascope.data.buckets import Limits, Placement, place
from vitascope.data.footage import Footage, digest_of
from vitascope.data.opening import open_footage
from vitascope.data.pictures import PIECES_OF_EACH, pieces
from vitascope.data.transforms import Cut, Shape, decode_cuts, draw_cut, may_be_mirrored
from vitascope.types import Clip, UserError, generator_for

log = logging.getLogger(__name__)

CUTTING = "cuts, version 3"
"""Part of a source's identity: to be changed when the same settings shall give other clips."""
POOL, POOL_BYTES, STEPS_PER_POOL = 256, 1 << 29, 500
"""The pictures of so many steps come from so many clips, then from others: what is decoded serves more than once."""
CUTS_OF_EACH = 8
"""Of one video, for pictures."""

Made = tuple[int, Cut, UInt8[Tensor, "t 3 h w"]]
"""Row, cut and pixels of a clip."""


class FootageConfig(Config):
    """A folder of shards, a folder of files or a table, and how clips are cut from it."""

    path: str  # empty in a recipe for any footage: `--data` fills it in
    identity: str = ""  # of the footage a run was begun with: once it is written down, no other is taken for it
    size: tuple[Count, Count] = (64, 64)  # width, height
    num_frames: Count = 16
    fps: Amount = 8.0  # each video takes the stride that comes nearest
    cuts: Count = 1  # so many clips in a row are of one video, which is then read once for all of them
    limits: Limits = Limits()
    mirror: bool = False  # half of the clips whose captions speak of no side; writing is mirrored too

    def build(self) -> FootageSource:
        if not self.path:
            raise UserError("this run learns from your own footage: name it with --data FOLDER")
        return FootageSource(self, open_footage(Path(self.path)))


class FootageSource:
    """Clips numbered without end: some of each video, then others of each, and so on."""

    def __init__(self, config: FootageConfig, footage: Footage) -> None:
        self.config, self.footage = config, footage
        if config.identity not in ("", footage.identity):
            raise UserError(
                f"the footage in '{config.path}' is no longer what this run was begun with: put it back as it was, or "
                "begin another run"
            )
        self.placement = place(footage.table, (config.size,), (config.num_frames,), config.fps, config.limits)
        self.rows = self._rows_of(self.placement)
        # Single pictures and short videos give no clip, but an autoencoder learns from them too.
        self.picture_rows = self._rows_of(place(footage.table, (config.size,), (1,), config.fps, config.limits))
        self._taken: dict[int, int] = {}  # rows of clips that were decoded, which stand-ins may have changed
        self._damaged: set[int] = set()  # rows that the log has told of
        self._latest: tuple[int, list[Made]] = (-1, [])
        self._pool: tuple[int, dict[int, list[UInt8[Tensor, "t 3 h w"]]]] = (0, {})

    def _rows_of(self, placement: Placement) -> list[int]:
        if len(rows := placement.rows()):
            return rows.tolist()
        why = "; ".join(f"{len(rows)} {reason}" for reason, rows in placement.left_out.items())
        raise UserError(f"no clip can be cut from '{self.config.path}': {why}")

    @cached_property
    def identity(self) -> str:
        told = self.config.model_dump_json(exclude={"path", "identity"})
        return digest_of(part.encode() for part in (CUTTING, told, self.footage.identity))

    def clip(self, index: int) -> Clip:
        """A clip; in place of one that turns out to be damaged another one, and the log says so."""
        group, number = divmod(index, self.config.cuts)
        if self._latest[0] != group:
            self._latest = (group, self._group(self.rows, group, self.config.cuts, self.config.num_frames))
        row, cut, pixels = self._latest[1][number]
        self._taken[index] = row
        fps = self.footage.table[row].fps / cut.shape.stride
        return Clip(pixels.float() / 255, fps, self.footage.sample(row).captions[0], framing=cut.framing)

    def captions(self, index: int) -> tuple[str, ...]:
        if index not in self._taken:
            self.clip(index)
        return self.footage.sample(self._taken[index]).captions

    def pictures(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        """Random frames of random clips, single pictures among them."""
        rng = generator_for(0, "pictures", step)
        return torch.stack([self._picture(step, rng) for _ in range(count)])

    def details(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        """Pieces of such pictures, half as high and wide, two from each."""
        rng = generator_for(0, "details", step)
        pictures = (self._picture(step, rng) for _ in range(-(-count // PIECES_OF_EACH)))
        return torch.stack([piece for picture in pictures for piece in pieces(picture, rng)][:count])

    def _picture(self, step: int, rng: torch.Generator) -> Float[Tensor, "3 h w"]:
        size, length = self.config.size, self.config.num_frames
        groups = max(min(POOL, POOL_BYTES // (3 * size[0] * size[1] * length)) // CUTS_OF_EACH, 1)
        number = step // STEPS_PER_POOL if len(self.picture_rows) > groups else 0
        groups = min(groups, len(self.picture_rows))
        if self._pool[0] != number:
            self._pool = (number, {})
        held = self._pool[1]
        chosen, member, moment = torch.rand(3, generator=rng).tolist()
        group = number * groups + int(chosen * groups)
        if group not in held:
            clips = self._group(self.picture_rows, group, CUTS_OF_EACH, length)
            held[group] = [pixels for _, _, pixels in clips]
        clip = held[group][int(member * CUTS_OF_EACH)]
        return clip[int(moment * len(clip))].float() / 255

    def _group(self, rows: Sequence[int], group: int, num_cuts: int, most_frames: int) -> list[Made]:
        """So many clips of one video, read together; where that fails one by one, others standing in."""
        row = rows[group % len(rows)]
        indices = range(group * num_cuts, (group + 1) * num_cuts)
        try:
            return self._read(row, indices, most_frames)
        except UserError:
            return [self._alone(rows, group, index, most_frames) for index in indices]

    def _alone(self, rows: Sequence[int], group: int, index: int, most_frames: int) -> Made:
        for attempt in range(len(rows)):
            row = rows[(group + attempt) % len(rows)]
            try:
                return self._read(row, [index], most_frames)[0]
            except UserError as error:
                if row not in self._damaged:
                    log.warning("'%s' %s; clips of others stand in for it there", self.footage.sample(row).key, error)
                self._damaged.add(row)
        raise UserError(f"nothing in '{self.config.path}' can be decoded; the log above says why")

    def _read(self, row: int, indices: Sequence[int], most_frames: int) -> list[Made]:
        sample, facts = self.footage.sample(row), self.footage.table[row]
        stride = int(self.placement.stride[row])
        shape = Shape(*self.config.size, min(most_frames, (facts.num_frames - 1) // stride + 1), stride)
        mirror = self.config.mirror and may_be_mirrored(sample.captions)
        cuts = [draw_cut(facts, shape, generator_for(0, "cut", index), mirror=mirror) for index in indices]
        return [(row, *made) for made in zip(cuts, decode_cuts(sample.file, facts, cuts), strict=True)]
