"""Commands that let people judge videos, and that sum up what they said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitascope.cli.common import say


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
    from vitascope.evaluate.arena import Votes, check_unchanged, open_arena
    from vitascope.evaluate.arena_server import ArenaServer
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
            say(f"{votes}: {len(kept.all())} votes; sum them up: vitascope evaluate arena-results {votes}")
    kept.close()
