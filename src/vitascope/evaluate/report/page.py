"""The page of one or more evaluations: one file that asks no network for anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from vitascope.evaluate.compare import difference, unlike, unlike_captions
from vitascope.evaluate.measured import Measured, Report
from vitascope.evaluate.report.clips import film, picks
from vitascope.evaluate.report.drawing import CEILINGS, FLOORS, radar, strip
from vitascope.types import Progress, UserError

SHARES = (
    "toyland", "suites", "vbench", "vbench_i2v", "vbench_long", "vbench_2.0", "t2v_compbench_v2", "dsg", "dsg_video",
)  # fmt: skip
TOTALS = ("all", "total", "quality", "semantic")
FEWEST_SPOKES = 5  # of a radar; fewer are read better in the table
MOST_LISTED = 200


def page_of(reports: Sequence[tuple[Path, Report]], num: int = 4, progress: Progress | None = None) -> str:
    """`num`: how many of the best and of the worst clips are shown by each metric."""
    if not reports:
        raise UserError("a page needs a report at least; give what --out of an `evaluate` command wrote")
    names, told = _names(reports), _told_apart([report for _, report in reports])
    runs = [_data(name, one, num) for name, one in zip(names, told, strict=True)]
    _fetch_films(runs, reports, progress)
    parts = {
        "<!--RUNS-->": "".join(_run(at, name, one) for at, (name, one) in enumerate(zip(names, told, strict=True))),
        "<!--RADARS-->": _radars(names, told),
        "<!--NUMBERS-->": _numbers(names, told),
        "<!--LEGEND-->": _legend(told),
        "<!--LEFT-OUT-->": _left_out(names, told),
        "<!--PROTOCOL-->": _protocol(names, told),
        "/*DATA*/": json.dumps({"metrics": _metrics(told), "runs": runs}, allow_nan=False).replace("<", "\\u003c"),
    }
    page = resources.files("vitascope.evaluate.report").joinpath("page.html").read_text(encoding="utf-8")
    return _filled(page, parts)


def _filled(page: str, parts: Mapping[str, str]) -> str:
    """Each mark replaced, in the order of the page; what is put in is never searched for marks."""
    pieces = []
    for mark, content in parts.items():
        before, page = page.split(mark, 1)
        pieces += [before, content]
    return "".join([*pieces, page])


def _names(reports: Sequence[tuple[Path, Report]]) -> list[str]:
    """What was measured; by the report's path where two were called alike."""
    counts = Counter(report.made for _, report in reports)
    names = [report.made if counts[report.made] == 1 else f"{report.made} ({path})" for path, report in reports]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"the report '{twice[0]}' was given twice; give each once")
    return names


def _told_apart(reports: Sequence[Report]) -> list[Report]:
    """Numbers that have one name in several kinds of report, and are not the same thing, get the kind beside it."""
    kinds: dict[str, set[str]] = {}
    for report in reports:
        for one in report.measured:
            kinds.setdefault(one.metric, set()).add(report.kind)

    def called(one: Measured, kind: str) -> Measured:
        return one if len(kinds[one.metric]) == 1 else replace(one, metric=f"{one.metric} ({kind})")

    return [replace(report, measured=tuple(called(one, report.kind) for one in report.measured)) for report in reports]


def _metrics(reports: Sequence[Report]) -> list[str]:
    """All of them, what sums up others first."""
    names = dict.fromkeys(one.metric for report in reports for one in report.measured)
    return sorted(names, key=lambda name: name not in TOTALS)


# What the script draws.


def _data(name: str, report: Report, num: int) -> dict[str, Any]:
    clips = sorted({clip for one in report.measured for clip in one.videos})
    place = {clip: at for at, clip in enumerate(clips)}
    chosen = picks(report.measured, num) if num else {}
    return {
        "name": name,
        "names": clips,
        "captions": [report.clips[clip].caption if clip in report.clips else "" for clip in clips],
        "values": {
            one.metric: [float(f"{one.videos[clip]:.6g}") if clip in one.videos else None for clip in clips]
            for one in report.measured
            if one.videos
        },
        "picks": {
            metric: {which: [place[clip] for clip in some] for which, some in both.items()}
            for metric, both in chosen.items()
        },
        "films": {},
    }


def _fetch_films(
    runs: Sequence[dict[str, Any]], reports: Sequence[tuple[Path, Report]], progress: Progress | None
) -> None:
    """Put the films of all chosen clips into the data."""
    wanted = [
        (run, at, path.parent, report)
        for run, (path, report) in zip(runs, reports, strict=True)
        for at in sorted({at for both in run["picks"].values() for some in both.values() for at in some})
    ]
    for number, (run, at, beside, report) in enumerate(wanted, 1):
        shown = report.clips.get(run["names"][at])
        if source := film(shown.path if shown else None, beside):
            run["films"][at] = source
        if progress is not None:
            progress(number, len(wanted))


# What is there without a script.


def _run(at: int, name: str, report: Report) -> str:
    told = [report.kind, f"{len(report.measured)} numbers"]
    told += [f"{len(report.clips)} clips"] if report.clips else []
    told += [f"against {report.real}"] if report.real else []
    told += [f"version {report.version}"] if report.version else []
    left = "" if report.complete else "<p class=bad>stopped before its end: some numbers are of fewer clips, or missing"
    lost = f"<p class=bad>{len(report.missing)} metrics without a value" if report.missing else ""
    return (
        f"<div class=run style='border-left-color:{_colour(at)}'><b>{escape(name)}</b>"
        f"<p class=quiet>{escape(', '.join(told))}{left}{lost}</div>"
    )


def _radars(names: Sequence[str], reports: Sequence[Report]) -> str:
    """One for each suite that gives shares by dimension."""
    shares = [
        (at, one) for at, report in enumerate(reports) if report.kind in SHARES for one in report.measured
        if 0 <= one.value <= 1 and one.metric not in TOTALS
    ]  # fmt: skip
    figures = []
    for suite in dict.fromkeys(str(one.protocol.get("suite", "")) for _, one in shares):
        known = [(at, one) for at, one in shares if one.protocol.get("suite", "") == suite]
        spokes = list(dict.fromkeys(one.metric for _, one in known))
        if len(spokes) < FEWEST_SPOKES:
            continue
        runs = dict.fromkeys(at for at, _ in known)
        values = {at: {one.metric: one.value for run, one in known if run == at} for at in runs}
        drawing = radar([_words(name) for name in spokes], [
            (_colour(at), names[at], [values[at].get(name) for name in spokes]) for at in runs
        ])  # fmt: skip
        firsts = {one.metric: one for _, one in reversed(known)}
        alike = all(not unlike(firsts[one.metric], one) for _, one in known)
        told = f"{_words(suite)}, 0 to 1" + ("" if alike else "; not all measured alike, as the numbers below say")
        figures.append(f"<figure>{drawing}<figcaption>{escape(told)}</figcaption></figure>")
    if not figures:
        return ""
    return f"<section id=dimensions><h2>By dimension</h2><div class=radars>{''.join(figures)}</div></section>"


def _numbers(names: Sequence[str], reports: Sequence[Report]) -> str:
    several = len(reports) > 1
    head = ["metric", *(["run"] if several else []), "value", "95 % interval", "n", "", "beside"]
    head += ["against the first"] if several else []
    rows = [f"<thead><tr>{''.join(f'<th>{one}' for one in head)}</thead>"]
    for metric in _metrics(reports):
        known = [(at, one) for at, report in enumerate(reports) for one in report.measured if one.metric == metric]
        is_share = all(reports[at].kind in SHARES for at, _ in known)
        rows.append("<tbody class=metric>")
        for place, (at, one) in enumerate(known):
            drawing = strip([(_colour(number), other) for number, other in known], at=place, is_share=is_share)
            low_high = "" if one.interval is None else f"{one.interval[0]:.3g} .. {one.interval[1]:.3g}"
            beside = ", ".join(f"{name} {_short(value)}" for name, value in one.beside.items() if _is_plain(value))
            departs = "".join(f"<br>departs: {escape(departure)}" for departure in one.departures)
            dot = f"<span class=dot style='background:{_colour(at)}'></span>"
            cells = [f"<td class=name rowspan={len(known)}>{escape(_words(metric))}"] if place == 0 else []
            cells += (
                [f"<td class=which title='{escape(names[at])}'>{dot}<span>{escape(names[at])}</span>"]
                if several
                else []
            )
            cells += [f"<td class=number>{told}" for told in (f"{one.value:.4g}", low_high, str(one.n or ""))]
            cells += [f"<td>{drawing}", f"<td class=beside>{escape(beside)}{departs}"]
            captions = unlike_captions(reports[known[0][0]], reports[at])
            against = _against(known[0][1], one, [captions] if captions else []) if place else ""
            cells += [f"<td class=against>{against}"] if several else []
            rows.append(f"<tr>{''.join(cells)}")
        rows.append("</tbody>")
    return "".join(rows)


def _against(first: Measured, other: Measured, more: Sequence[str]) -> str:
    """What `evaluate compare` says of the two; `more`: what differs in their reports as a whole."""
    if differences := [*unlike(first, other), *more]:
        told = f"<summary class=bad>not comparable ({len(differences)})</summary>"
        return f"<details>{told}{escape('; '.join(differences))}</details>"
    found = difference(first, other)
    if found.interval is None:
        return f"{found.value:+.3g}, how sure is not known"
    better = (found.value < 0) == other.lower_is_better
    word = f"<b class={'good' if better else 'bad'}>significant</b>" if found.is_significant else "within chance"
    return f"{found.value:+.3g} ({found.interval[0]:+.3g} .. {found.interval[1]:+.3g}), {word}"


def _legend(reports: Sequence[Report]) -> str:
    marks = {name for report in reports for one in report.measured for name in one.beside}
    solid, dashed = (", ".join(name for name in some if name in marks) for some in (CEILINGS, FLOORS))
    told = ["Dot and line: value and interval."]
    told += [f"Solid tick: {solid}."] if solid else []
    told += [f"Dashed tick: {dashed}."] if dashed else []
    if len(reports) > 1:
        told.append("Of many comparisons one in twenty is significant by chance.")
    return escape(" ".join(told))


def _left_out(names: Sequence[str], reports: Sequence[Report]) -> str:
    parts = []
    for name, report in zip(names, reports, strict=True):
        items = [f"<li><b>{escape(metric)}</b>: no value: {escape(why)}" for metric, why in report.missing.items()]
        items += [f"<li>{escape(note)}" for note in report.notes]
        if report.unusable:
            each = "".join(
                f"<li>{escape(one.set)} {escape(one.name)} ({escape(one.metric)}): {escape(one.reason)}"
                for one in report.unusable[:MOST_LISTED]
            )
            more = len(report.unusable) - MOST_LISTED
            each += f"<li>and {more} more, in the report itself" if more > 0 else ""
            told = f"<summary class=bad>{len(report.unusable)} videos not counted</summary><ul>{each}</ul>"
            items.append(f"<li><details{' open' if len(report.unusable) <= 8 else ''}>{told}</details>")
        parts.append(f"<h3>{escape(name)}</h3><ul>{''.join(items) or '<li>nothing'}</ul>")
    return "".join(parts)


def _protocol(names: Sequence[str], reports: Sequence[Report]) -> str:
    """Of every number; numbers that share all of it stand together."""
    parts = []
    for name, report in zip(names, reports, strict=True):
        groups: dict[str, list[str]] = {}
        for one in report.measured:
            groups.setdefault(json.dumps(one.protocol, indent=1), []).append(_words(one.metric))
        parts.append(f"<h3>{escape(name)}</h3>")
        parts += [
            f"<details><summary>{escape(', '.join(metrics))}</summary><pre>{escape(told)}</pre></details>"
            for told, metrics in groups.items()
        ]
    return "".join(parts)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _colour(at: int) -> str:
    return f"var(--c{at % 6})"


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
