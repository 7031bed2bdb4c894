"""What becomes of footage, for people: where it goes, how far it is changed, what is left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from vitascope.data.buckets import BucketsConfig
from vitascope.data.footage import Footage

EXAMPLES = 3


def print_report(footage: Footage, config: BucketsConfig, console: Console) -> None:
    """A table of the sizes and lengths, then every reason with its count: kept and left out add up to all."""
    placement, table = config.place(footage.table), footage.table
    kept = placement.rows()
    shown = Table(box=None, title=f"{len(kept):,} of {len(table) + _num(footage.told.left_out):,} samples are kept")
    for column in ("size", "frames", "samples", "a batch", "tokens of a batch", "cropped, mean", "cropped, most"):
        shown.add_column(column, justify="right")
    for number, size in enumerate(placement.sizes):
        for place, length in enumerate(placement.lengths):
            rows = np.flatnonzero((placement.size == number) & (placement.length == place))
            if len(rows):
                batch, each = config.batch(size, length), config.tokens(size, length)
                cropped = placement.cropped[rows]
                values = (f"{size[0]}x{size[1]}", length, len(rows), batch, batch * each)
                shown.add_row(*map(str, values), f"{cropped.mean():.0%}", f"{cropped.max():.0%}")
    console.print(shown)
    moving = kept[np.array(placement.lengths)[placement.length[kept]] > 1]
    snapped = int((np.abs(placement.pace[moving] / config.fps - 1) > 0.01).sum())
    if snapped:
        least, most = placement.pace[moving].min(), placement.pace[moving].max()
        console.print(f"{snapped:,} at another pace than {config.fps:g} fps: from {least:.2f} to {most:.2f}")
    for reason, names in footage.told.noted.items():
        if names:
            console.print(f"{len(names):,} {reason}{_examples(names)}", markup=False)
    for reason, names in footage.told.left_out.items():
        console.print(f"left out: {len(names):,} {reason}{_examples(names)}", markup=False)
    for reason, rows in placement.left_out.items():
        names = [footage.sample(int(row)).key for row in rows[:EXAMPLES]]
        more = ", ..." if len(rows) > EXAMPLES else ""
        console.print(f"left out: {len(rows):,} {reason}: {', '.join(map(repr, names))}{more}", markup=False)


def _num(left_out: Mapping[str, Sequence[str]]) -> int:
    return sum(map(len, left_out.values()))


def _examples(names: Sequence[str]) -> str:
    return f": {', '.join(map(repr, names[:EXAMPLES]))}{', ...' if len(names) > EXAMPLES else ''}"
