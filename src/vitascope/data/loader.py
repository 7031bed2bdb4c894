"""An endless stream of batches from several sources: a function of the step, so that any run can go on exactly.

Batches are numbered. A number says its bucket and its clips without any state: which epoch, shard and offset each
comes from, how it is cut and what is said of it. Rank r of w takes the batches r, r + w, r + 2w, ..., so the data of
ranks are disjoint, two ranks go through an epoch as one does, and a run may go on with another number of them.
Threads only fetch ahead.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from vitascope.conditions import micro_conditions
from vitascope.config import Amount, Config, Count
from vitascope.data.buckets import BucketsConfig, Placement
from vitascope.data.footage import Footage, Sample
from vitascope.data.opening import open_footage
from vitascope.data.transforms import Cut, decode_cuts, draw_cut, may_be_mirrored
from vitascope.types import Framing, UserError, generator_for

log = logging.getLogger(__name__)


class MixedConfig(Config):
    """One of several sources. `weight`: its share of the clips; None: as many as it has."""

    path: str
    weight: Amount | None = None


class LoaderConfig(Config):
    """Where clips come from and how they are put together."""

    sources: Annotated[tuple[MixedConfig, ...], pydantic.Field(min_length=1)]
    buckets: BucketsConfig = BucketsConfig()
    mirror: bool = False  # half of the clips whose captions speak of no side; writing is mirrored too
    shuffled_shards: Count = 16  # so many are mixed at a time: more is more random, fewer reads nearer together
    seed: int = 0

    def build(self) -> Loader:
        return Loader(self, [open_footage(Path(source.path)) for source in self.sources])


@dataclass(frozen=True)
class Place:
    """Where a clip of the stream comes from."""

    source: int
    epoch: int
    shard: int
    offset: int
    row: int


@dataclass(frozen=True, eq=False)
class PixelBatch:
    """Clips of one shape. `stand_ins`: what could not be decoded, and why; another clip came in its place."""

    pixels: UInt8[Tensor, "b t 3 h w"]
    captions: tuple[str, ...]
    micro: Float[Tensor, "b m"]
    fps: Float[Tensor, "b"]
    places: tuple[Place, ...]
    stand_ins: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Bucket:
    """All samples of one size and length, by source."""

    size: tuple[int, int]
    num_frames: int
    batch: int
    rows: Mapping[int, Int64[np.ndarray, "_"]]  # by source; none is empty
    rates: tuple[int, ...]  # of the sources, in their order here: how often each gives a clip


class Loader:
    """Batches by number."""

    def __init__(self, config: LoaderConfig, sources: Sequence[Footage]) -> None:
        self.config, self.sources = config, sources
        self.placements = [config.buckets.place(source.table) for source in sources]
        for source, placement in zip(config.sources, self.placements, strict=True):
            if not len(placement.rows()):
                why = "; ".join(f"{len(rows)} {reason}" for reason, rows in placement.left_out.items())
                raise UserError(f"no clip can be cut from '{source.path}': {why}")
        weights = [
            Fraction(source.weight or len(placement.rows())) / len(placement.rows())
            for source, placement in zip(config.sources, self.placements, strict=True)
        ]
        self.buckets = buckets_of(config.buckets, self.placements, weights)
        self.rates = whole_numbers(
            [
                sum((weights[source] * len(rows) for source, rows in bucket.rows.items()), Fraction()) / bucket.batch
                for bucket in self.buckets
            ]
        )
        self._order = lru_cache(4 * sum(len(bucket.rows) for bucket in self.buckets))(self._shuffled)
        self._told: set[tuple[int, int]] = set()

    def places(self, number: int) -> tuple[Bucket, list[tuple[Place, int]]]:
        """The bucket of a batch, and its clips: where each comes from, and how many of its source came before it."""
        which, places = self._drawn(number)
        return self.buckets[which], places

    def _drawn(self, number: int) -> tuple[int, list[tuple[Place, int]]]:
        """`places`, with the number of the bucket."""
        which, before = next(interleaved(self.rates, number))
        bucket = self.buckets[which]
        turns = itertools.islice(interleaved(bucket.rates, before * bucket.batch), bucket.batch)
        names = list(bucket.rows)
        return which, [(self._place(which, names[turn], count), count) for turn, count in turns]

    def _place(self, bucket: int, source: int, count: int) -> Place:
        """The clip at `count` of the endless sequence of epochs of a source's part of a bucket."""
        rows, table = self.buckets[bucket].rows[source], self.sources[source].table
        epoch, number = divmod(count, len(rows))
        row = int(self._order(bucket, source, epoch)[number])
        return Place(source, epoch, int(table.shard[row]), int(table.offset[row]), row)

    def _shuffled(self, bucket: int, source: int, epoch: int) -> Int64[np.ndarray, "_"]:
        """Rows in the order of an epoch: shards in a random order, and some of them at a time mixed."""
        rows = self.buckets[bucket].rows[source]
        shards = self.sources[source].table.shard[rows]
        rng = generator_for(self.config.seed, "order", source, epoch, bucket)
        rank = torch.randperm(int(shards.max()) + 1, generator=rng).numpy()[shards]
        within = torch.rand(len(rows), generator=rng, dtype=torch.float64).numpy()
        return rows[np.lexsort((within, rank // self.config.shuffled_shards))]

    def batch(self, number: int) -> PixelBatch:
        """The batch of a number: nothing else matters."""
        which, places = self._drawn(number)
        made = [self._clip(which, place, count) for place, count in places]
        pixels, captions, framings, fps, taken, failed = zip(*made, strict=True)
        return PixelBatch(
            torch.stack(pixels),
            captions,
            micro_conditions(framings, self.buckets[which].num_frames),
            torch.tensor(fps),
            taken,
            tuple(itertools.chain(*failed)),
        )

    def _clip(
        self, bucket: int, place: Place, count: int
    ) -> tuple[UInt8[Tensor, "t 3 h w"], str, Framing, float, Place, list[str]]:
        """A clip, or the next one of its epoch that can be decoded."""
        source, failed = self.sources[place.source], list[str]()
        num_rows = len(self.buckets[bucket].rows[place.source])
        for attempt in range(num_rows):
            here = self._place(bucket, place.source, count // num_rows * num_rows + (count + attempt) % num_rows)
            sample, facts = source.sample(here.row), source.table[here.row]
            caption, cut = self._cut(here, sample)
            try:
                (pixels,) = decode_cuts(sample.file, facts, [cut])
            except UserError as error:
                failed.append(f"'{sample.key}' {error}")
                if (here.source, here.row) not in self._told:
                    log.warning("%s; another clip stands in for it there", failed[-1])
                self._told.add((here.source, here.row))
            else:
                return pixels, caption, cut.framing, facts.fps / cut.shape.stride, here, failed
        raise UserError(
            f"no clip of {bucket} in '{self.config.sources[place.source].path}' can be decoded; the log says why"
        )

    def _cut(self, place: Place, sample: Sample) -> tuple[str, Cut]:
        """What is said of a clip and how it is cut, drawn for its epoch."""
        rng = generator_for(self.config.seed, "cut", place.source, place.epoch, place.row)
        caption = sample.captions[int(torch.rand((), generator=rng) * len(sample.captions))]
        mirror = self.config.mirror and may_be_mirrored(sample.captions)
        facts, shape = self.sources[place.source].table[place.row], self.placements[place.source].shape(place.row)
        return caption, draw_cut(facts, shape, rng, mirror=mirror)

    def cuts(self, number: int) -> list[tuple[Place, Cut]]:
        """The clips of a batch without decoding them."""
        places = [place for place, _ in self.places(number)[1]]
        return [(one, self._cut(one, self.sources[one.source].sample(one.row))[1]) for one in places]

    def batches(
        self, step: int = 0, *, rank: int = 0, ranks: int = 1, workers: int = 1, ahead: int = 2
    ) -> Iterator[PixelBatch]:
        """The batches of a rank from `step` on, `ahead` of each worker being fetched before they are asked for."""
        numbers = (one * ranks + rank for one in itertools.count(step))
        pool = ThreadPoolExecutor(workers, "loader")
        try:
            waiting = deque(pool.submit(self.batch, number) for number in itertools.islice(numbers, workers * ahead))
            while True:
                batch = waiting.popleft().result()
                waiting.append(pool.submit(self.batch, next(numbers)))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def buckets_of(
    config: BucketsConfig, placements: Sequence[Placement], weights: Sequence[Fraction]
) -> tuple[Bucket, ...]:
    """Every size and length that any sample has."""
    found = []
    for size, pixels in enumerate(placements[0].sizes):
        for length, num_frames in enumerate(placements[0].lengths):
            rows = {
                source: np.flatnonzero((placement.size == size) & (placement.length == length))
                for source, placement in enumerate(placements)
            }
            held = {source: chosen for source, chosen in rows.items() if len(chosen)}
            if held:
                rates = whole_numbers([weights[source] * len(chosen) for source, chosen in held.items()])
                found.append(Bucket(pixels, num_frames, config.batch(pixels, num_frames), held, tuple(rates)))
    return tuple(found)


def whole_numbers(rates: Sequence[Fraction]) -> list[int]:
    """The same proportions in the smallest whole numbers."""
    scaled = [int(rate * math.lcm(*(one.denominator for one in rates))) for rate in rates]
    return [rate // math.gcd(*scaled) for rate in scaled]


def interleaved(rates: Sequence[int], start: int) -> Iterator[tuple[int, int]]:
    """An endless sequence in which member k comes `rates[k]` times as often as one of rate 1, spread evenly.

    From place `start` on: which member it is, and how many times that one came before. Member k comes for the j-th time
    at (2j + 1) / (2 rates[k]); how often by a time a little earlier is known in closed form, and merged from there.
    """
    total, back = sum(rates), max(start - len(rates), 0)
    counts = [(2 * back * rate + total) // (2 * total) if back else 0 for rate in rates]
    waiting = [
        (Fraction(2 * count + 1, 2 * rate), k) for k, (count, rate) in enumerate(zip(counts, rates, strict=True))
    ]
    heapq.heapify(waiting)
    passed = sum(counts)
    while True:
        _, k = waiting[0]
        if passed >= start:
            yield k, counts[k]
        passed, counts[k] = passed + 1, counts[k] + 1
        heapq.heapreplace(waiting, (Fraction(2 * counts[k] + 1, 2 * rates[k]), k))
