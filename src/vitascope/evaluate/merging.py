"""Reports of parts of a set, as machines made them apart, into that of the whole: the value of one run over all.

Distances need every row, and take them from where each part kept them; means need the scores that reports hold. No
network is loaded and no video decoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from vitascope.evaluate import forms, toyland
from vitascope.evaluate.columns import MADE, PAIR, REAL, features_of
from vitascope.evaluate.compare import unlike
from vitascope.evaluate.measured import ALONE, Features, Measured, Report, Rows, Unusable, read_report
from vitascope.evaluate.metrics.metric import Bootstrap, between_sets, distance_of, mean_of, of_probabilities
from vitascope.evaluate.store import Store
from vitascope.evaluate.vbench.report import read_json
from vitascope.evaluate.vbench.twins import TwinReport
from vitascope.types import UserError

Judged = TypeVar("Judged")

OF_THE_SET = ("real", "num_real", "num_made", "rows_real", "rows_made")
"""What of a number's protocol says which videos there were: the only thing in which parts may differ."""


@dataclass(frozen=True)
class Part:
    """A report, where it lies, and the store of what it read."""

    path: Path
    report: Report
    store: Store


def merge_files(paths: Sequence[Path], caches: Sequence[Path], cache: Path) -> Report | toyland.Report | TwinReport:
    """The report of the whole, of reports of one command in files.

    Of videos also: `caches`, where the features of each part are, and `cache`, where those of the whole are to be.
    """
    contents = [read_json(path) for path in paths]
    found = {str(content.get("form", "no form")) if isinstance(content, dict) else "no form" for content in contents}
    are_judged = found <= {forms.TOYLAND, forms.TWINS}
    if len(found) > 1 and not are_judged:
        told = " and ".join(sorted(found))
        raise UserError(f"reports of different commands cannot be merged, got {told}; give parts of one")
    if are_judged:
        return merge_judged(paths, contents)
    read = [Part(path, read_report(path), Store.there(kept)) for path, kept in zip(paths, caches, strict=True)]
    return merge(read, Store(cache))


def merge(parts: Sequence[Part], store: Store) -> Report:
    """What was read is copied into `store`, so that the whole can be merged again."""
    if len(parts) < 2:
        raise UserError("merging needs two reports at least; give one for each part")
    _refuse_what_does_not_belong_together(parts)
    rows = _joined_rows(parts, store)
    names = list(dict.fromkeys(name for part in parts for name in _metrics(part.report)))
    first = parts[0].report
    whole = replace(
        first,
        made=" + ".join(dict.fromkeys(part.report.made for part in parts)),
        real=" + ".join(dict.fromkeys(part.report.real for part in parts if part.report.real)) or None,
        measured=(),
        missing={},
        unusable=_unusable(parts),
        notes=_notes(parts),
        clips={name: clip for part in parts for name, clip in part.report.clips.items()},
        rows=rows,
    )
    for name in names:
        try:
            whole = replace(whole, measured=(*whole.measured, _measured(name, parts, rows, store)))
        except UserError as error:
            whole = replace(whole, missing={**whole.missing, name: str(error)})
    return whole


def merge_judged(paths: Sequence[Path], contents: Sequence[Mapping[str, Any]]) -> toyland.Report | TwinReport:
    """Of Toyland's scenes: counts add up."""
    if len({content["form"] for content in contents}) > 1:
        raise UserError("these reports cannot be merged, for only some of them are of --suites; give one kind of them")
    if contents[0]["form"] == forms.TWINS:
        return reduce(TwinReport.merge, _read_judged(TwinReport.from_json, paths, contents))
    return reduce(toyland.Report.merge, _read_judged(toyland.Report.from_json, paths, contents))


def _read_judged(
    read: Callable[[str], Judged], paths: Sequence[Path], contents: Sequence[Mapping[str, Any]]
) -> Iterator[Judged]:
    for path, content in zip(paths, contents, strict=True):
        try:
            yield read(json.dumps(content))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"'{path}' is no whole report ({type(error).__name__}: {error}); evaluate again") from None


def _metrics(report: Report) -> list[str]:
    return [*(one.metric for one in report.measured), *report.missing]


def _refuse_what_does_not_belong_together(parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts:
        if not part.report.complete:
            raise UserError(f"'{part.path}' was stopped before its end; run its command again, it goes on where it was")
        if part.report.kind != "videos" or not part.report.rows:
            raise UserError(f"'{part.path}' does not say what it read; merge what `evaluate videos --out` writes")
        if absent := set(_metrics(first.report)) ^ set(_metrics(part.report)):
            raise UserError(
                f"'{first.path}' and '{part.path}' did not measure the same: {', '.join(sorted(absent))} is in one of "
                "them; evaluate all parts with the same --metric"
            )
        if part.report.resamples != first.report.resamples:
            raise UserError(f"'{first.path}' and '{part.path}' differ in --resamples; evaluate one of them again")
    for name in _metrics(first.report):
        known = [(part.path, one) for part in parts for one in part.report.measured if one.metric == name]
        for path, one in known[1:]:
            if differences := unlike(_apart(known[0][1]), _apart(one)):
                raise UserError(
                    f"these reports cannot be merged, for '{known[0][0]}' and '{path}' were not measured alike "
                    f"({name}: {', '.join(differences)}); evaluate one of them again"
                )


def _apart(one: Measured) -> Measured:
    """Without what differs from part to part."""
    return replace(one, protocol={name: value for name, value in one.protocol.items() if name not in OF_THE_SET})


def _joined_rows(parts: Sequence[Part], store: Store) -> tuple[Rows, ...]:
    joined: dict[tuple[str, tuple[str, ...]], dict[str, tuple[str, str]]] = {}
    for part in parts:
        for rows in part.report.rows:
            videos = joined.setdefault((rows.set, tuple(rows.metrics)), {})
            for name, (digest, key) in rows.videos.items():
                if name in videos and videos[name] != (digest, key):
                    raise UserError(
                        f"two videos of one set are named '{name}', the other in '{part.path}'; give each its own name"
                    )
                videos[name] = digest, key
                if (kept := part.store.get(key)) is None:
                    raise UserError(
                        f"what '{part.path}' read of '{name}' is not kept there any more; evaluate it again, or name "
                        "the file of its features with --cache"
                    )
                store.put(key, kept)
    return tuple(Rows(which, metrics, dict(sorted(videos.items()))) for (which, metrics), videos in joined.items())


def _unusable(parts: Sequence[Part]) -> tuple[Unusable, ...]:
    """Of all parts, but for videos that are without a partner in one part and have it in another."""
    paired: set[str] = set()
    for part in parts:
        met = {name for rows in part.report.rows for name in rows.videos}
        met |= {bad.name for bad in part.report.unusable}
        paired |= met - {bad.name for bad in part.report.unusable if bad.metric == ALONE}
    every = dict.fromkeys(bad for part in parts for bad in part.report.unusable)
    return tuple(bad for bad in every if bad.metric != ALONE or bad.name not in paired)


def _notes(parts: Sequence[Part]) -> tuple[str, ...]:
    notes = dict.fromkeys(note for part in parts for note in part.report.notes)
    of_parts = [set(rows.videos) for part in parts for rows in part.report.rows[:1] if rows.set != REAL]
    twice = sum(map(len, of_parts)) - len(set().union(*of_parts))
    told = f"merged from {', '.join(str(part.path) for part in parts)}"
    return (*notes, *([f"{twice} videos are in several parts, and count once"] if twice else []), told)


def _measured(name: str, parts: Sequence[Part], rows: Sequence[Rows], store: Store) -> Measured:
    known = [one for part in parts for one in part.report.measured if one.metric == name]
    if not known:
        raise UserError(next(part.report.missing[name] for part in parts))
    first, bootstrap = known[0], Bootstrap(parts[0].report.resamples, known[0].protocol["seed"])
    record = _apart(first).protocol

    def features(which: str) -> Features:
        videos = next(one.videos for one in rows if one.set == which and name in one.metrics)
        kept = [store.get(key) for _, key in videos.values()]
        digests = [digest for digest, _ in videos.values()]
        return features_of([*videos], digests, [one for one in kept if one is not None])

    if "distance" in record:
        return between_sets(name, distance_of(record), record, features(MADE), features(REAL), bootstrap)
    if "splits" in record:
        return of_probabilities(name, record, features(MADE), bootstrap)
    scores = dict(sorted({video: score for one in known for video, score in one.videos.items()}.items()))
    if "real" in first.protocol:
        record = {**record, "real": features(PAIR).digest}
    whole = mean_of(name, tuple(scores), [*scores.values()], record, bootstrap, {})
    return replace(whole, beside=_beside(whole, known), lower_is_better=first.lower_is_better)


def _beside(whole: Measured, parts: Sequence[Measured]) -> Mapping[str, Any]:
    """What stands beside a mean: means over videos as well, but for those of `BESIDE`."""
    return {
        name: BESIDE[name](whole, parts)
        if name in BESIDE
        else sum(one.n * one.beside[name] for one in parts) / sum(one.n for one in parts)
        for name in parts[0].beside
    }


def _worst(parts: Sequence[Measured]) -> Measured:
    by_frame = sorted(parts, key=lambda one: float(one.beside["worst frame"]), reverse=parts[0].lower_is_better)
    return by_frame[0]


BESIDE: dict[str, Callable[[Measured, Sequence[Measured]], Any]] = {
    "worst frame": lambda _, parts: _worst(parts).beside["worst frame"],
    "worst frame of": lambda _, parts: _worst(parts).beside["worst frame of"],
    "times 100": lambda whole, _: 100 * max(whole.value, 0.0),
}
