"""The command line: each command reads its options, calls one function below, and says what came of it.

Nothing heavy is imported before a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from vitascope.cli import (
    ablate,
    arena,
    curate,
    data,
    evaluate,
    extend,
    extensions,
    judged,
    leaderboard,
    make,
    shelf,
    train,
    vbench,
    videos,
)
from vitascope.cli.common import BARS, say
from vitascope.errors import FULL, UserError, is_out_of_memory
from vitascope.train.stop import Stopped

app = typer.Typer(
    help="Make, train and measure text-and-image-to-video models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # importing rich takes as long as all else that `--help` does
)


def print_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        print(f"vitascope {version('vitascope')}")
        raise typer.Exit()
    return wanted


VersionOption = Annotated[
    bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=print_version)
]


CodeOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--code",
        help="A file of your own to import first, with the classes that a model or a run names. Repeatable.",
    ),
]


@app.callback()
def root(code: CodeOption = None, version: VersionOption = False) -> None:
    if code:
        from vitascope.recipes.code import imported

        for path in code:
            imported(path)


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2, and Ctrl-C one line and 130."""
    try:
        with BARS:
            code = app(standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message()
        say(message if message.startswith("Usage: ") else f"error: {message}")  # usage: of one without a command
        sys.exit(2)
    except UserError as error:
        say(f"error: {error}")
        sys.exit(2)
    except Stopped as stop:
        say(str(stop))
        sys.exit(130)
    except (KeyboardInterrupt, typer.Abort):  # before the command began, or after it
        say("stopped")
        sys.exit(130)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        say("error: the memory is full; ask for less at once: a smaller --size, --num-frames, --num or batch")
        sys.exit(2)
    except OSError as error:
        if error.filename is not None:
            say(f"error: '{error.filename}' cannot be read or written: {error.strerror}")
        elif error.errno in FULL:  # of an output, as it has no name
            say(f"error: the output takes no more: {error.strerror}")
            drop(sys.stdout)
        else:
            raise
        sys.exit(2)
    if code == 130:  # so typer ends what Ctrl-C interrupted, without a word
        say("stopped")
    sys.exit(code)


def drop(output: TextIO) -> None:
    """Forget what is left for an output that takes no more, which Python would try to write at its end."""
    try:
        output.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def doctor() -> None:
    """Say what this machine has, what is missing, and what to type."""
    from vitascope.doctor import print_report
    from vitascope.sample.hub.shelf import held

    print_report(held())


for command in (
    make.demo,
    make.generate,
    make.decode,
    extend.upsample,
    make.show,
    make.toyland,
    train.train,
    train.plan,
    ablate.ablate,
    shelf.models,
    shelf.export,
    curate.curate,
    doctor,
):
    app.command()(command)
evaluate.app.command("videos")(videos.videos)
evaluate.app.command("compare")(videos.compare)
evaluate.app.command("merge")(videos.merge)
evaluate.app.command("convert")(videos.convert)
for measure in (extensions.views, extensions.classes, extensions.long):
    evaluate.app.command()(measure)
evaluate.app.command("report")(evaluate.report)
evaluate.app.command()(leaderboard.leaderboard)
evaluate.app.command()(vbench.vbench)
evaluate.app.command("vbench-export")(vbench.vbench_export)
evaluate.app.command()(judged.compbench)
evaluate.app.command()(judged.dsg)
evaluate.app.command("dsg-video")(judged.dsg_video)
evaluate.app.command("dsg-questions")(judged.dsg_questions)
evaluate.app.command("dsg-answers")(judged.dsg_answers)
evaluate.app.command("arena")(arena.arena)
evaluate.app.command("arena-results")(arena.arena_results)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(data.app, name="data")
