"""Commands that measure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitascope.cli.common import (
    DeviceOption,
    DtypeOption,
    ForceOption,
    LoraOption,
    ModelOption,
    OffloadOption,
    RevisionOption,
    RulesOption,
    SolverOption,
    parse_rules,
    say,
    screen,
    tracker,
)

if TYPE_CHECKING:
    from vitascope.types import Clip, Request

FEW_STEPS = 4  # of a network that has learned nothing: more change nothing

app = typer.Typer(help="Measure a model, or videos of any origin.", no_args_is_help=True, rich_markup_mode=None)


@app.command("toyland")
def toyland(
    model: ModelOption = None,
    device: DeviceOption = None,
    revision: RevisionOption = None,
    dtype: DtypeOption = None,
    offload: OffloadOption = None,
    lora: LoraOption = None,
    split: Annotated[str, typer.Option(help="seen or unseen triples of colour, shape and motion.")] = "seen",
    kind: Annotated[
        str | None,
        typer.Option(
            help="one, two, relation, count, change, interaction, camera or style; one if absent, all with --suites."
        ),
    ] = None,
    num: Annotated[
        int | None, typer.Option(help="How many clips; 256 if absent, with --suites 32 of each kind.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Other test scenes.")] = 0,
    captions: Annotated[str, typer.Option(help="canonical, paraphrased or both.")] = "both",
    task: Annotated[
        str,
        typer.Option(
            help="text; image, prediction, interpolation or upsampling: the first, first four, first and last, or "
            "every second of the true frames are given; picture: one frame from text."
        ),
    ] = "text",
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    solver: SolverOption = None,
    rules: RulesOption = None,
    batch: Annotated[int, typer.Option(help="Clips sampled together.")] = 16,
    suites: Annotated[
        bool, typer.Option("--suites", help="All dimensions of VBench and CompBench: --num scenes of every kind.")
    ] = False,
    shard: Annotated[
        str, typer.Option(help="K/N: every Nth scene from the Kth, counted from 0; join them by `evaluate merge`.")
    ] = "0/1",
    out: Annotated[Path | None, typer.Option(help="Write the report here as JSON.")] = None,
    force: ForceOption = False,
) -> None:
    """Ask for Toyland's test scenes and let the exact oracle judge the clips.

    With --out, the report and the clips beside it (NAME_clips) are written as they come; a stopped one goes on.
    """

    from vitascope.errors import UserError
    from vitascope.evaluate import toyland as one_kind
    from vitascope.evaluate.report.reading import unfinished
    from vitascope.evaluate.vbench import twins
    from vitascope.recipes.judged import Judged
    from vitascope.sample.loading import load

    if suites and kind is not None:
        raise UserError("--suites asks for every kind and --kind for one; leave one of them out")
    stopped = None if out is None else unfinished(out, force=force)
    loaded = load(model, device, revision=revision, dtype=dtype, offload=offload, loras=lora or ())
    judged = Judged(loaded, steps, guidance, solver, parse_rules(rules))
    told: dict[str, Any] = {
        "split": split, "seed": seed, "captions": captions, "task": task, "batch": batch,
        "encode_decode": judged.encode_decode, "made_with": judged.made_with, "progress": tracker("judging"),
        "shard": _shard_of(shard),
    }  # fmt: skip
    write, keep = _kept_at(out)
    report: one_kind.Report | twins.TwinReport
    if suites:
        told |= {"num": 32 if num is None else num, "before": _went_on(twins.TwinReport.from_json, stopped, out)}
        report = twins.evaluate_suites(judged.generate, **told, untrained=_untrained(), written=write, keep=keep)
    else:
        told |= {"num": 256 if num is None else num, "before": _went_on(one_kind.Report.from_json, stopped, out)}
        report = one_kind.evaluate(judged.generate, kind=kind or "one", **told, written=write, keep=keep)
    report.print(screen())
    if out is not None:
        say(f"{out}: the report; see it: vitascope evaluate report {shlex.quote(str(out))} --out page")


def _kept_at(out: Path | None) -> tuple[Callable[[Any], None], Callable[[int, Clip], None]]:
    """Where a report and its clips go as they come: to `out` and beside it, or nowhere."""
    from vitascope import media
    from vitascope.evaluate.report.reading import clips_folder

    def write(report: Any) -> None:
        if out is not None:
            media.replace_file(out, report.to_json().encode())

    def keep(number: int, clip: Clip) -> None:
        if out is not None:
            media.make_folder(clips_folder(out))
            media.write(clip, clips_folder(out) / f"{number}.mp4", force=True)

    return write, keep


def _untrained() -> Callable[[Sequence[Request]], Sequence[Clip]]:
    """What knows nothing: the network of laptop:stiv as it is drawn, one for all models that are judged."""
    from vitascope.recipes.laptop import stiv
    from vitascope.sample.generate import generate
    from vitascope.train.initialise import initialised

    network = initialised(stiv().model, seed=0).eval().requires_grad_(False)
    return lambda requests: generate(network, [replace(one, steps=FEW_STEPS, guidance=1.0) for one in requests])


def _shard_of(text: str) -> tuple[int, int]:
    from vitascope.errors import UserError

    number, _, num = text.partition("/")
    if not (number.isdecimal() and num.isdecimal() and int(number) < int(num)):
        raise UserError(f"--shard must be K/N with K from 0 to N - 1, such as 0/4 for the first of four, got '{text}'")
    return int(number), int(num)


def _went_on(read: Callable[[str], Any], stopped: str | None, out: Path | None) -> Any:
    """The report of this command that was stopped."""
    from vitascope.errors import UserError

    try:
        return None if stopped is None else read(stopped)
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"'{out}' is a stopped report of another command; pass --force to replace it") from None


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="What --out of `evaluate` commands wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the page, index.html.")],
    num: Annotated[int, typer.Option(help="Best and worst clips of each metric.")] = 4,
    force: ForceOption = False,
) -> None:
    """One page of one or more evaluations that needs no network: intervals, plots, best and worst clips, protocols."""
    from vitascope import media
    from vitascope.errors import UserError
    from vitascope.evaluate.report.page import page_of
    from vitascope.evaluate.report.reading import read_reports

    if num < 0:
        raise UserError(f"--num must be 0 or more, got {num}")
    if out.is_file():
        raise UserError(f"'{out}' is a file; --out names a folder for the page")
    media.make_folder(out)
    page = out / "index.html"
    media.check_free(page, force=force)
    reports = [(path, report) for path in runs for report in read_reports(path)]
    media.replace_file(page, page_of(reports, num, tracker("cutting clips")).encode())
    say(f"{page}: {page.stat().st_size / 1e6:.1f} MB; open it in a browser")
