"""What a table found, as a figure: the claims with their intervals, the rows with their seeds, and curves."""

from __future__ import annotations

import io
import math
import statistics
from typing import TYPE_CHECKING

from vitascope.ablate.page import told
from vitascope.ablate.table import Curve, Table, Trade
from vitascope.ablate.verdict import Results, Verdict, find, mean_interval
from vitascope.errors import UserError, install

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#22313f"
COLOURS: dict[Verdict, str] = {"holds": "#2f7d4f", "does not hold": "#c2410c", "cannot be told": "#7b8794"}


def draw(table: Table, results: Results) -> bytes:
    """A png."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(f"a plot needs matplotlib: {install('plot')}") from None

    drawn = [name for name in table.shown if any(name in metrics for metrics in results.values())][:2]
    num = 1 + len(drawn) + len(table.curves) + len(table.trades)
    tall = max(0.34 * max(len(table.claims), len(table.rows)) + 1.6, 3.5)
    figure = Figure(figsize=(8 + 4.5 * (num - 1), tall), layout="constrained")
    axes = figure.subplots(1, num, width_ratios=(1.8, *[1] * (num - 1)), squeeze=False)[0]
    draw_claims(axes[0], table, results)
    for one, name in zip(axes[1:], drawn, strict=False):
        draw_rows(one, table, results, name)
    left = iter(axes[1 + len(drawn) :])
    for curve in table.curves:
        draw_curve(next(left), curve, results)
    for trade in table.trades:
        draw_trade(next(left), trade, results)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def draw_claims(axes: Axes, table: Table, results: Results) -> None:
    """Each interval in units of its own farther end: where zero lies is what counts. The expected side is shaded."""
    for y, claim in enumerate(table.claims):
        found = find(claim, results)
        low, high = found.interval
        largest = max((abs(end) for end in (low, high) if math.isfinite(end)), default=abs(found.mean))
        unit = max(largest, claim.margin) or 1.0
        margin = claim.margin / unit
        sides = {"higher": (0, 1), "lower": (-1, 0), "same": (-margin, margin), "no higher": (-1, margin)}
        side = sides[claim.expected]
        axes.barh(y, side[1] - side[0], 0.8, side[0], color="#e6edf2")
        colour = COLOURS[found.verdict]
        if found.differences:
            if math.isfinite(low):
                axes.plot([low / unit, high / unit], [y, y], color=colour, linewidth=3, solid_capstyle="butt")
            axes.plot(found.mean / unit, y, "o", color=colour)
        axes.text(1.08, y, f"{told(found, results)}: {found.verdict}", va="center", fontsize=8, color=colour)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_xlim(-1.05, 3.2)
    axes.set_xticks([])
    axes.set_yticks(
        range(len(table.claims)), [f"{claim.number}  {claim.left.row} : {claim.right.row}" for claim in table.claims]
    )
    axes.invert_yaxis()
    axes.set_title("Claims: left less right, 95 % interval; shaded: expected", fontsize=10)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8)


def draw_rows(axes: Axes, table: Table, results: Results, metric: str) -> None:
    """Every seed as a dot, the mean with its interval."""
    names = [row.name for row in table.rows if any(metric in results[key] for key in results if key[0] == row.name)]
    for y, name in enumerate(names):
        values = [metrics[metric] for (row, _), metrics in sorted(results.items()) if row == name and metric in metrics]
        low, high = mean_interval(values)
        if math.isfinite(low):
            axes.plot([low, high], [y, y], color="#9fb3c8", linewidth=3, zorder=1)
        axes.plot(values, [y] * len(values), "o", color=INK, markersize=4, alpha=0.7)
        axes.plot(statistics.fmean(values), y, "|", color=INK, markersize=14)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(metric, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curve(axes: Axes, curve: Curve, results: Results) -> None:
    """One line for each row and for each kind of number, which its name tells before "at"."""
    for row in curve.rows:
        for kind in dict.fromkeys(name.rpartition(" at ")[0] for name in curve.metrics):
            points = [
                (place, statistics.fmean(values))
                for name, place in zip(curve.metrics, curve.places, strict=True)
                if name.rpartition(" at ")[0] == kind
                and (values := [m[name] for (one, _), m in results.items() if one == row and name in m])
            ]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=f"{row}: {kind}")
    axes.set_title(curve.title, fontsize=10)
    axes.set_xlabel(curve.axis, fontsize=9)
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_trade(axes: Axes, trade: Trade, results: Results) -> None:
    """One line for each series of rows: the means over seeds, with the interval of what is got."""
    for line in trade.lines:
        points = []
        for name in line:
            pairs = [
                (metrics[trade.paid], metrics[trade.got])
                for (row, _), metrics in results.items()
                if row == name and trade.paid in metrics and trade.got in metrics
            ]
            if pairs:
                paid, got = zip(*pairs, strict=True)
                points.append((statistics.fmean(paid), statistics.fmean(got)))
                low, high = mean_interval(got)
                if math.isfinite(low):
                    axes.plot([points[-1][0]] * 2, [low, high], color="#d5dee6", linewidth=3, zorder=1)
        if points:
            axes.plot(
                *zip(*points, strict=True), marker="o", label=line[0].rpartition("-")[0] if len(line) > 1 else line[0]
            )
    axes.set_title(trade.title, fontsize=10)
    axes.set_xlabel(trade.paid, fontsize=9)
    axes.set_ylabel(trade.got, fontsize=9)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
