"""The leaderboard as a picture: totals in order, and where each model is strong."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vitascope.errors import UserError, install
from vitascope.evaluate.vbench.aggregate import VBENCH
from vitascope.evaluate.vbench.leaderboard import (
    REWRITTEN,
    Row,
    doubtful_aggregate,
    marks,
    misprints,
    places,
    published,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, OWN, PAPER = "#22313f", "#c2410c", "#5b7c99"
MARKS = {"quality": ">", "semantic": "<", "total": "o"}


def draw(rows: Sequence[Row], kind: str = "png") -> bytes:
    """A figure of `rows` in their order, as a file of this kind."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(f"a plot needs matplotlib: {install('plot')}") from None

    figure = Figure(figsize=(17, 0.32 * len(rows) + 2.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.4), sharey=True)
    draw_totals(left, rows)
    draw_dimensions(right, rows)
    left.set_yticks(range(len(rows)), labels(rows))
    left.invert_yaxis()
    for row, label in zip(rows, left.get_yticklabels(), strict=True):
        if row.own:
            label.set(color=OWN, fontweight="bold")
    notes = ["†: the printed aggregates do not follow from the printed dimensions"] * any(map(misprints, rows))
    notes += ["*, hatched: not measured the official way, or built on such a value; not comparable"] * any(
        row.doubtful for row in rows
    )
    notes += [f"‡: {REWRITTEN}"] * any(row.is_rewritten for row in rows)
    notes += ["empty: not measured"] * any(len(row.dimensions) < len(VBENCH.dimensions) for row in rows)
    figure.supxlabel("   ".join(notes), fontsize=9, color=INK)
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=120)
    return file.getvalue()


def labels(rows: Sequence[Row]) -> list[str]:
    order = places(rows)
    return [f"{row.model}{marks(row)}{'' if order[row.model] is None else f'  {order[row.model]:>2}'}" for row in rows]


def draw_totals(axes: Axes, rows: Sequence[Row]) -> None:
    """Total, Quality and Semantic as marks on one line; the total also as a number."""
    lowest = min(value for row in rows for value in row.aggregates().values() if value is not None)
    right = 94.0
    for y, row in enumerate(rows):
        values, colour = row.aggregates(), OWN if row.own else PAPER
        known = [value for value in values.values() if value is not None]
        if known:
            axes.plot([min(known), max(known)], [y, y], color=colour, alpha=0.4, linewidth=3, solid_capstyle="round")
        for name, marker in MARKS.items():
            value = values[name]
            if value is not None:
                hollow = doubtful_aggregate(row, name)
                fill = "white" if hollow else colour
                axes.plot(value, y, marker, color=colour, markerfacecolor=fill, markersize=7 if name == "total" else 5)
        told = "–" if values["total"] is None else f"{values['total']:.1f}{'*' * doubtful_aggregate(row, 'total')}"
        axes.text(right, y, told, ha="right", va="center", fontsize=9, color=OWN if row.own else INK)
    axes.set_xlim(max(0.0, lowest - 3), right)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_title("Total ● with number, Quality ▸, Semantic ◂, percent", fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw_dimensions(axes: Axes, rows: Sequence[Row]) -> None:
    """Each dimension in colours of its own range among the published models, with the printed number."""
    names = VBENCH.dimensions
    for x, name in enumerate(names):
        known = [row.dimensions[name] for row in published()]
        low, high = min(known), max(known)
        for y, row in enumerate(rows):
            value = row.dimensions.get(name)
            if value is None:
                continue
            place = min(max((value - low) / (high - low), 0.0), 1.0)
            doubtful = name in row.doubtful
            shade = (1 - 0.65 * place, 1 - 0.45 * place, 1 - 0.28 * place)
            axes.barh(
                y, 1, 1, x - 0.5, color=shade, hatch="///" if doubtful else None, edgecolor="#bbbbbb" if doubtful
                else "white", linewidth=0.5,
            )  # fmt: skip
            axes.text(
                x, y, f"{value:.1f}{'*' if doubtful else ''}", ha="center", va="center", fontsize=7.5,
                color=INK, fontweight="bold" if row.own else None,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0} if doubtful else None,
            )  # fmt: skip
    axes.axvline(len(VBENCH.groups["quality"]) - 0.5, color=INK, linewidth=1)
    heads = [name.replace("_", "\n") for name in names]
    axes.set_xticks(range(len(names)), heads, fontsize=7)
    axes.xaxis.tick_top()
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def picture(rows: Sequence[Row], path: Path) -> bytes:
    """What to write to `path`, by its ending."""
    kind = path.suffix.removeprefix(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise UserError(f"a plot is a png, svg or pdf, got '{path}'; name it so")
    return draw(rows, kind)
