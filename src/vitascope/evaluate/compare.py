"""Two reports side by side: refused where they were measured differently, else how much of the difference is chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from vitascope.evaluate.intervals import Z, bootstrap_interval
from vitascope.evaluate.measured import Measured, Report
from vitascope.types import UserError


@dataclass(frozen=True)
class Difference:
    """`second` less `first`, with its 95 % interval. `paired`: videos of one name were compared with each other."""

    metric: str
    first: float
    second: float
    interval: tuple[float, float] | None
    paired: bool

    @property
    def value(self) -> float:
        return self.second - self.first

    @property
    def is_significant(self) -> bool | None:
        """Whether zero lies outside the interval; None where there is no interval."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]


def compare(first: Report, second: Report, metrics: Sequence[str] = ()) -> list[Difference]:
    """The differences in the metrics that both reports hold; UserError naming what was not done alike."""
    ones, others = ({one.metric: one for one in report.measured} for report in (first, second))
    both = [name for name in ones if name in others]
    if not both:
        raise UserError(
            f"the reports share no metric to compare: one holds {', '.join(ones) or 'none'}, "
            f"the other {', '.join(others) or 'none'}"
        )
    if absent := [name for name in metrics if name not in both]:
        raise UserError(f"'{absent[0]}' is not in both reports; both hold {', '.join(both)}")
    shared = [name for name in both if not metrics or name in metrics]
    wrong = {name: unlike(ones[name], others[name]) for name in shared}
    if any(wrong.values()):
        told = "; ".join(f"{name}: {', '.join(differences)}" for name, differences in wrong.items() if differences)
        raise UserError(
            f"these numbers cannot be compared, for they were not measured alike ({told}); measure one again"
        )
    if asked := unlike_captions(first, second):
        raise UserError(
            f"these numbers cannot be compared, for other videos were asked for ({asked}); give both models one set of "
            "prompts, or the videos of other prompts other names"
        )
    return [difference(ones[name], others[name]) for name in shared]


def unlike(one: Measured, other: Measured) -> list[str]:
    """What differs in how two numbers were measured, in words."""
    flat, flat_other = _flat(one.protocol), _flat(other.protocol)
    names = dict.fromkeys([*flat, *flat_other])
    return [
        f"{name} {flat.get(name, 'none')} and {flat_other.get(name, 'none')}"
        for name in names
        if flat.get(name) != flat_other.get(name)
    ]


def unlike_captions(first: Report, second: Report) -> str:
    """What differs in the captions of clips of one name, in words; a clip that has none was not asked for otherwise."""
    pairs = {
        name: (clip.caption, second.clips[name].caption) for name, clip in first.clips.items() if name in second.clips
    }
    other = {name: pair for name, pair in pairs.items() if all(pair) and pair[0] != pair[1]}
    if not other:
        return ""
    name, (one, another) = next(iter(other.items()))
    return f"captions of {len(other)} of {len(pairs)} clips of one name, such as {name}: '{one}' and '{another}'"


def _flat(protocol: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(protocol, dict):
        return {path: protocol}
    return {
        name: value for key, part in protocol.items() for name, value in _flat(part, f"{path}.{key}".strip(".")).items()
    }


def difference(one: Measured, other: Measured) -> Difference:
    """Replicates are drawn alike in all reports, so each pair of them has the same real videos and the same names."""
    value = other.value - one.value
    paired = bool(one.videos) and one.videos.keys() == other.videos.keys()
    if one.videos and other.videos and not paired:
        # Of different videos: their errors add up.
        drawn = [torch.tensor(report.replicates, dtype=torch.float64) for report in (one, other)]
        spread = math.hypot(*(each.std().item() for each in drawn)) if min(map(len, drawn)) > 1 else math.nan
        interval = None if math.isnan(spread) else (value - Z * spread, value + Z * spread)
    elif len(one.replicates) == len(other.replicates):
        interval = bootstrap_interval(
            value, [late - early for early, late in zip(one.replicates, other.replicates, strict=True)]
        )
    else:
        interval = None
    return Difference(one.metric, one.value, other.value, interval, paired)


def print_differences(differences: Sequence[Difference], labels: tuple[str, str], console: Console) -> None:
    table = Table("metric", *labels, "difference", "95 % interval", "")
    for one in differences:
        interval = "" if one.interval is None else f"{one.interval[0]:+.4g} .. {one.interval[1]:+.4g}"
        verdict = {None: "not known", True: "significant", False: "within chance"}[one.is_significant]
        how = " (video by video)" if one.paired else ""
        table.add_row(one.metric, f"{one.first:.5g}", f"{one.second:.5g}", f"{one.value:+.4g}", interval, verdict + how)
    console.print(table)
    tested = len(differences)
    if tested > 1:
        console.print(f"{tested} tests were made: by chance alone one in twenty comes out significant")
