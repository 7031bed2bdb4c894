"""The leaderboard of the STIV paper, 25 models by the 16 dimensions of VBench, with further models in their places."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitascope.errors import UserError
from vitascope.evaluate.vbench.aggregate import VBENCH, Scores, aggregate, rounding_bound
from vitascope.evaluate.vbench.report import SuiteReport

AGGREGATES = ("quality", "semantic", "total")
PERCENT = 100
WIDE = 150  # columns of a terminal that hold all dimensions
PRINTED_STEP = 0.1  # the paper prints percents with one decimal

AS_ZERO = "counted as a raw 0, as the official script does"
REWRITTEN = "videos of rewritten prompts, with which semantic scores rise"

REMARKS = {
    "VideoCrafter": "its dimensions and its aggregates are of different versions of the model",
    "CogVideoX-5B": "the printed dynamic degree does not fit the printed quality, which needs about 71.5",
    "M-256": "the printed quality contradicts the printed total, which needs 82.05",
    "CogVideo": "one of the quality dimensions is misprinted by about one point",
}
"""What is wrong with the rows of which the printed aggregates do not follow from the printed dimensions."""


@dataclass(frozen=True)
class Row:
    """A model, in percent. `printed` are the paper's own aggregates; `doubtful` dimensions were measured otherwise."""

    model: str
    dimensions: Mapping[str, float]
    printed: Mapping[str, float] | None = None
    intervals: Mapping[str, tuple[float, float]] | None = None
    departures: tuple[str, ...] = ()
    doubtful: frozenset[str] = frozenset()
    is_rewritten: bool = False
    missing_as_zero: bool = False

    @property
    def own(self) -> bool:
        return self.printed is None

    @property
    def scores(self) -> Scores:
        raw = {name: value / PERCENT for name, value in self.dimensions.items()}
        return aggregate(VBENCH, raw, missing_as_zero=self.missing_as_zero)

    def aggregates(self) -> dict[str, float | None]:
        """As printed, else as computed."""
        if self.printed is not None:
            return dict(self.printed)
        return recomputed(self)

    @property
    def comparable(self) -> bool:
        """Whether its total may be put in order among the others."""
        return not self.doubtful and not self.scores.missing and self.aggregates()["total"] is not None


def recomputed(row: Row) -> dict[str, float | None]:
    values = {**row.scores.groups, "total": row.scores.total}
    return {name: None if value is None else PERCENT * value for name, value in values.items()}


@cache
def published() -> tuple[Row, ...]:
    """The 25 rows of the paper's tables, in its order."""
    text = files("vitascope.evaluate.vbench").joinpath("stiv_leaderboard.csv").read_text(encoding="utf-8")
    rows = []
    for line in csv.DictReader(text.splitlines()):
        dimensions = {name: float(line[name]) for name in VBENCH.dimensions}
        rows.append(Row(line["model"], dimensions, {name: float(line[name]) for name in AGGREGATES}))
    return tuple(rows)


def misprints(row: Row) -> dict[str, float]:
    """Recomputed minus printed aggregates, where rounding alone does not explain the difference."""
    limits = rounding_bound(VBENCH, PRINTED_STEP)
    bounds = {**limits.groups, "total": limits.total}
    found = {}
    for name, value in recomputed(row).items():
        bound = bounds[name]
        if row.printed is not None and value is not None and bound is not None:
            difference = value - row.printed[name]
            if abs(difference) > bound:
                found[name] = difference
    return found


def row_of(report: SuiteReport, *, missing_as_zero: bool = False) -> Row:
    """`missing_as_zero`: whatever the report says."""
    if report.suite != VBENCH.name:
        raise UserError(
            f"the leaderboard is of {VBENCH.name} and '{report.model}' was measured on {report.suite}: these numbers "
            "cannot stand beside each other"
        )
    measured = report.dimensions
    return Row(
        report.model,
        {name: round(PERCENT * one.value, 6) for name, one in measured.items()},
        intervals={
            name: (PERCENT * one.interval[0], PERCENT * one.interval[1])
            for name, one in measured.items()
            if one.interval is not None
        },
        departures=tuple(report.departures),
        doubtful=frozenset(name for name, one in measured.items() if one.departures),
        is_rewritten=report.is_rewritten,
        missing_as_zero=missing_as_zero or report.missing_as_zero,
    )


def board(added: Sequence[Row] = ()) -> list[Row]:
    """All rows by their totals; at the end those without one, and by what there is of it."""
    rows = [*published(), *added]
    names = [row.model for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two rows are called '{name}'; give the added one another name with --name")
    return sorted(rows, key=lambda row: -(row.aggregates()["total"] or 0.0))


def places(rows: Sequence[Row]) -> dict[str, int | None]:
    """The place by total of each model; None if it cannot be compared. Rows that depart take no place from others."""
    ranked = [row.model for row in rows if row.comparable]
    return {row.model: ranked.index(row.model) + 1 if row.comparable else None for row in rows}


def place_by(name: str, row: Row) -> tuple[int, int] | None:
    """Where the row would stand among the published ones in one dimension or aggregate: the best and the worst place
    that its interval allows."""
    values = {**row.dimensions, **row.aggregates()}
    value = values.get(name)
    if value is None or name in row.doubtful:
        return None
    low, high = (row.intervals or {}).get(name, (value, value))
    others = [one.dimensions.get(name, one.aggregates().get(name)) for one in published() if one.model != row.model]
    known = [other for other in others if other is not None]
    return 1 + sum(other > high for other in known), 1 + sum(other > low for other in known)


def print_board(rows: Sequence[Row], console: Console) -> None:
    """The table, what is wrong with rows of it, and for added rows their places by dimension."""
    title = "VBench, percent: the 25 models of the STIV paper" + _with_added(rows)
    if console.width >= WIDE:
        console.print(table_of(rows, (*AGGREGATES, *VBENCH.dimensions), title))
    else:
        quality, semantic = VBENCH.groups.values()
        console.print(table_of(rows, ("total", "quality", *quality), title))
        console.print(table_of(rows, ("semantic", *semantic), "Semantic dimensions"))
    for row in rows:
        if found := misprints(row):
            off = ", ".join(f"{name} {difference:+.2f}" for name, difference in found.items())
            console.print(Text(f"† {row.model}: {REMARKS.get(row.model, '')} (recomputed minus printed: {off})"))
    for row in (row for row in rows if row.own):
        print_places(row, console)


def table_of(rows: Sequence[Row], names: Sequence[str], title: str) -> Table:
    order, table = places(rows), Table(title=title, box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("model", no_wrap=True)
    for name in names:
        table.add_column(SHORT[name], justify="right", no_wrap=True)
    for row in rows:
        place = order[row.model]
        style = "bold" if row.own else None
        table.add_row(str(place or ""), row.model + marks(row), *[cell(row, name) for name in names], style=style)
    return table


def marks(row: Row) -> str:
    """Behind the name of a model."""
    return (" †" if misprints(row) else "") + (" ‡" if row.is_rewritten else "")


def _with_added(rows: Sequence[Row]) -> str:
    added = [row.model for row in rows if row.own]
    return f", and {', '.join(added)}" if added else ""


def cell(row: Row, name: str) -> str:
    value = {**row.dimensions, **row.aggregates()}.get(name)
    if value is None:
        return "–"
    is_marked = name in row.doubtful or (name in AGGREGATES and doubtful_aggregate(row, name))
    return f"{value:.1f}{'*' if is_marked else ''}"


def doubtful_aggregate(row: Row, name: str) -> bool:
    """Whether something that was measured otherwise, or not at all, is part of it."""
    return not {*VBENCH.groups.get(name, VBENCH.dimensions)}.isdisjoint({*row.doubtful, *row.scores.missing})


def print_places(row: Row, console: Console) -> None:
    count = len(published())
    table = Table("dimension", "value", "95 % interval", f"place among {count}", title=row.model)
    for name in (*AGGREGATES, *VBENCH.dimensions):
        place, interval = place_by(name, row), (row.intervals or {}).get(name)
        told = "" if interval is None else f"{interval[0]:.1f} .. {interval[1]:.1f}"
        if place is None or (name in AGGREGATES and doubtful_aggregate(row, name)):
            where = "not measured" if cell(row, name) == "–" else "not comparable"
        else:
            where = str(place[0]) if place[0] == place[1] else f"{place[0]} to {place[1]}"
        table.add_row(name.replace("_", " "), cell(row, name), told, where)
    console.print(table)
    for departure in row.departures:
        console.print(Text(f"* {departure}"))
    if row.missing_as_zero and row.scores.missing:
        console.print(Text(f"* {AS_ZERO}: {', '.join(row.scores.missing)}"))
    if row.is_rewritten:
        console.print(Text(f"‡ {REWRITTEN}"))


SHORT = {
    "quality": "Qual", "semantic": "Sem", "total": "Tot",
    "subject_consistency": "subj", "background_consistency": "back", "temporal_flickering": "flic",
    "motion_smoothness": "smoo", "dynamic_degree": "dyn", "aesthetic_quality": "aest", "imaging_quality": "imag",
    "object_class": "obj", "multiple_objects": "mult", "human_action": "act", "color": "col",
    "spatial_relationship": "spat", "scene": "scen", "appearance_style": "asty", "temporal_style": "tsty",
    "overall_consistency": "over",
}  # fmt: skip
"""Heads of columns that leave room for the numbers."""
