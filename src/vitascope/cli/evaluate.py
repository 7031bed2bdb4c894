"""Commands that measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vitascope.cli.common import (
    DtypeOption,
    ForceOption,
    LoraOption,
    ModelOption,
    OffloadOption,
    RevisionOption,
    RulesOption,
    parse_rules,
    tracker,
)

app = typer.Typer(help="Measure a model.", no_args_is_help=True, rich_markup_mode=None)


@app.command("toyland")
def toyland(
    model: ModelOption = None,
    revision: RevisionOption = None,
    dtype: DtypeOption = None,
    offload: OffloadOption = None,
    lora: LoraOption = None,
    split: Annotated[str, typer.Option(help="seen or unseen triples of colour, shape and motion.")] = "seen",
    kind: Annotated[
        str | None, typer.Option(help="one, two, relation, count, change, interaction, camera or style.")
    ] = None,
    num: Annotated[
        int | None, typer.Option(help="How many clips; 256 if absent, with --suites 32 of each kind.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Other test scenes.")] = 0,
    captions: Annotated[str, typer.Option(help="canonical, paraphrased or both.")] = "both",
    task: Annotated[
        str,
        typer.Option(
            help="text; image, prediction, interpolation or upsampling: the true first, first four, both end or "
            "every second frames are given; picture: one frame from text."
        ),
    ] = "text",
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    solver: Annotated[str | None, typer.Option(help="euler, heun, dpmpp, unipc or sde.")] = None,
    rules: RulesOption = None,
    batch: Annotated[int, typer.Option(help="Clips sampled together.")] = 16,
    suites: Annotated[
        bool, typer.Option("--suites", help="All dimensions of VBench and CompBench: --num scenes of every kind.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the report here as JSON.")] = None,
    force: ForceOption = False,
) -> None:
    """Ask for Toyland's test scenes and let the exact oracle judge the clips."""
    from rich.console import Console

    from vitascope import media
    from vitascope.errors import UserError
    from vitascope.evaluate.toyland import evaluate
    from vitascope.evaluate.vbench.twins import evaluate_suites
    from vitascope.recipes.judged import Judged
    from vitascope.sample.model import load

    if suites and kind is not None:
        raise UserError("--suites asks for every kind and --kind for one; leave one of them out")
    if out is not None:
        media.check_free(out, force=force)
    loaded = load(model, revision=revision, dtype=dtype, offload=offload, loras=lora or ())
    judged = Judged(loaded, steps, guidance, solver, parse_rules(rules))
    which: dict[str, Any] = (
        {"num": 32 if num is None else num} if suites else {"num": 256 if num is None else num, "kind": kind or "one"}
    )
    report = (evaluate_suites if suites else evaluate)(
        judged.generate, **which, split=split, seed=seed, captions=captions, task=task, batch=batch,
        encode_decode=judged.encode_decode, made_with=judged.made_with, progress=tracker("judging"),
    )  # fmt: skip
    report.print(Console())
    if out is not None:
        media.replace_file(out, report.to_json().encode())
