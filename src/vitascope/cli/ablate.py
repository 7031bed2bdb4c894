"""The command that runs the tables of ablations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from vitascope.cli.common import ForceOption, say
from vitascope.errors import UserError


def ablate(
    name: Annotated[str, typer.Argument(help="t2i, t2v, ti2v, guidance, sampling, init or applications.")],
    seeds: Annotated[int, typer.Option(help="Repetitions of every row.")] = 3,
    minutes: Annotated[
        float | None, typer.Option(help="Train every row for so long, instead of its number of steps.")
    ] = None,
    times: Annotated[float, typer.Option(help="Train every row for so many times its number of steps.")] = 1.0,
    rows: Annotated[list[str] | None, typer.Option("--row", help="Only this row. Repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results, may be shared; runs/ablate/NAME.")] = None,
    pages: Annotated[Path, typer.Option(help="Folder of the page, its plot and its numbers.")] = Path("docs/ablations"),
    model: Annotated[str | None, typer.Option(help="The base: folder of a model; the bundled one if absent.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of encoded clips; OUT/cache if absent.")] = None,
    force: ForceOption = False,
) -> None:
    """Run a table of variants at equal budget and say which of the paper's claims hold."""
    from vitascope.ablate.folder import read_results
    from vitascope.ablate.report import findings, publish, refuse_to_replace
    from vitascope.ablate.run import Budget, Place, ablate, made_of
    from vitascope.ablate.tables import table_named
    from vitascope.card import model_folder, read_card
    from vitascope.sample.loading import bundled

    if not all(0 < one < math.inf for one in (times, 1.0 if minutes is None else minutes)):
        raise UserError(f"--times and --minutes must be numbers above 0, got {times:g} and {minutes}")
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {seeds}")
    base = bundled() if model is None else model_folder(Path(model))
    table = table_named(name, read_card(base).config)
    place = Place(base=base, folder=out or Path("runs") / "ablate" / name, cache=cache)
    budget = Budget(times=times, minutes=minutes)
    origin = made_of(base, budget)
    if not force:
        every = [row.name for row in table.rows]
        wanted = {(table.row(name).name, seed) for name in rows or every for seed in range(seeds)}
        refuse_to_replace(table, wanted | read_results(place.folder, every).keys(), origin, pages)
    results = ablate(table, place, seeds, budget, rows or (), say)
    asked = f"vitascope ablate {name} --seeds {seeds}" + ("" if model is None else " --model MODEL")
    asked += "".join(f" --row {row}" for row in rows or ())
    asked += f" --minutes {minutes:g}" if minutes is not None else f" --times {times:g}" if times != 1 else ""
    own, shipped = read_card(base).sha256[:12], read_card(bundled()).sha256[:12]
    told = f"the model that came with the package when this was measured, sha256 {own}"
    if own != shipped:
        told = f"MODEL, sha256 {own}; the model that came with the package then was another one, {shipped}"
    page = publish(table, results, origin, pages, asked, told)
    for finding in findings(table, results):
        say(finding)
    say(f"{page}: the page")
