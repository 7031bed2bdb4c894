"""What a table found, as a page: each claim with its difference, interval and verdict, then the rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from vitascope.ablate.table import Claim, Table
from vitascope.ablate.verdict import Finding, Results, find, mean_interval, second_look

Took = Mapping[tuple[str, int], tuple[float, float]]
"""By row and seed: seconds on the clock, and those of them that were training."""


def page(table: Table, results: Results, took: Took, made_by: str, base: str) -> str:
    """Markdown; `made_by` says how to make it again, of which `base`. Its plot and its numbers lie beside it under the
    table's name."""
    parts = (_head(table, results, took, made_by, base), _short(table, took), _claims(table, results))
    return "\n".join([*(line for part in parts for line in part), *_second(table, results), *_rows(table, results), ""])


def _head(table: Table, results: Results, took: Took, made_by: str, base: str) -> Iterator[str]:
    yield f"# {table.title}\n"
    yield f"```\n{made_by}\n```\n"
    yield f"The base: {base}.\n"
    for note in table.notes:
        yield f"{note}\n"
    seeds = {row.name: sum(name == row.name for name, _ in results) for row in table.rows}
    counts = sorted({number for number in seeds.values() if number}) or [0]
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    minutes = sum(whole for whole, _ in took.values()) / 60
    yield (
        f"Measured: {sum(n > 0 for n in seeds.values())} of {len(seeds)} rows, {each} seeds each, in "
        f"{minutes:.0f} minutes on the clock. Intervals are of the mean over seeds, 95 %, by "
        "Student's t; differences are taken within a seed. A claim *holds* if the interval lies wholly where it is "
        "expected, *does not hold* if wholly elsewhere, and else *cannot be told*.\n"
    )
    yield f"![what was measured]({table.name}.png)\n"


def _short(table: Table, took: Took) -> Iterator[str]:
    """What the verdicts under it are of, as far as they are of trainings."""
    trained = {row.name for row in table.rows if row.run is not None}
    seconds = [training for (name, _), (_, training) in took.items() if training and name in trained]
    of_trained = [claim.number for claim in table.claims if {claim.left.row, claim.right.row} & trained]
    if seconds and of_trained:
        least, most = min(seconds) / 60, max(seconds) / 60
        some = len(of_trained) < len(table.claims)
        yield (
            f"**{f'The verdicts of {listed(of_trained)}' if some else 'These verdicts'} are of trainings of "
            f"{least:.1f} to {most:.1f} minutes on the clock for a row**, in which little is learned; longer ones may "
            "tell otherwise."
            + (" The others compare what one model makes: nothing is trained for them." if some else "")
            + (f" {table.caution}\n" if table.caution else "\n")
        )


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


def _second(table: Table, results: Results) -> Iterator[str]:
    """The claims asked of another number, and where the two looks part."""
    pairs = [(find(claim, results), look) for claim in table.claims if (look := second_look(claim, results))]
    if not pairs:
        return
    looks = len({(look.claim.left, look.claim.right) for _, look in pairs})
    yield "## A second look\n"
    yield (
        "The same claims asked of the energy distance between what the Toyland network sees in the clips that were "
        "made and in the true ones. It was chosen after the rows had been run, and moves no verdict above. An "
        f"interval misses one time in twenty: of the {looks} different ones here {looks / 20:.1f} are expected to by "
        "chance alone, and as large a share of the first ones.\n"
    )
    yield "| claim | compared | expected | measured | seeds | by it | by the first look |"
    yield "|---|---|---|---|---|---|---|"
    for first, look in pairs:
        yield (
            f"| {first.claim.number} | {compared(look.claim)} | {expected(look.claim)} | {measured(look)} | "
            f"{len(look.differences)} | {look.verdict} | {first.verdict} |"
        )
    yield ""
    opposed = [first.claim.number for first, look in pairs if {first.verdict, look.verdict} == OPPOSED]
    weaker = [
        first.claim.number
        for first, look in pairs
        if first.verdict != look.verdict and {first.verdict, look.verdict} != OPPOSED
    ]
    yield (
        f"The two contradict each other in {listed(opposed)}; in {listed(weaker)} one of them tells what the other "
        "cannot; in all others they say the same.\n"
    )


OPPOSED = {"holds", "does not hold"}


def listed(claims: Sequence[str]) -> str:
    return ", ".join(claims) or "none"


def told(found: Finding, results: Results) -> str:
    """What was measured; and where both sides are there and the comparison means nothing, why."""
    if found.eventless:
        return f"{measured(found)}, but zero on both sides in every seed"
    guard = found.claim.guard
    both = {row for row, _ in results} >= {found.claim.left.row, found.claim.right.row}
    if guard is not None and both and not found.differences:
        bare = find(found.claim.model_copy(update={"guard": None}), results)
        return f"{measured(bare)}, but {guard.metric} above {guard.most:g} in every seed"
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
