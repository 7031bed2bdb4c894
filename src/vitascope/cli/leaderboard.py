"""The command that shows published results, and yours beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitascope.cli.common import ForceOption, check_plot, say, screen


def leaderboard(
    add: Annotated[
        list[Path] | None, typer.Option(help="A report of yours, or the JSON of the official package; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model of a single --add.")] = None,
    missing_as_zero: Annotated[
        bool, typer.Option("--missing-as-zero", help="Count what was not measured as the official script does.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw it into this png, svg or pdf.")] = None,
    force: ForceOption = False,
) -> None:
    """VBench of the 25 models in the STIV paper, and of yours."""
    from vitascope import media
    from vitascope.errors import UserError
    from vitascope.evaluate.vbench.leaderboard import board, print_board, row_of
    from vitascope.evaluate.vbench.leaderboard_plot import picture
    from vitascope.evaluate.vbench.report import read_report

    if name is not None and len(add or ()) != 1:
        raise UserError(f"--name is for one --add, got {len(add or ())}")
    check_plot(plot, force)
    rows = board([row_of(read_report(path, name), missing_as_zero=missing_as_zero) for path in add or ()])
    print_board(rows, screen())
    if plot is not None:
        media.replace_file(plot, picture(rows, plot))
        say(f"{plot}: the leaderboard")
