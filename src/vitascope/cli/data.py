"""Commands that look at footage, and at what a model made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitascope.cli.common import ForceOption, ModelOption, parse_size, say, screen

app = typer.Typer(help="Look at footage to train on.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
def show(
    data: Annotated[Path, typer.Argument(help="A folder of shards or of videos, or a table of them.")],
    area: Annotated[str, typer.Option(help="WIDTHxHEIGHT: every size has at most as many pixels.")] = "64x64",
    lengths: Annotated[str, typer.Option(help="Frames of clips; 1: single pictures.")] = "1,16",
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 8.0,
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a batch.")] = 4096,
) -> None:
    """Say what is in footage, in which sizes and lengths it would be learned from, and what is left out and why."""
    import pydantic

    from vitascope.config import first_mistake
    from vitascope.data.buckets import BucketsConfig
    from vitascope.data.opening import open_footage
    from vitascope.data.report import print_report
    from vitascope.errors import UserError

    width, height = parse_size(area)
    try:
        frames = tuple(int(number) for number in lengths.split(","))
    except ValueError:
        raise UserError(f"--lengths are numbers of frames such as 1,16, got '{lengths}'") from None
    if min(width, height) < 1:
        raise UserError(f"--area needs a width and a height of 1 or more, got '{area}'")
    try:
        config = BucketsConfig(area=width * height, lengths=frames, fps=fps, batch_tokens=batch_tokens)
    except pydantic.ValidationError as error:
        raise UserError(f"such clips cannot be: {first_mistake(error)}") from None
    print_report(open_footage(data), config, screen())


@app.command("compare")
def compare(
    data: Annotated[Path, typer.Argument(help="A folder of shards or of videos, or a table of them.")],
    model: ModelOption = None,
    out: Annotated[Path, typer.Option(help="png, or mp4 to see it move.")] = Path("compare.png"),
    num: Annotated[int, typer.Option(help="How many clips.")] = 4,
    seed: Annotated[int, typer.Option(help="Other noise.")] = 0,
    force: ForceOption = False,
) -> None:
    """Show footage, its reconstruction, and clips made from its captions and first frames, side by side."""
    from vitascope import media
    from vitascope.errors import UserError
    from vitascope.recipes.compare import ROWS, compared, psnr, sheet
    from vitascope.recipes.footage import source_for
    from vitascope.sample.loading import load_own

    if num < 1:
        raise UserError(f"--num must be at least 1, got {num}")
    media.check_destination(out, force=force)
    system = load_own(model).system
    source = source_for(system.config.defaults, data)
    rows = compared(system, source, range(min(num, len(source.rows))), seed)
    media.write(sheet(rows), out, force=force)
    say(f"{out}: {', '.join(ROWS)}; the reconstruction's PSNR is {psnr(rows):.1f} dB")
