"""What a table found, as a page: each claim with its difference, interval and verdict, then the rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from vitascope.ablate.table import Claim, Table
from vitascope.ablate.verdict import Finding, Results, find, mean_interval


def page(table: Table, results: Results, seconds: Mapping[tuple[str, int], float], made_by: str) -> str:
    """Markdown; `made_by` says how to make it again. Its plot and its numbers lie beside it under the table's name."""
    return "\n".join([*_head(table, results, seconds, made_by), *_claims(table, results), *_rows(table, results), ""])


def _head(table: Table, results: Results, seconds: Mapping[tuple[str, int], float], made_by: str) -> Iterator[str]:
    yield f"# {table.title}\n"
    yield f"```\n{made_by}\n```\n"
    for note in table.notes:
        yield f"{note}\n"
    seeds = {row.name: sum(name == row.name for name, _ in results) for row in table.rows}
    counts = sorted({number for number in seeds.values() if number}) or [0]
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    yield (
        f"Measured: {sum(n > 0 for n in seeds.values())} of {len(seeds)} rows, {each} seeds each, in "
        f"{sum(seconds.values()) / 60:.0f} minutes on the clock. Intervals are of the mean over seeds, 95 %, by "
        "Student's t; differences are taken within a seed. A claim *holds* if the interval lies wholly where it is "
        "expected, *does not hold* if wholly elsewhere, and else *cannot be told*.\n"
    )
    yield f"![what was measured]({table.name}.png)\n"


def _claims(table: Table, results: Results) -> Iterator[str]:
    yield "| claim | | the paper | compared | expected | measured | seeds | verdict |"
    yield "|---|---|---|---|---|---|---|---|"
    for claim in table.claims:
        found = find(claim, results)
        yield (
            f"| {claim.number} | {claim.says} | {claim.evidence} | {compared(claim)} | {expected(claim)} | "
            f"{told(found, results)} | {len(found.differences)} | **{found.verdict}** |"
        )
    yield ""


def compared(claim: Claim) -> str:
    left, right = claim.left, claim.right
    if left.metric == right.metric:
        return f"{left.metric}: `{left.row}` against `{right.row}`"
    if left.row == right.row:
        return f"`{left.row}`: {left.metric} against {right.metric}"
    return f"`{left.row}`: {left.metric} against `{right.row}`: {right.metric}"


def expected(claim: Claim) -> str:
    margin = number(claim.margin, claim)
    if claim.expected == "same":
        return f"within {margin}"
    return f"at most {margin} higher" if claim.expected == "no higher" else claim.expected


def number(value: float, claim: Claim) -> str:
    return f"{100 * value:.1f} %" if claim.relative else f"{value:.3g}"


def told(found: Finding, results: Results) -> str:
    """What was measured, or why nothing was: both sides may be there and the comparison mean nothing."""
    guard = found.claim.guard
    both = {row for row, _ in results} >= {found.claim.left.row, found.claim.right.row}
    if guard is not None and both and not found.differences:
        return f"{guard.metric} above {guard.most:g} in every seed"
    return measured(found)


def measured(found: Finding) -> str:
    """The difference with its sign, and the interval."""
    if not found.differences:
        return "not measured"
    sign = "+" if found.mean > 0 else ""
    low, high = found.interval
    if math.isinf(low):
        return f"{sign}{number(found.mean, found.claim)}"
    return f"{sign}{number(found.mean, found.claim)} ({number(low, found.claim)} to {number(high, found.claim)})"


def _rows(table: Table, results: Results) -> Iterator[str]:
    names = [name for name in table.shown if any(name in metrics for metrics in results.values())]
    yield f"| row | | {' | '.join(names)} |"
    yield f"|---|---|{'---|' * len(names)}"
    missing = []
    for row in table.rows:
        seen = [metrics for (name, _), metrics in sorted(results.items()) if name == row.name]
        if not seen:
            missing.append(f"`{row.name}` ({row.says})")
            continue
        diverged = sum(metrics.get("diverged", 0) > 0 for metrics in seen)
        says = f"{row.says} ({diverged} of {len(seen)} diverged)" if diverged else row.says
        cells = (_cell([metrics[name] for metrics in seen if name in metrics]) for name in names)
        yield f"| `{row.name}` | {says} | {' | '.join(cells)} |"
    if missing:
        yield f"\nNot measured yet: {'; '.join(missing)}."


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = mean_interval(values)
    half = "" if math.isinf(low) else f" ± {(high - low) / 2:.2g}"
    return f"{statistics.fmean(values):.3g}{half}"
