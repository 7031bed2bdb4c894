"""Commands that train a model, or say beforehand what it will cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitascope.cli.common import ChangesOption, DeviceOption, assignments, say, screen, tracker
from vitascope.errors import UserError

if TYPE_CHECKING:
    from vitascope.system import ModelConfig
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

    from vitascope.config import code_options, to_json

    run = changed(recipe, changes, data)
    if minutes is not None:
        if not 0 < minutes < math.inf:
            raise UserError(f"--minutes must be a number above 0, got {minutes:g}; for no limit leave it out")
        run = run.model_copy(update={"minutes": minutes})
    if begin is not None:
        given = started(run, begin, stage)
        refuse_replaced(run, given, changes or [])
        run = given
    if show_only:
        print_json(json.dumps(to_json(run)))
        return
    from vitascope.recipes.toyland import ToylandConfig
    from vitascope.recipes.watch import watcher
    from vitascope.train.loop import fit

    folder = out or Path("runs") / run.name
    watch = watcher(run.preview_prompts, judged=isinstance(run.data, ToylandConfig))
    model = fit(run, folder, resume=resume, only=stage, watch=watch, device=device)
    command = f"vitascope{code_options(model.config)} generate PROMPT --model {folder / 'model'}"
    say(f"{folder / 'model'}: the trained model; {command}")


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
    from vitascope.plan.report import print_plan

    run, on = changed(recipe, changes, data), device(gpu)
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


def started(run: Run, model: str, stage: str | None) -> Run:
    """The run whose stage, or the first one, begins with the weights of a model, and whose models have its parts.

    Of a PixArt there are only the main blocks: the run keeps its own parts, and what those blocks do not hold, the tail
    of MaskDiT with it, begins anew.
    """
    from vitascope.backbones.stiv import StivConfig
    from vitascope.card import model_folder, read_card
    from vitascope.sample.loading import bundled
    from vitascope.train.initialise import Origin, initialised, weights_of
    from vitascope.train.loop import chosen
    from vitascope.train.pixart import TAKEN, is_pixart, refuse_other_sizes, taken_by

    folder = bundled() if model == "bundled" else model_folder(Path(model).resolve())
    given = weights_of(folder)  # here, so that a folder without any is the first thing said
    first = chosen(run, stage)[0]
    taken = tuple(pattern for origin in first.begins for pattern in origin.weights)  # of stages that say so
    begins: dict[str, object] = {"begins": (Origin(of=str(folder), **({"weights": taken} if taken else {})),)}
    if not is_pixart(folder):
        run = with_parts(run, read_card(folder).config, first.fresh)
        first = chosen(run, stage)[0]
    else:
        backbone = run.at(first).model.backbone
        if not isinstance(backbone, StivConfig):
            raise UserError(f"a PixArt can begin a STIV, and the backbone is a {type(backbone).__name__}")
        refuse_other_sizes(given, folder, backbone.depth, backbone.heads)
        names, from_there = initialised(run.at(first).model, run.seed).state_dict(), taken_by(backbone.depth)
        anew = tuple(name for name in names if name not in from_there)
        begins = {"begins": (Origin(of=str(folder), weights=TAKEN),), "fresh": anew}
    begun = first.model_copy(update=begins)
    return run.model_copy(update={"stages": tuple(begun if one is first else one for one in run.stages)})


def refuse_replaced(asked: Run, run: Run, changes: list[str]) -> None:
    """A setting that was asked for and that `--from` has put another one in the place of."""
    from vitascope.config import to_json
    from vitascope.train.folder import differences

    names = {str(number): stage.name for number, stage in enumerate(asked.stages)}
    wanted = [re.sub(r"(?<=^stages\.)\d+", lambda n: names.get(n[0], n[0]), one.partition("=")[0]) for one in changes]
    replaced = list(differences(to_json(asked), to_json(run)))
    paths = {line: line.partition(" was ")[0] for line in replaced}
    lost = [line for line in replaced for path in wanted if f"{paths[line]}.".startswith(f"{path}.")]
    if lost:
        raise UserError(
            f"--from brings a tokenizer, text encoder and backbone of its own, which --set cannot change: {lost[0]}. "
            "Leave that setting out, or --from"
        )


def with_parts(run: Run, given: ModelConfig, fresh: tuple[str, ...] = ()) -> Run:
    """The run with tokenizer, text encoder and backbone of another model, in every stage; parts that begin anew, all of
    them, stay the recipe's."""
    names = [name for name in ("tokenizer", "text", "backbone") if f"{name}.*" not in fresh]
    parts = {name: getattr(given, name) for name in names}
    stages = tuple(
        stage if stage.model is None else stage.model_copy(update={"model": stage.model.model_copy(update=parts)})
        for stage in run.stages
    )
    return run.model_copy(update={"model": run.model.model_copy(update=parts), "stages": stages})
