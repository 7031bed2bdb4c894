"""Commands that measure what the one model can be made to do: novel views, classes, long videos."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vitascope.cli.common import (
    ForceOption,
    ModelOption,
    RulesOption,
    SolverOption,
    check_out,
    check_plot,
    parse_rules,
    say,
    screen,
    tracker,
)
from vitascope.errors import UserError

StepsOption = Annotated[int | None, typer.Option(help="Sampling steps.")]
GuidanceOption = Annotated[float | None, typer.Option(help="Guidance scale.")]
BatchOption = Annotated[int, typer.Option(help="Clips sampled together.")]
SheetOption = Annotated[Path | None, typer.Option(help="Draw the first of them here: png.")]
OutOption = Annotated[Path | None, typer.Option(help="Write the report here as JSON.")]


def views(
    model: Annotated[str, typer.Option("--model", help="Folder of a model trained by laptop:views.")],
    num: Annotated[int, typer.Option(help="How many solids.")] = 64,
    seed: Annotated[int, typer.Option(help="Other solids.")] = 0,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    solver: SolverOption = None,
    rules: RulesOption = None,
    batch: BatchOption = 16,
    sheet: SheetOption = None,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Give the first view of Toyland's solids and compare six novel ones with the truth."""
    from vitascope.evaluate.views import beside_truth, evaluate_views
    from vitascope.recipes.judged import Judged
    from vitascope.sample.loading import load_own

    check_out(out, force)
    check_sheet(sheet, force)
    judged = Judged(load_own(model), steps, guidance, solver, parse_rules(rules))
    generate, made = judged.keeping(8)
    report = evaluate_views(
        generate, num=num, seed=seed, batch=batch, encode_decode=judged.encode_decode,
        made_with=judged.made_with, progress=tracker("judging"),
    )  # fmt: skip
    finish(report, out)
    draw(sheet, lambda: beside_truth(made, seed), force)


def classes(
    model: Annotated[str, typer.Option("--model", help="Folder of a model trained by laptop:classes.")],
    attribute: Annotated[str, typer.Option(help="colour, shape or motion.")] = "colour",
    num: Annotated[int, typer.Option(help="How many clips, the classes in turn.")] = 64,
    seed: Annotated[int, typer.Option(help="Other clips.")] = 0,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    solver: SolverOption = None,
    rules: RulesOption = None,
    batch: BatchOption = 16,
    sheet: SheetOption = None,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Ask for classes of Toyland; an Inception Score with the oracle as the classifier."""
    from vitascope.evaluate.classes import evaluate_classes, labelled
    from vitascope.recipes.judged import Judged
    from vitascope.sample.loading import load_own

    check_out(out, force)
    check_sheet(sheet, force)
    judged = Judged(load_own(model), steps, guidance, solver, parse_rules(rules))
    generate, made = judged.keeping(8)
    report = evaluate_classes(
        generate, attribute=attribute, num=num, seed=seed, batch=batch, encode_decode=judged.encode_decode,
        made_with=judged.made_with, progress=tracker("judging"),
    )  # fmt: skip
    finish(report, out)
    draw(sheet, lambda: labelled(made, attribute), force)


def long(
    model: ModelOption = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Another model, or 'bundled', in its own way of making long videos.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Also the same model rolled out window by window, without keyframes.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="Length of each video.")] = 20.0,
    num: Annotated[int, typer.Option(help="How many scenes.")] = 4,
    seed: Annotated[int, typer.Option(help="Other scenes.")] = 0,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    solver: SolverOption = None,
    batch: BatchOption = 4,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves here: png, svg or pdf.")] = None,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Judge long videos, second after second: what stays, and what keeps its colour."""
    from vitascope import media
    from vitascope.evaluate.lasting import FPS, Maker, evaluate_lasting
    from vitascope.recipes.judged import Judged
    from vitascope.sample.chain import borders
    from vitascope.sample.loading import load_own
    from vitascope.sample.model import OwnModel

    check_out(out, force)
    if not math.isfinite(seconds):
        raise UserError(f"--seconds must be a number, got {seconds}")
    check_plot(plot, force)
    rolled = {"keyframe_stride": 0}

    def maker(one: OwnModel, rules: dict[str, Any] | None = None) -> Maker:
        judged = Judged(one, steps, guidance, solver, rules)
        window, stride = one.system.config.defaults.num_frames, judged.settings["keyframe_stride"]
        return Maker(judged.generate, judged.made_with, tuple(borders(round(seconds * FPS), window, stride)))

    own = load_own(model)
    makers = {str(model or "bundled"): maker(own)}
    if plain:
        makers["the same, rolled out"] = maker(own, rolled)
    for name in against or ():
        if name in makers:
            raise UserError(f"--against '{name}' is judged already; name another model (or --plain for another way)")
        makers[name] = maker(load_own(None if name == "bundled" else name))
    report = evaluate_lasting(makers, seconds=seconds, num=num, seed=seed, batch=batch, progress=tracker("judging"))
    finish(report, out)
    if plot is not None:
        media.replace_file(plot, report.plot(plot.suffix[1:].lower()))
        say(f"{plot}: the curves")


def check_sheet(sheet: Path | None, force: bool) -> None:
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UserError(f"--sheet must end in .png, got '{sheet}'")
    check_out(sheet, force)


def draw(sheet: Path | None, picture: Callable[[], Any], force: bool) -> None:
    from vitascope import media
    from vitascope.types import Clip

    if sheet is not None:
        media.write(Clip(picture()[None]), sheet, force=force)
        say(f"{sheet}: the first of them")


def finish(report: Any, out: Path | None) -> None:
    """Print a report, and write it if that was asked for."""

    from vitascope import media

    report.print(screen())
    if out is not None:
        media.replace_file(out, report.to_json().encode())
        say(f"{out}: the report")
