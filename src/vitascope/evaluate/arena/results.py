"""Votes summed up: the table that is printed, the JSON that is written, and the votes themselves for other programs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vitascope.evaluate import forms
from vitascope.evaluate.arena.ranking import (
    Agreement,
    Estimate,
    Record,
    agreement,
    by_model,
    by_video,
    left_rate,
    records,
    strengths,
)
from vitascope.evaluate.arena.votes import Vote
from vitascope.evaluate.compare import unlike
from vitascope.evaluate.intervals import Rate, bootstrap_interval
from vitascope.evaluate.measured import Measured, Report
from vitascope.types import UserError


@dataclass(frozen=True)
class Standing:
    """One folder among the others. `strength`: Bradley and Terry's, 0 for the average."""

    label: str
    record: Record
    strength: Estimate


@dataclass(frozen=True)
class Correlation:
    """A metric against people: over the models, and over the pairs of videos where the metric has a value of each.

    Above 0 they agree, also where low values are the good ones.
    """

    metric: str
    models: Estimate | None
    videos: Estimate | None
    lower_is_better: bool


@dataclass(frozen=True)
class Results:
    """Best first. `left_out`: metrics that were not measured alike, with what differs."""

    num_votes: int
    num_skipped: int
    raters: tuple[str, ...]
    standings: tuple[Standing, ...]
    left: Rate
    agreement: Agreement | None
    correlations: tuple[Correlation, ...]
    left_out: dict[str, str]

    def to_json(self) -> str:
        told = asdict(self)
        for one, standing in zip(told["standings"], self.standings, strict=True):
            one["win_rate"] = _rate(standing.record.rate)
        return json.dumps(_finite({"form": forms.ARENA, **told, "left": _rate(self.left)}), indent=1, allow_nan=False)

    def print(self, console: Console) -> None:
        table = Table("folder", "wins", "ties", "losses", "win rate", "95 % interval", "strength", "95 % interval")
        for one in self.standings:
            rate = one.record.rate
            table.add_row(
                one.label, str(one.record.wins), str(one.record.ties), str(one.record.losses), f"{rate.value:.3f}",
                _told(rate.interval), f"{one.strength.value:+.3f}", _told(one.strength.interval),
            )  # fmt: skip
        console.print(table)
        lines = [f"{self.num_votes} votes of {len(self.raters)} raters, {self.num_skipped} of them skips"]
        lines.append(f"left one preferred: {self.left.value:.3f} ({_told(self.left.interval)})")
        if self.agreement is None:
            lines.append("agreement: not known, for no two people judged the same pair")
        else:
            alpha = self.agreement.alpha
            lines.append(
                f"agreement on {alpha.n} pairs: {self.agreement.raw:.3f} of meetings, Krippendorff's alpha "
                f"{alpha.value:.3f} ({_told(alpha.interval)})"
            )
        for line in lines:
            console.print(line, markup=False, highlight=False)
        if self.correlations:
            heads = (
                "metric",
                "better",
                "Spearman over models",
                "95 % interval",
                "n",
                "over videos",
                "95 % interval",
                "n",
            )
            table = Table(*heads, caption="+: people prefer what the metric calls better, be that high or low")
            for metric in self.correlations:
                better = "low" if metric.lower_is_better else "high"
                table.add_row(metric.metric, better, *_cells(metric.models), *_cells(metric.videos))
            console.print(table)
        for name, reason in self.left_out.items():
            console.print(f"{name}: left out, not measured alike: {reason}", markup=False, highlight=False)


def summed_up(votes: Sequence[Vote], reports: Sequence[Report] = (), *, times: int = 500, seed: int = 0) -> Results:
    """All that the votes say, and with reports of the same folders how far each metric agrees."""
    counted = records(votes)
    if not counted:
        raise UserError(f"there is nothing to sum up: {len(votes)} votes, none of them a choice; let people vote first")
    labels = list(counted)
    strength, drawn = strengths(votes, labels, times, seed)
    standings = [
        Standing(label, counted[label], Estimate(strength[at].item(), interval, int(counted[label].rate.count)))
        for at, label in enumerate(labels)
        for interval in [bootstrap_interval(strength[at].item(), drawn[:, at].tolist())]
    ]
    correlations, left_out = [], {}
    for metric, measured in _by_metric(labels, reports).items():
        first = next(iter(measured.values()))
        if differences := [told for one in measured.values() for told in unlike(first, one)]:
            left_out[metric] = ", ".join(dict.fromkeys(differences))
            continue
        known = [at for at, label in enumerate(labels) if label in measured]
        sign = -1 if first.lower_is_better else 1
        models = by_model([sign * measured[labels[at]].value for at in known], strength[known], drawn[:, known])
        values = {label: {name: sign * value for name, value in one.videos.items()} for label, one in measured.items()}
        videos = by_video(votes, values, times, seed) if all(values.values()) else None
        correlations.append(Correlation(metric, models, videos if videos and videos.n else None, first.lower_is_better))
    return Results(
        len(votes), sum(vote.score is None for vote in votes), tuple(sorted({vote.rater for vote in votes})),
        tuple(sorted(standings, key=lambda one: -one.strength.value)), left_rate(votes),
        agreement(votes, times, seed), tuple(correlations), left_out,
    )  # fmt: skip


def _by_metric(labels: Sequence[str], reports: Sequence[Report]) -> dict[str, dict[str, Measured]]:
    """The folder of a report is known by what was measured: its path, or the name of it; or the clips beside it."""
    measured: dict[str, dict[str, Measured]] = {}
    for report in reports:
        called = report.made, Path(report.made).resolve().name, f"{report.made}_clips"
        label = next((one for one in called if one in labels), None)
        if label is None:
            raise UserError(f"a report is of '{report.made}', and the votes are on {', '.join(labels)}; leave it out")
        for one in report.measured:
            if label in measured.setdefault(one.metric, {}):
                raise UserError(f"two reports hold '{one.metric}' of '{label}'; leave one out")
            measured[one.metric][label] = one
    return measured


def votes_as(votes: Sequence[Vote], ending: str) -> bytes:
    """All votes as .csv or .json."""
    rows = [asdict(vote) for vote in votes]
    if ending == ".json":
        return json.dumps(rows, indent=1).encode()
    if ending != ".csv":
        raise UserError(f"votes are exported to .csv or .json, got '{ending}'")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Vote)])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _rate(rate: Rate) -> dict[str, Any]:
    return {"value": rate.value, "interval": rate.interval, "n": rate.count}


def _finite(told: Any) -> Any:
    """NaN has no place in JSON: what is not known is null."""
    if isinstance(told, dict):
        return {key: _finite(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


def _told(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} .. {interval[1]:.3f}"


def _cells(one: Estimate | None) -> tuple[str, str, str]:
    return ("", "", "") if one is None else (f"{one.value:+.3f}", _told(one.interval), str(one.n))
