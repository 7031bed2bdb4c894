"""Drawings for the page that need no script: a value on its scale, and all dimensions as a star."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from vitascope.evaluate.measured import Measured

CEILINGS = ("ceiling", "truth", "coded", "true clips")
FLOORS = ("floor", "untrained", "still", "shuffled", "wrong caption")
"""What of that which stands beside a number lies on the same scale: what is perfect, and what is worthless."""
WIDTH, HEIGHT, EDGE = 220, 18, 6
RADIUS, MARGIN_X, MARGIN_Y = 150, 125, 30


def strip(runs: Sequence[tuple[str, Measured]], at: int, *, is_share: bool) -> str:
    """The value of one run with its interval, on a scale that holds all of them. `runs`: colours and numbers."""
    low, high = (0.0, 1.0) if is_share else _room([one for _, one in runs])

    def place(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(EDGE + (WIDTH - 2 * EDGE) * share, 1)

    colour, one = runs[at]
    middle, parts = HEIGHT / 2, [f"<line class=axis x1={EDGE} x2={WIDTH - EDGE} y1={HEIGHT - 2} y2={HEIGHT - 2} />"]
    if is_share:
        bar = place(one.value) - place(0.0)
        parts.append(f"<rect x={place(0.0)} y=3 width={bar:.1f} height={HEIGHT - 6} fill='{colour}' opacity=.28 />")
    for name, value in _marks(one):
        kind = "good" if name in CEILINGS else "bad"
        parts.append(
            f"<line class=mark-{kind} x1={place(value)} x2={place(value)} y1=1 y2={HEIGHT - 2} stroke-width=1.5>"
            f"<title>{escape(name)} {value:.4g}</title></line>"
        )
    if one.interval is not None:
        ends = [place(end) for end in one.interval]
        parts.append(f"<line x1={ends[0]} x2={ends[1]} y1={middle} y2={middle} stroke='{colour}' stroke-width=2.5 />")
    parts.append(
        f"<circle cx={place(one.value)} cy={middle} r=4 fill='{colour}'><title>{one.value:.5g} on a scale from "
        f"{low:.4g} to {high:.4g}</title></circle>"
    )
    return f"<svg width={WIDTH} height={HEIGHT} viewBox='0 0 {WIDTH} {HEIGHT}' role=img>{''.join(parts)}</svg>"


def _marks(one: Measured) -> list[tuple[str, float]]:
    return [
        (name, float(value))
        for name, value in one.beside.items()
        if name in (*CEILINGS, *FLOORS) and isinstance(value, int | float)
    ]


def _room(some: Sequence[Measured]) -> tuple[float, float]:
    values = [value for one in some for value in (one.value, *(one.interval or ()), *(mark for _, mark in _marks(one)))]
    low, high = min(values), max(values)
    edge = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return low - edge, high + edge


def radar(spokes: Sequence[str], runs: Sequence[tuple[str, str, Sequence[float | None]]]) -> str:
    """A star with a spoke for each dimension, from 0 in the middle to 1. `runs`: colours, names, values."""
    size = 2 * (RADIUS + MARGIN_X), 2 * (RADIUS + MARGIN_Y)
    centre = size[0] / 2, size[1] / 2

    def point(number: int, value: float) -> tuple[float, float]:
        angle = 2 * math.pi * number / len(spokes)
        away = RADIUS * value
        return round(centre[0] + away * math.sin(angle), 1), round(centre[1] - away * math.cos(angle), 1)

    parts = []
    for ring in (0.25, 0.5, 0.75, 1.0):
        corners = " ".join("{},{}".format(*point(number, ring)) for number in range(len(spokes)))
        parts.append(f"<polygon class=axis points='{corners}' />")
    for number, spoke in enumerate(spokes):
        (x, y), (end_x, end_y) = point(number, 1.07), point(number, 1.0)
        side = "middle" if abs(x - centre[0]) < 12 else "start" if x > centre[0] else "end"
        lower = 8 if y > centre[1] + RADIUS * 0.9 else 4 if abs(y - centre[1]) < RADIUS * 0.9 else 0
        parts.append(f"<line class=axis x1={centre[0]} y1={centre[1]} x2={end_x} y2={end_y} />")
        parts.append(f"<text x={x} y={y + lower} text-anchor={side}>{escape(spoke)}</text>")
    for colour, name, values in runs:
        known = [
            (point(number, value), spokes[number], value) for number, value in enumerate(values) if value is not None
        ]
        corners = " ".join(f"{x},{y}" for (x, y), _, _ in known)
        parts.append(
            f"<polygon points='{corners}' fill='{colour}' fill-opacity=.12 stroke='{colour}' stroke-width=2 "
            "stroke-linejoin=round />"
        )
        for (x, y), spoke, value in known:
            told = f"<title>{escape(name)}, {escape(spoke)}: {value:.3f}</title>"
            parts.append(f"<circle cx={x} cy={y} r=3 fill='{colour}'>{told}</circle>")
    return f"<svg viewBox='0 0 {size[0]} {size[1]}' role=img>{''.join(parts)}</svg>"
