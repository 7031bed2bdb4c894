"""One evaluation: a video is decoded once for all metrics, what is read is kept, nothing is left out silently."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.errors import first_line, is_out_of_memory
from vitascope.evaluate.measured import Features, Measured, Report, Shown, Unusable
from vitascope.evaluate.metrics.metric import Bootstrap, Metric, PairMetric, SetMetric, VideoMetric
from vitascope.evaluate.metrics.paired import PairReader
from vitascope.evaluate.networks.features import Reader
from vitascope.evaluate.protocol import Protocol
from vitascope.evaluate.store import Store, key_of
from vitascope.evaluate.videos import Taken, Video
from vitascope.types import UserError

MADE, REAL, PAIR = "made", "real", "pair"
AHEAD = 4
"""Decoded videos that may wait for the networks: all that is ever in memory, whatever the number of videos."""
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


@dataclass(eq=False)
class Column:
    """What one reader reads off one set, video by video."""

    which: str
    reader: Reader | PairReader
    metrics: list[str]
    rows: dict[str, Float[Tensor, "_n d"]] = field(default_factory=dict)
    videos: dict[str, Video] = field(default_factory=dict)

    def key(self, item: Item, protocol: Protocol) -> str:
        digests = item.digests(self.which)
        # One video is read alike in either set.
        videos = digests if self.which == PAIR else {"video": digests[self.which]}
        return key_of(reader=self.reader.identity, taken=_taken(self.which, protocol), videos=videos)

    def features(self, names: Sequence[str], captions: Mapping[str, str]) -> Features:
        digests = [self.videos[name].digest for name in names]
        counts = torch.tensor([len(self.rows[name]) for name in names])
        return Features(
            tuple(names),
            tuple(captions.get(name, "") for name in names),
            hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest(),
            torch.cat([self.rows[name] for name in names]),
            torch.repeat_interleave(torch.arange(len(names)), counts),
        )


def evaluate(
    made: Sequence[Video],
    real: Sequence[Video] | None,
    metrics: Sequence[Metric],
    protocol: Protocol,
    *,
    store: Store | None = None,
    paired: bool = False,
    bootstrap: Bootstrap | None = None,
    labels: tuple[str, str | None] = (MADE, None),
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    written: Callable[[Report], None] | None = None,
) -> Report:
    """Measure videos. What was read is kept in `store`, so that a stopped evaluation goes on where it was.

    `paired`: videos of one name belong together. `written` is handed the report each time a number is added to it.
    """
    _check_needs(metrics, protocol, has_real=real is not None, paired=paired)
    store, bootstrap = store or Store(None), bootstrap or Bootstrap(seed=protocol.seed)
    columns = _columns(metrics)
    items = _items(made, real or (), paired)
    report = Report(labels[0], labels[1], version("vitascope"))
    unusable = _without_partner(items) if paired else []
    uneven: list[str] = []
    captions: dict[str, str] = {}
    for done, read in enumerate(_read(items, columns, protocol, store, workers), 1):
        unusable += read.unusable
        uneven += read.uneven
        captions |= read.captions
        if progress is not None:
            progress(done, len(items))
    unread = {(bad.set, bad.name) for bad in unusable if bad.metric == "all"}
    sets = (MADE, made), (REAL, real or ())
    readable = [[video for video in videos if (which, video.name) not in unread] for which, videos in sets]
    clips = {video.name: shown(video, captions[video.name]) for video in made if video.name in captions}
    report = replace(report, unusable=tuple(unusable), notes=_notes(*readable, uneven), clips=clips)
    for metric in metrics:
        try:
            measured, left_out = _measure(metric, columns, captions, protocol, bootstrap)
            unusable = [*report.unusable, *left_out]
            report = replace(report, measured=(*report.measured, measured), unusable=tuple(unusable))
        except UserError as error:
            report = replace(report, missing={**report.missing, metric.name: str(error)})
        if written is not None:
            written(report)
    report = replace(report, complete=True)
    if written is not None:
        written(report)
    return report


def shown(video: Video, caption: str) -> Shown:
    return Shown(None if video.path is None else str(video.path), caption)


def _check_needs(metrics: Sequence[Metric], protocol: Protocol, *, has_real: bool, paired: bool) -> None:
    for metric in metrics:
        if isinstance(metric, SetMetric) and not has_real:
            raise UserError(f"'{metric.name}' compares with real videos; give them with --real")
        if isinstance(metric, PairMetric) and not paired:
            raise UserError(
                f"'{metric.name}' compares videos of one name; pass --paired, and the true ones with --real"
            )
    if paired and (protocol.made_clip or protocol.clip not in ("first", "all")):
        raise UserError(
            f"pairs are compared frame by frame, and protocol '{protocol.name}' takes its clips elsewhere in each; "
            "choose another protocol"
        )


def _taken(which: str, protocol: Protocol) -> dict[str, object]:
    """The protocol as far as it says which pixels are read."""
    own = _own(which, protocol)
    return own.model_dump(mode="json", exclude={"name", "prepare", "divisor", "made_clip"})


def _own(which: str, protocol: Protocol) -> Protocol:
    return protocol.of_made() if which == MADE else protocol.of_real()


def _columns(metrics: Sequence[Metric]) -> dict[tuple[str, str], Column]:
    """One for each reader and set: metrics that read the same share it."""
    columns: dict[tuple[str, str], Column] = {}
    for metric in metrics:
        for which in _sets(metric):
            place = which, key_of(reader=metric.reader.identity)
            columns.setdefault(place, Column(which, metric.reader, [])).metrics.append(metric.name)
    return columns


def _sets(metric: Metric) -> tuple[str, ...]:
    if isinstance(metric, PairMetric):
        return (PAIR,)
    return (MADE, REAL) if isinstance(metric, SetMetric) else (MADE,)


def _items(made: Sequence[Video], real: Sequence[Video], paired: bool) -> list[Item]:
    for videos in (made, real):
        if twice := [name for name, count in Counter(video.name for video in videos).items() if count > 1]:
            raise UserError(f"two videos of one set are named '{twice[0]}'; give each its own name")
    if not paired:
        return [*(Item({MADE: video}) for video in made), *(Item({REAL: video}) for video in real)]
    sets = {MADE: {video.name: video for video in made}, REAL: {video.name: video for video in real}}
    if not sets[MADE].keys() & sets[REAL].keys():
        examples = ", ".join(f"'{next(iter(videos), '')}'" for videos in sets.values())
        raise UserError(f"pairs are videos of one name (but for the ending), and no name is in both sets: {examples}")
    names = dict.fromkeys([*sets[MADE], *sets[REAL]])
    return [Item({which: videos[name] for which, videos in sets.items() if name in videos}) for name in names]


def _without_partner(items: Sequence[Item]) -> list[Unusable]:
    alone = [item for item in items if not item.has(PAIR)]
    return [
        Unusable(next(iter(item.videos)), item.name, "pairs", f"'{item.name}' has no partner of its name")
        for item in alone
    ]


Missing = list[tuple[str, Column]]
"""What is still to be read off a video, each with the key that it will have."""


@dataclass(frozen=True, eq=False)
class Read:
    """What went wrong with one item, or was unusual, and the caption of the video made."""

    unusable: list[Unusable]
    uneven: list[str]
    captions: dict[str, str]


def _read(
    items: Sequence[Item], columns: Mapping[tuple[str, str], Column], protocol: Protocol, store: Store, workers: int
) -> Iterator[Read]:
    """Rows of every item into the columns: those kept in the store, the others off videos decoded in the background."""
    waiting: deque[tuple[Item, Missing, dict[str, Future[Taken]]]] = deque()
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
                    _keep(column, item, kept)
            wanted = [
                which for which in item.videos if any(which in item.digests(column.which) for _, column in missing)
            ]
            decoding = {which: pool.submit(item.videos[which].take, _own(which, protocol)) for which in wanted}
            waiting.append((item, missing, decoding))
            if len(waiting) >= AHEAD:
                yield _finish(*waiting.popleft(), protocol, store)
        while waiting:
            yield _finish(*waiting.popleft(), protocol, store)


def _finish(
    item: Item,
    missing: Missing,
    decoding: Mapping[str, Future[Taken]],
    protocol: Protocol,
    store: Store,
) -> Read:
    decoded: dict[str, Taken] = {}
    read = Read([], [], {})
    for which, future in decoding.items():
        try:
            decoded[which] = future.result()
        except UserError as error:
            read.unusable.append(Unusable(which, item.name, "all", str(error)))
    for which in item.videos:
        key = key_of(measure="unevenness", taken=_taken(which, protocol), video=item.videos[which].digest)
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
        if not set(item.digests(column.which)) <= set(decoded):
            continue
        try:
            rows = _rows(column, decoded)
        except UserError as error:
            metrics = ", ".join(column.metrics)
            read.unusable.append(Unusable(column.which, item.name, metrics, f"'{item.name}': {error}"))
            continue
        store.put(key, rows)
        _keep(column, item, rows)
    return read


def _rows(column: Column, decoded: Mapping[str, Taken]) -> Float[Tensor, "n d"]:
    try:
        if column.which == PAIR:
            ones, others = decoded[MADE].clips, decoded[REAL].clips
            if len(ones) != len(others):
                raise UserError(f"its pair is not as long: {len(ones)} clips and {len(others)}; cut one to the other")
            pairs = zip(ones, others, strict=True)
            rows = torch.cat([column.reader(one, other) for one, other in pairs])  # type: ignore[call-arg,arg-type]
        else:
            rows = column.reader(decoded[column.which].clips)  # type: ignore[call-arg,arg-type]
    except RuntimeError as error:  # torch's, of a network that cannot take such a clip
        if is_out_of_memory(error):
            raise
        raise UserError(f"the network cannot read it ({first_line(error)})") from error
    if not bool(rows.isfinite().all()):
        raise UserError("its features are not finite numbers")
    return rows


def _keep(column: Column, item: Item, rows: Float[Tensor, "n d"]) -> None:
    column.rows[item.name] = rows
    column.videos[item.name] = item.videos[REAL if column.which == PAIR else column.which]


def _measure(
    metric: Metric,
    columns: Mapping[tuple[str, str], Column],
    captions: Mapping[str, str],
    protocol: Protocol,
    bootstrap: Bootstrap,
) -> tuple[Measured, list[Unusable]]:
    """The number, and the videos that it leaves out for want of a caption."""
    features: dict[str, Features] = {}
    left_out: list[Unusable] = []
    for which in _sets(metric):
        column = columns[which, key_of(reader=metric.reader.identity)]
        names = sorted(column.rows)
        if isinstance(metric, VideoMetric) and metric.needs_caption:
            mute = [name for name in names if not captions[name].strip()]
            left_out = [Unusable(which, name, metric.name, f"'{name}' has no caption") for name in mute]
            names = [name for name in names if name not in set(mute)]
        if not names:
            what = {MADE: "video made", REAL: "real video", PAIR: "pair"}[which]
            raise UserError(f"no {what} could be used" + (": none has a caption; give --captions" if left_out else ""))
        features[which] = column.features(names, captions)
    if isinstance(metric, SetMetric):
        return metric.measure(features[MADE], features[REAL], protocol, bootstrap), left_out
    (one,) = features.values()
    return metric.measure(one, protocol, bootstrap), left_out


def _notes(made: Sequence[Video], real: Sequence[Video], uneven: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if uneven:
        notes.append(
            f"{len(uneven)} videos have a varying frame rate, such as '{uneven[0]}': frames were taken as they are "
            "stored, not by time"
        )
    both = {video.digest for video in made} & {video.digest for video in real}
    if both:
        notes.append(f"{len(both)} videos are in both sets")
    if len({video.digest for video in made}) < len(made):
        notes.append("some of the videos made are equal to each other")
    return tuple(notes)
