"""Commands that let people judge videos, and that sum up what they said."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from vitascope.cli.common import ForceOption, check_out, say, screen
from vitascope.errors import UserError


def arena(
    folders: Annotated[list[Path], typer.Argument(help="Folders with videos of the same names, one for each model.")],
    votes: Annotated[Path, typer.Option(help="Where votes are kept; one that exists goes on.")] = Path("votes.sqlite"),
    seed: Annotated[int, typer.Option(help="Of the order and the sides.")] = 0,
    captions: Annotated[
        Path | None, typer.Option(help="Lines of name, tab, caption; else what the files themselves say.")
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets others on your network vote.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8765,
) -> None:
    """Show people two videos of one name, blind, and keep which they prefer."""
    from vitascope.evaluate.arena.server import ArenaServer
    from vitascope.evaluate.arena.votes import Votes, check_unchanged, open_arena
    from vitascope.evaluate.videos import read_captions

    stage = open_arena(folders, seed, read_captions(captions) if captions else None)
    kept = Votes(votes)
    check_unchanged(stage, kept)
    with ArenaServer(stage, kept, host, port) as server:
        say(f"{server.address}: {len(stage.pairs)} pairs of videos of {', '.join(stage.folders)}; Ctrl-C ends it")
        if stage.alone:
            say(f"{len(stage.alone)} names are in one folder only and not shown, such as '{stage.alone[0]}'")
        if before := len(kept.all()):
            say(f"{votes}: goes on after {before} votes")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            summing = f"vitascope evaluate arena-results {shlex.quote(str(votes))}"
            say(f"{votes}: {len(kept.all())} votes; sum them up: {summing}")
    kept.close()


def arena_results(
    votes: Annotated[Path, typer.Argument(help="The file of votes that `evaluate arena` keeps.")],
    reports: Annotated[
        list[Path] | None, typer.Option("--report", help="Of an `evaluate` command, on one of the folders. Repeatable.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="For the intervals; 0 for none.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
    export: Annotated[Path | None, typer.Option(help="Write the votes here, as .csv or .json.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the results here as JSON.")] = None,
    force: ForceOption = False,
) -> None:
    """Say whom people prefer, how far they agree, and which metrics agree with them."""

    from vitascope import media
    from vitascope.evaluate.arena.results import summed_up, votes_as
    from vitascope.evaluate.arena.votes import Votes
    from vitascope.evaluate.report.reading import read_one

    if not votes.is_file():
        raise UserError(f"'{votes}' does not exist; `vitascope evaluate arena` makes it")
    if resamples < 0:
        raise UserError(f"--resamples must be 0 or more, got {resamples}")
    for path in (export, out):
        check_out(path, force)
    kept = Votes(votes)
    told = kept.all()
    kept.close()
    if export is not None:
        media.replace_file(export, votes_as(told, export.suffix.lower()))
        say(f"{export}: {len(told)} votes")
    results = summed_up(told, [read_one(path) for path in reports or ()], times=resamples, seed=seed)
    results.print(screen())
    if out is not None:
        media.replace_file(out, results.to_json().encode())
        say(f"{out}: the results")
