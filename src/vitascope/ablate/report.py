"""The page of a table with its plot and its numbers, written together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vitascope import media
from vitascope.ablate.page import measured, page
from vitascope.ablate.plot import draw
from vitascope.ablate.table import Table
from vitascope.ablate.verdict import find
from vitascope.train.folder import writing


def publish(
    table: Table, results: Mapping[tuple[str, int], Mapping[str, Any]], folder: Path, made_by: str
) -> Iterator[str]:
    """Write what has been measured so far; what it says of each claim, in a line each."""
    metrics = {key: result["metrics"] for key, result in results.items()}
    seconds = {key: result["seconds"] for key, result in results.items()}
    told = [{"row": row, "seed": seed, **result} for (row, seed), result in sorted(results.items())]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        media.replace_file(folder / f"{table.name}.png", draw(table, metrics))
        media.replace_file(folder / f"{table.name}.json", (json.dumps(told, indent=1) + "\n").encode())
        media.replace_file(folder / f"{table.name}.md", page(table, metrics, seconds, made_by).encode())
    for claim in table.claims:
        found = find(claim, metrics)
        yield f"{claim.number:4s} {claim.says}: {measured(found)}: {found.verdict}"
    yield f"{folder / table.name}.md: the page"
