"""What a measurement gives: the number, how sure it is, and all that another number must share to be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vitascope.evaluate import forms
from vitascope.evaluate.intervals import bootstrap_interval
from vitascope.types import UserError


@dataclass(frozen=True, eq=False)
class Features:
    """What was read off a set of videos: the rows of one video follow each other. Videos are sorted by name."""

    names: tuple[str, ...]
    captions: tuple[str, ...]
    digest: str  # of the contents of all videos
    rows: Float[Tensor, "n d"]
    video: Int[Tensor, "n"]  # the number of the video that a row is of

    def of_each(self) -> list[Float[Tensor, "_n d"]]:
        return list(self.rows.split(torch.bincount(self.video, minlength=len(self.names)).tolist()))

    def spread(self, weights: Float[Tensor, "b v"]) -> Float[Tensor, "b n"]:
        """Weights of videos as weights of rows: rows of one video are no independent draws."""
        return weights[:, self.video]


@dataclass(frozen=True)
class Measured:
    """One number. `n` counts videos. `replicates` are its values on resampled sets: what a comparison is made of.

    `beside` holds what belongs to the number but is not it: a floor, an extrapolation, another convention's value;
    `least` is what no such number can fall below; `stated` is the interval where it follows from another rule than the
    replicates; `departures` say in words what differs from the official measurement.
    """

    metric: str
    value: float
    n: int
    protocol: Mapping[str, Any]
    replicates: Sequence[float] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)
    videos: Mapping[str, float] = field(default_factory=dict)
    least: float | None = None
    stated: tuple[float, float] | None = None
    lower_is_better: bool = False
    departures: tuple[str, ...] = ()

    @property
    def interval(self) -> tuple[float, float] | None:
        if self.stated is not None:
            return self.stated
        interval = bootstrap_interval(self.value, self.replicates)
        if interval is None or self.least is None:
            return interval
        return max(interval[0], self.least), interval[1]

    def told(self) -> dict[str, Any]:
        return {**asdict(self), "interval": self.interval}


FEW = 5  # videos that are shown with the reason why they were not counted; the report holds all
ALONE = "pairs"
"""What a video without a partner is unusable for."""


@dataclass(frozen=True)
class Unusable:
    """A video that a metric could not take, and why."""

    set: str
    name: str
    metric: str
    reason: str


@dataclass(frozen=True)
class Shown:
    """Where a video lies, for a page that shows it, and what it was asked to show. No path: it was not kept."""

    path: str | None
    caption: str = ""


@dataclass(frozen=True)
class Rows:
    """What was read off one set for some metrics: of each video its digest, and the key of its rows in the store."""

    set: str
    metrics: Sequence[str]
    videos: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """All numbers of one evaluation. `missing` names metrics that gave none, with the reason.

    What every command that evaluates gives: some write it as it is, of others it is read off their own form.
    """

    made: str
    real: str | None
    version: str
    measured: tuple[Measured, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    notes: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False
    clips: Mapping[str, Shown] = field(default_factory=dict)
    kind: str = "videos"
    rows: tuple[Rows, ...] = ()  # so that parts of a set, evaluated apart, can be merged
    resamples: int = 0

    def to_json(self) -> str:
        told = {
            "form": forms.VIDEOS,
            **asdict(self),
            "vitascope": self.version,
            "measured": [one.told() for one in self.measured],
        }
        return json.dumps(told, indent=1, allow_nan=False)

    def print(self, console: Console) -> None:
        table = Table("metric", "value", "95 % interval", "n", "beside")
        for one in self.measured:
            interval = "" if one.interval is None else " .. ".join(f"{end:.4g}" for end in one.interval)
            beside = ", ".join(
                f"{name} {_short(value)}" for name, value in one.beside.items() if not isinstance(value, dict)
            )
            table.add_row(one.metric, f"{one.value:.5g}", interval, str(one.n), beside)
        console.print(table)
        for name, reason in self.missing.items():
            console.print(f"{name}: no value: {reason}", markup=False, highlight=False)
        departing: dict[str, list[str]] = {}
        for one in self.measured:
            for departure in one.departures:
                departing.setdefault(departure, []).append(one.metric)
        for departure, names in departing.items():
            console.print(f"departs: {departure} ({', '.join(names)})", markup=False, highlight=False)
        by_metric: dict[str, list[Unusable]] = {}
        for bad in self.unusable:
            by_metric.setdefault(bad.metric, []).append(bad)
        for metric, some in by_metric.items():
            console.print(f"{metric}: {len(some)} videos not counted:", markup=False, highlight=False)
            for bad in some[:FEW]:
                console.print(f"  {bad.set} {bad.name}: {bad.reason}", markup=False, highlight=False)
            if len(some) > FEW:
                console.print(f"  ... and {len(some) - FEW} more, in the report", markup=False, highlight=False)
        for note in self.notes:
            console.print(f"note: {note}", markup=False, highlight=False)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def read_report(path: Path) -> Report:
    """A report that was written by `to_json`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the report '{path}' cannot be read ({error.strerror}); check the path") from None
    except ValueError:
        content = None
    return report_of(content, path)


def report_of(content: Any, path: Path) -> Report:
    """The content of a file that `to_json` wrote."""
    try:
        measured = tuple(_measured_of(one) for one in content["measured"])
        report = Report(
            content["made"], content["real"], content["version"], measured,
            tuple(Unusable(**one) for one in content["unusable"]), tuple(content["notes"]), content["missing"],
            content["complete"],
            {name: Shown(**one) for name, one in content.get("clips", {}).items()}, content.get("kind", "videos"),
            tuple(_rows_of(one) for one in content.get("rows", ())), content.get("resamples", 0),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError):
        raise UserError(
            f"'{path}' is no report of `vitascope evaluate videos`; give the file that its --out named"
        ) from None
    if not all(math.isfinite(one.value) for one in report.measured):
        raise UserError(f"'{path}' holds a value that is no number; evaluate again")
    return report


def _measured_of(told: Mapping[str, Any]) -> Measured:
    told = {key: value for key, value in told.items() if key != "interval"}
    if told.get("stated"):
        told["stated"] = tuple(told["stated"])
    return Measured(**{**told, "departures": tuple(told.get("departures", ()))})


def _rows_of(told: Mapping[str, Any]) -> Rows:
    videos = {name: (digest, key) for name, (digest, key) in told["videos"].items()}
    return Rows(told["set"], tuple(told["metrics"]), videos)
