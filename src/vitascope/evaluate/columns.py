"""What is read off videos: each is decoded once for all readers that want it, and what was read is kept."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vitascope.errors import first_line, is_out_of_memory
from vitascope.evaluate.measured import Features, Rows, Unusable
from vitascope.evaluate.metrics.metric import Metric, PairMetric, SetMetric
from vitascope.evaluate.metrics.paired import PairReader
from vitascope.evaluate.networks.features import Reader
from vitascope.evaluate.protocol import Protocol
from vitascope.evaluate.store import Store, key_of
from vitascope.evaluate.videos import Taken, Video
from vitascope.types import UserError

MADE, REAL, PAIR = "made", "real", "pair"
AHEAD, AT_ONCE = 4, 8
"""Decoded videos that may wait for the networks, and clips of each: all that is ever in memory, whatever the number of
videos and of their clips."""
VALUES_TOGETHER = 1 << 18  # of rows that stay
UNEVEN = 1.5
"""A frame that is shown so many times longer than usual makes a frame rate vary."""


@dataclass(frozen=True, eq=False)
class Item:
    """The videos that are decoded together: one of either set, or one of each with the same name."""

    videos: Mapping[str, Video]

    @property
    def name(self) -> str:
        return next(iter(self.videos.values())).name

    def has(self, which: str) -> bool:
        return {MADE, REAL} <= set(self.videos) if which == PAIR else which in self.videos

    def digests(self, which: str) -> dict[str, str]:
        return {name: video.digest for name, video in self.videos.items() if which in (PAIR, name)}


class Packed:
    """Rows that stay, laid together in blocks. One by one they would lie between the large buffers of decoding and of
    the network, which then could not be used again: the memory of a process grew with every video."""

    def __init__(self) -> None:
        self.block, self.used = torch.empty(0, 0), 0

    def add(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        end = self.used + len(rows)
        if rows.dtype != self.block.dtype or rows.shape[1] != self.block.shape[1] or end > len(self.block):
            least = VALUES_TOGETHER // max(rows.shape[1], 1)
            self.block, self.used, end = rows.new_empty(max(least, len(rows)), rows.shape[1]), 0, len(rows)
        kept = self.block[self.used : end]
        self.used = end
        return kept.copy_(rows)


@dataclass(eq=False)
class Column:
    """What one reader reads off one set, video by video."""

    which: str
    reader: Reader | PairReader
    metrics: list[str]
    rows: dict[str, Float[Tensor, "_n d"]] = field(default_factory=dict)
    videos: dict[str, Video] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    packed: Packed = field(default_factory=Packed)

    def key(self, item: Item, protocol: Protocol) -> str:
        digests = item.digests(self.which)
        # One video is read alike in either set.
        videos = digests if self.which == PAIR else {"video": digests[self.which]}
        return key_of(reader=self.reader.identity, taken=taken_as(self.which, protocol), videos=videos)

    def features(self, names: Sequence[str], captions: Mapping[str, str]) -> Features:
        texts = [captions.get(name, "") for name in names]
        return features_of(
            names, [self.videos[name].digest for name in names], [self.rows[name] for name in names], texts
        )

    def told(self) -> Rows:
        videos = {name: (self.videos[name].digest, self.keys[name]) for name in sorted(self.rows)}
        return Rows(self.which, tuple(sorted(self.metrics)), videos)


def features_of(
    names: Sequence[str], digests: Sequence[str], rows: Sequence[Float[Tensor, "_n d"]], captions: Sequence[str] = ()
) -> Features:
    """Of videos in this order."""
    counts = torch.tensor([len(one) for one in rows])
    return Features(
        tuple(names),
        tuple(captions),
        hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest(),
        torch.cat([*rows]),
        torch.repeat_interleave(torch.arange(len(names)), counts),
    )


def columns_of(metrics: Sequence[Metric]) -> dict[tuple[str, str], Column]:
    """One for each reader and set: metrics that read the same share it."""
    columns: dict[tuple[str, str], Column] = {}
    for metric in metrics:
        for which in sets_of(metric):
            place = which, key_of(reader=metric.reader.identity)
            columns.setdefault(place, Column(which, metric.reader, [])).metrics.append(metric.name)
    return columns


def sets_of(metric: Metric) -> tuple[str, ...]:
    if isinstance(metric, PairMetric):
        return (PAIR,)
    return (MADE, REAL) if isinstance(metric, SetMetric) else (MADE,)


def own_protocol(which: str, protocol: Protocol) -> Protocol:
    return protocol.of_made() if which == MADE else protocol.of_real()


def taken_as(which: str, protocol: Protocol) -> dict[str, object]:
    """The protocol as far as it says which pixels are read."""
    own = own_protocol(which, protocol)
    return own.model_dump(mode="json", exclude={"name", "prepare", "divisor", "made_clip", "real_count", "made_count"})


Clips = list[UInt8[Tensor, "_t 3 _h _w"]]


@dataclass(eq=False)
class Decoding:
    """A video that is decoded in the background, a few clips ahead of the networks."""

    video: Video
    protocol: Protocol
    pool: ThreadPoolExecutor
    taken: Taken = field(default_factory=Taken)

    def __post_init__(self) -> None:
        self.first = self.pool.submit(self._begin)

    def _begin(self) -> Clips:
        self.taken = self.video.take(self.protocol)
        return self._more()

    def _more(self) -> Clips:
        return list(islice(self.taken.clips, AT_ONCE))

    def chunks(self) -> Iterator[Clips]:
        """UserError where the video cannot be read."""
        now = self.first
        while clips := now.result():
            now = self.pool.submit(self._more)
            yield clips


Missing = list[tuple[str, Column]]
"""What is still to be read off a video, each with the key that it will have."""


@dataclass(frozen=True, eq=False)
class Read:
    """What went wrong with one item, or was unusual, and the caption of the video made."""

    unusable: list[Unusable]
    uneven: list[str]
    captions: dict[str, str]


def read_items(
    items: Sequence[Item], columns: Mapping[tuple[str, str], Column], protocol: Protocol, store: Store, workers: int
) -> Iterator[Read]:
    """Rows of every item into the columns: those kept in the store, the others off videos decoded in the background."""
    waiting: deque[tuple[Item, Missing, dict[str, Decoding]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            missing: Missing = []
            try:
                # A list: equal videos of one name have one key in both sets.
                keys = [(column.key(item, protocol), column) for column in columns.values() if item.has(column.which)]
            except UserError as error:  # a file that cannot be opened
                yield Read([Unusable(next(iter(item.videos)), item.name, "all", str(error))], [], {})
                continue
            for key, column in keys:
                if (kept := store.get(key)) is None:
                    missing.append((key, column))
                else:
                    keep(column, item, key, kept)
            wanted = [
                which for which in item.videos if any(which in item.digests(column.which) for _, column in missing)
            ]
            decoding = {which: Decoding(item.videos[which], own_protocol(which, protocol), pool) for which in wanted}
            waiting.append((item, missing, decoding))
            if len(waiting) >= AHEAD:
                yield finished(*waiting.popleft(), protocol, store)
        while waiting:
            yield finished(*waiting.popleft(), protocol, store)


def finished(
    item: Item,
    missing: Missing,
    decoding: Mapping[str, Decoding],
    protocol: Protocol,
    store: Store,
) -> Read:
    read = Read([], [], {})
    parts, broken = rows_in_chunks(item, missing, decoding, read)
    decoded = {which: one.taken for which, one in decoding.items() if which not in broken}
    for which in item.videos:
        key = key_of(measure="unevenness", taken=taken_as(which, protocol), video=item.videos[which].digest)
        if which in decoded:
            store.put(key, torch.tensor([[decoded[which].unevenness]]))
        if (unevenness := store.get(key)) is not None and unevenness.item() > UNEVEN:
            read.uneven.append(item.name)
    if MADE in decoded:
        read.captions[item.name] = decoded[MADE].caption
    elif MADE in item.videos and MADE not in decoding:
        with suppress(UserError):  # of a pair without a partner, which nothing reads
            read.captions[item.name] = item.videos[MADE].caption
    for key, column in missing:
        if column in parts:
            rows = torch.cat(parts[column])
            store.put(key, rows)
            keep(column, item, key, rows)
    return read


def rows_in_chunks(
    item: Item, missing: Missing, decoding: Mapping[str, Decoding], read: Read
) -> tuple[dict[Column, list[Float[Tensor, "_n d"]]], set[str]]:
    """Rows of the columns that could be read to the end; and sets whose video could not be decoded."""
    going = {which: one.chunks() for which, one in decoding.items()}
    parts: dict[Column, list[Float[Tensor, "_n d"]]] = {column: [] for _, column in missing}
    broken: set[str] = set()
    while going and parts:
        decoded: dict[str, Clips] = {}
        for which, chunks in list(going.items()):
            try:
                decoded[which] = next(chunks)
            except StopIteration:
                del going[which]
            except UserError as error:
                read.unusable.append(Unusable(which, item.name, "all", str(error)))
                broken.add(which)
                del going[which]
        parts = {column: some for column, some in parts.items() if broken.isdisjoint(item.digests(column.which))}
        for column, some in list(parts.items()):
            if decoded.keys().isdisjoint(item.digests(column.which)):
                continue
            try:
                some.append(rows_of(column, decoded))
            except UserError as error:
                metrics = ", ".join(column.metrics)
                read.unusable.append(Unusable(column.which, item.name, metrics, f"'{item.name}': {error}"))
                del parts[column]
    return parts, broken


def rows_of(column: Column, decoded: Mapping[str, Clips]) -> Float[Tensor, "n d"]:
    try:
        if isinstance(column.reader, PairReader):
            ones, others = decoded.get(MADE, []), decoded.get(REAL, [])
            if len(ones) != len(others):
                raise UserError("its pair is not as long and gives fewer clips; cut one to the other")
            pairs = zip(ones, others, strict=True)
            rows = torch.cat([column.reader(one, other) for one, other in pairs])
        else:
            rows = column.reader(decoded[column.which])
    except RuntimeError as error:  # torch's, of a network that cannot take such a clip
        if is_out_of_memory(error):
            raise
        raise UserError(f"the network cannot read it ({first_line(error)})") from error
    if not bool(rows.isfinite().all()):
        raise UserError("its features are not finite numbers")
    return rows


def keep(column: Column, item: Item, key: str, rows: Float[Tensor, "n d"]) -> None:
    column.rows[item.name], column.keys[item.name] = column.packed.add(rows), key
    column.videos[item.name] = item.videos[REAL if column.which == PAIR else column.which]
