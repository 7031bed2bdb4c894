"""The page of a table with its plot and its numbers, written together."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vitascope import media
from vitascope.ablate.page import page, told
from vitascope.ablate.plot import draw
from vitascope.ablate.table import Table
from vitascope.ablate.verdict import find
from vitascope.train.folder import differences, writing
from vitascope.types import UserError


def refuse_to_replace(
    table: Table, coming: Collection[tuple[str, int]], made_of: Mapping[str, Any], folder: Path
) -> None:
    """A page is not replaced by one of fewer results, such as of some rows that are only tried, nor by one of another
    budget. One of another base or of other measures may take its place: it says so itself. Rows that the table
    no longer has are not missed."""
    rows = {row.name for row in table.rows}
    path = folder / f"{table.name}.json"
    try:
        kept = json.loads(path.read_text()) if path.is_file() else {"results": []}
        there = {(one["row"], one["seed"]) for one in kept["results"]}
    except (OSError, ValueError, TypeError, KeyError):
        return  # no page of ours that would be missed
    mistakes = []
    if there and (changes := list(differences({"budget": kept.get("budget")}, {"budget": made_of["budget"]}))):
        mistakes.append(f"has another budget: {'; '.join(changes)}")
    if gone := {(row, seed) for row, seed in there if row in rows} - set(coming):
        mistakes.append(f"tells of {len(there)} results, {len(gone)} of which would be missing from it now")
    if mistakes:
        raise UserError(
            f"'{path.with_suffix('.md')}' {'. It also '.join(mistakes)}; choose other --pages, or pass --force to "
            "replace it"
        )


def publish(
    table: Table,
    results: Mapping[tuple[str, int], Mapping[str, Any]],
    made_of: Mapping[str, Any],
    folder: Path,
    made_by: str,
    base: str,
) -> Path:
    """Write what has been measured so far and of what (`run.made_of`). The page's path."""
    metrics = {key: result["metrics"] for key, result in results.items()}
    took = {key: (result["seconds"], result.get("training_seconds", 0.0)) for key, result in results.items()}
    every = [{"row": row, "seed": seed, **result} for (row, seed), result in sorted(results.items())]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        media.replace_file(folder / f"{table.name}.png", draw(table, metrics))
        numbers = json.dumps({**made_of, "results": every}, indent=1) + "\n"
        media.replace_file(folder / f"{table.name}.json", numbers.encode())
        media.replace_file(folder / f"{table.name}.md", page(table, metrics, took, made_by, base).encode())
    return folder / f"{table.name}.md"


def findings(table: Table, results: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[str]:
    """What has been measured says of each claim, in a line each."""
    metrics = {key: result["metrics"] for key, result in results.items()}
    found = [(claim, find(claim, metrics)) for claim in table.claims]
    return [f"{claim.number:4s} {claim.says}: {told(its, metrics)}: {its.verdict}" for claim, its in found]
