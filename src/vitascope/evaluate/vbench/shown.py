"""Tables for people: which dimensions are measured where, and what a report of any suite says."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitascope.evaluate.vbench.aggregate import SUITES, VBENCH, VBENCH_LONG, Suite, aggregate
from vitascope.evaluate.vbench.leaderboard import AS_ZERO, print_places, row_of
from vitascope.evaluate.vbench.report import SuiteReport
from vitascope.evaluate.vbench.ways import DIMENSIONS

OPTIONS = {
    "dino": "--dino", "clip": "--clip", "large_clip": "--large-clip", "aesthetic_head": "--head",
    "dreamsim": "--dreamsim", "dino2": "--dino2",
}  # fmt: skip
"""How the networks are called on the command line."""


def print_ways(console: Console) -> None:
    """Every dimension of every suite: measured here, with which files, or by the official package."""
    notes: dict[str, None] = {}
    for suite in SUITES.values():
        table = Table(title=suite.name, box=box.SIMPLE)
        for head in ("group", "dimension", "measured", "needs"):
            table.add_column(head, no_wrap=True)
        for group, names in suite.groups.items():
            for name in names:
                where, needs, departs = way(name, suite)
                table.add_row(group, name, where + "*" * bool(departs), needs)
                notes |= dict.fromkeys(f"* {name}: {departure}" for departure in departs)
        console.print(table)
    for note in notes:
        console.print(Text(note))
    console.print(Text("--official measures all, here or not. Toyland has twins of vbench: evaluate toyland --suites"))


def way(name: str, suite: Suite) -> tuple[str, str, tuple[str, ...]]:
    """Where a dimension is measured, what it takes, and what is not as it is officially."""
    one = DIMENSIONS[suite.name].get(name)
    if one is None:
        return "official package", "--official", ()
    more = ("--images",) if name in ("i2v_subject", "i2v_background") else ()
    slow = f"({OPTIONS[one.slow]} with --slow-fast)" if one.slow and suite is VBENCH_LONG else ""
    return "here", " ".join([*(OPTIONS[need] for need in one.needs), *more, slow]).strip(), one.departures


def print_report(report: SuiteReport, console: Console) -> None:
    """VBench's beside the leaderboard; those of other suites by themselves."""
    if report.suite == VBENCH.name:
        print_places(row_of(report), console)
        return
    suite = SUITES[report.suite]
    raw = {name: value for name, value in report.raw.items() if name in suite.dimensions}
    scores = aggregate(suite, raw, missing_as_zero=report.missing_as_zero)
    table = Table("", "value", "95 % interval", "n", title=f"{suite.name}: {report.model}", box=box.SIMPLE)
    for name, measured in report.dimensions.items():
        low, high = measured.interval or (None, None)
        told = "" if low is None or high is None else f"{low:.3f} .. {high:.3f}"
        mark = "*" if measured.departures else ""
        table.add_row(name.replace("_", " "), f"{measured.value:.3f}{mark}", told, str(measured.n or ""))
    table.add_section()
    for name, value in {**scores.groups, "total": scores.total}.items():
        table.add_row(name.replace("_", " "), "–" if value is None else f"{value:.3f}", style="bold")
    console.print(table)
    if scores.missing:
        how = f" ({AS_ZERO})" if report.missing_as_zero else ""
        console.print(Text(f"not measured{how}: {', '.join(scores.missing)}"))
    for departure in report.departures:
        console.print(Text(f"* {departure}"))
