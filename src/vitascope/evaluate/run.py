"""One evaluation: a video is decoded once for all metrics, what is read is kept, nothing is left out silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

from vitascope.evaluate.columns import MADE, PAIR, REAL, Column, Item, columns_of, read_items, sets_of
from vitascope.evaluate.measured import ALONE, Features, Measured, Report, Shown, Unusable
from vitascope.evaluate.metrics.metric import Bootstrap, Metric, PairMetric, SetMetric, VideoMetric
from vitascope.evaluate.protocol import Protocol
from vitascope.evaluate.store import Store, key_of
from vitascope.evaluate.videos import Video
from vitascope.types import UserError


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
    columns = columns_of(metrics)
    items = _items(*_drawn(made, real or (), protocol), paired)
    report = Report(labels[0], labels[1], version("vitascope"))
    unusable = _without_partner(items) if paired else []
    uneven: list[str] = []
    captions: dict[str, str] = {}
    wanted, used = {MADE: protocol.made_count, REAL: protocol.real_count}, list[Item]()
    while now := _next(items, wanted):  # once; again where counts are wanted, and some videos could not be read
        wanted = {which: None if count is None else 0 for which, count in wanted.items()}
        for done, read in enumerate(read_items(now, columns, protocol, store, workers), len(used) + 1):
            unusable += read.unusable
            uneven += read.uneven
            captions |= read.captions
            for bad in read.unusable:
                if bad.metric == "all" and (count := wanted[bad.set]) is not None:
                    wanted[bad.set] = count + 1
            if progress is not None:
                progress(done, len(used) + len(now))
        used += now
        read_now = set(now)
        items = [item for item in items if item not in read_now]
    unread = {(bad.set, bad.name) for bad in unusable if bad.metric == "all"}
    made_read, real_read = (
        [item.videos[which] for item in used if which in item.videos and (which, item.name) not in unread]
        for which in (MADE, REAL)
    )
    clips = {video.name: shown(video, captions[video.name]) for video in made if video.name in captions}
    report = replace(
        report, unusable=tuple(unusable), notes=_notes(made_read, real_read, uneven), clips=clips,
        rows=tuple(column.told() for column in columns.values()), resamples=bootstrap.times,
    )  # fmt: skip
    for metric in metrics:
        try:
            measured, left_out = _measure(metric, columns, captions, protocol, bootstrap)
            unusable = [*report.unusable, *left_out]
            report = replace(report, measured=(*report.measured, measured), unusable=tuple(unusable))
        except UserError as error:
            report = replace(report, missing={**report.missing, metric.name: str(error)})
        if written is not None:
            written(report)
    report = replace(report, complete=bool(report.measured))  # without a number there is something to mend first
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
    if paired and (protocol.made_count or protocol.real_count):
        raise UserError("all pairs are compared; set no made_count and real_count beside --paired")


def _drawn(made: Sequence[Video], real: Sequence[Video], protocol: Protocol) -> tuple[Sequence[Video], Sequence[Video]]:
    """Where a number of videos is wanted, in the order in which they are drawn, whatever order they came in."""

    def draw(video: Video) -> str:
        return key_of(seed=str(protocol.seed), name=video.name)

    return (
        made if protocol.made_count is None else sorted(made, key=draw),
        real if protocol.real_count is None else sorted(real, key=draw),
    )


def _next(items: Sequence[Item], wanted: Mapping[str, int | None]) -> list[Item]:
    """The first so many of each set; all where no number is wanted."""
    seen: Counter[str] = Counter()
    chosen = []
    for item in items:
        which = next(iter(item.videos))
        seen[which] += 1
        if (most := wanted[which]) is None or seen[which] <= most:
            chosen.append(item)
    return chosen


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
        Unusable(next(iter(item.videos)), item.name, ALONE, f"'{item.name}' has no partner of its name")
        for item in alone
    ]


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
    for which in sets_of(metric):
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
