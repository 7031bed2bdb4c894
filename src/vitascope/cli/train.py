"""Commands that train a model, or say beforehand what it will cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitascope.cli.common import ChangesOption, DeviceOption, assignments, say, screen, tracker
from vitascope.errors import UserError

if TYPE_CHECKING:
    from vitascope.train.stages import Run

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Your own footage: a folder of shards or of videos, or a table of them."),
]


def train(
    recipe: Annotated[str, typer.Argument(help="laptop:stiv, ./file.py:function, or a run.json.")],
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME if absent.")] = None,
    changes: ChangesOption = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time for all stages; the learning rate decays with it.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Only this one; --out holds those before it.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="Folder of a model or of a PixArt to begin with, or 'bundled'.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    device: DeviceOption = None,
    show_only: Annotated[bool, typer.Option("--print", help="Show the whole run and stop.")] = False,
) -> None:
    """Train a model by a recipe."""
    import json
    import math

    from rich import print_json

    from vitascope.config import to_json

    run = changed(recipe, changes, data)
    if minutes is not None:
        if not 0 < minutes < math.inf:
            raise UserError(f"--minutes must be a number above 0, got {minutes:g}; for no limit leave it out")
        run = run.model_copy(update={"minutes": minutes})
    if begin is not None:
        from vitascope.sample.loading import bundled
        from vitascope.train.beginning import refuse_replaced, started

        given = started(run, bundled() if begin == "bundled" else Path(begin), stage)
        refuse_replaced(run, given, changes or [])
        run = given
    if show_only:
        print_json(json.dumps(to_json(run)))
        return
    from vitascope.recipes.toyland import ToylandConfig
    from vitascope.recipes.watch import watcher
    from vitascope.train.folder import command
    from vitascope.train.loop import fit

    folder = out or Path("runs") / run.name
    watch = watcher(run.preview_prompts, judged=isinstance(run.data, ToylandConfig))
    model = fit(run, folder, resume=resume, only=stage, watch=watch, device=device)
    made = folder / "model"
    say(f"{made}: the trained model; {command(model.config, 'generate', 'PROMPT', '--model', made)}")


def plan(
    recipe: Annotated[str, typer.Argument(help="stiv:xl_256, laptop:stiv, ./file.py:function, or a run.json.")],
    data: DataOption = None,
    changes: ChangesOption = None,
    gpus: Annotated[int, typer.Option(help="How many; they split the batch.")] = 1,
    gpu: Annotated[str, typer.Option(help="h100, h200, a100, b200, l40s, l4, rtx4090, ..., or cpu.")] = "h100",
    price: Annotated[float | None, typer.Option(help="What one device costs an hour.")] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Time small steps of each stage here, five seconds each.")
    ] = False,
) -> None:
    """Say what a run will need: parameters, FLOPs, memory, time and cost."""
    from vitascope.plan.calibrating import timed_here
    from vitascope.plan.devices import device
    from vitascope.plan.report import plan as make_plan
    from vitascope.plan.report import print_plan, refuse_what_cannot_be_planned

    run, on = changed(recipe, changes, data), device(gpu)
    refuse_what_cannot_be_planned(run, on, gpus, price)  # before steps are timed, which takes longer than to refuse
    timed = timed_here(run, on, gpus) if calibrate else {}
    print_plan(make_plan(run, on, gpus, price, timed, tracker("planning")), screen())


def changed(recipe: str, changes: list[str] | None, data: Path | None = None) -> Run:
    """The run of a recipe, on the user's own footage if there is any, with settings changed by `path=value`."""
    from vitascope.config import override
    from vitascope.recipes import resolve

    run = resolve(recipe)
    if data is not None:
        from vitascope.recipes.footage import on_footage

        run = on_footage(run, data)
        tell_of_words(data)
    for path, text in assignments(changes, "--set", "path=value"):
        run = override(run, path, text)
        tell_where_it_does_not_reach(run, path)
    return run


def tell_of_words(data: Path) -> None:
    """Of footage without words a model learns what it shows, and not what to call it."""
    from vitascope.data.opening import open_footage

    footage = open_footage(data)
    if silent := footage.told.noted.get("without a caption", ()):
        beside = data / "captions.tsv"
        way = f"; its captions: --data {beside}" if beside.is_file() else ""
        say(f"note: {len(silent)} of {len(footage.table.width)} samples have no caption{way}")


def tell_where_it_does_not_reach(run: Run, path: str) -> None:
    """A setting of the run's data or model leaves stages alone that have data or a model of their own."""
    group = path.partition(".")[0]
    own = [stage.name for stage in run.stages if group in ("data", "model") and getattr(stage, group) is not None]
    if own:
        say(f"note: '{path}' does not change {', '.join(own)}: of a {group} of their own, see stages.{own[0]}.{group}")
