"""Commands that make training data out of raw footage."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from vitascope.cli.common import ForceOption, one_of, overridden, say, screen, tracker
from vitascope.errors import UserError, install


def curate(
    raw: Annotated[
        list[str], typer.Argument(help="Folders, video files, .txt lists, tables, SET:FOLDER; or: report FOLDER.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the shards; a run that stopped goes on there.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="A setting by dotted path. Repeatable.")] = None,
    engine: Annotated[str, typer.Option(help="pool, here: this process alone, or ray: a cluster.")] = "pool",
    workers: Annotated[int | None, typer.Option(help="Processes; if absent as many as there are cores.")] = None,
    key: Annotated[str, typer.Option(envvar="VITASCOPE_CAPTIONS_KEY", help="Of the servers that caption.")] = "",
    force: ForceOption = False,
) -> None:
    """Cut raw footage into measured, filtered training clips; `curate report FOLDER` shows what became of it."""
    if raw[0] == "report":  # as it is written: ./report is a folder of footage
        _report([Path(name) for name in raw[1:]], out, force=force)
        return
    if out is None:
        raise UserError("--out is missing: the folder for the shards")
    _check_extra()
    from vitascope.doctor import cores
    from vitascope.engine import executors
    from vitascope.engine.config import Curate
    from vitascope.engine.on_ray import ray_data
    from vitascope.engine.public_sets import gather
    from vitascope.engine.run import curate as run

    settings = overridden(Curate(), changes, "--set", "path=value")
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}")
    num = workers or cores()
    chosen = {"pool": executors.pool(num), "here": executors.in_process, "ray": ray_data(workers)}
    executor = chosen[one_of("--engine", engine, tuple(chosen))]
    sources, sets = gather([Path(name) for name in raw], out, settings.annotations)
    funnel = run(sources, out, settings, executor, tracker, key, sets)
    _tell(funnel)
    say(f"{out}: the shards; vitascope curate report {shlex.quote(str(out))}")


def _check_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("cv2", "pyarrow") if find_spec(name) is None]
    if missing:
        raise UserError(f"curating needs {' and '.join(missing)}: {install('curate')}")


def _tell(funnel: dict) -> None:
    from rich.markup import escape
    from rich.table import Table

    files = funnel["files"]
    told = [f"{number} {reason}" for reason, number in files["dropped"].items()]
    say(f"{files['read']} of {files['given']} files read" + (f"; {'; '.join(told)}" if told else ""))
    for one in funnel.get("sets", ()):
        named, unusable = one["files"], sum(one["rows left out"].values())
        say(
            f"{one['set']}: {one['rows']} rows, {unusable} unusable; files named: {named['on disk']} there, "
            f"{named['missing']} missing (missing.txt); {named['not named']} others beside them, "
            f"{named['same named']} of a name that another has; "
            f"{one['clips']['of files on disk']} clips in those that are there"
        )
    table = Table("", "pieces", "frames", "seconds", box=None)
    for reason, count in funnel["pieces"].items():
        table.add_row(escape(reason), str(count["pieces"]), str(count["frames"]), f"{count['seconds']:.1f}")
    screen().print(table)
    if captions := funnel.get("captions"):
        for when in ("as they came", "kept"):
            told = captions[when]
            if told["captions"]:
                say(
                    f"captions {when}: {told['captions']}, DSG-Video_i {told['dsg_video_i']:.1%}, "
                    f"DSG-Video_s {told['dsg_video_s']:.1%}, {told['unique_things']} different things"
                )


def _report(folders: list[Path], page: Path | None, *, force: bool) -> None:
    if len(folders) != 1:
        raise UserError(
            "give one folder: vitascope curate report FOLDER (for footage in a folder of that name: ./report)"
        )
    _check_extra()
    from vitascope import media
    from vitascope.engine.report import report
    from vitascope.engine.run import PAGE

    if not folders[0].is_dir():
        raise UserError(f"'{folders[0]}' must be the folder that vitascope curate wrote, and there is none")
    own = folders[0] / PAGE
    page = page or own
    media.check_free(page, force=force or page == own)
    media.replace_file(page, report(folders[0]).encode())
    say(f"{page}: open it in a browser")
