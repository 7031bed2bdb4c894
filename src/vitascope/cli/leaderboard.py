"""Commands about VBench: measuring a folder of videos, and published results beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitascope.cli.common import ForceOption, say, tracker


def leaderboard(
    add: Annotated[
        list[Path] | None, typer.Option(help="A report of yours, or the JSON of the official package; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model of a single --add.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it into this png, svg or pdf.")] = None,
    force: ForceOption = False,
) -> None:
    """VBench of the 25 models in the STIV paper, and of yours."""
    from rich.console import Console

    from vitascope import media
    from vitascope.errors import UserError
    from vitascope.evaluate.vbench.leaderboard import board, print_board, row_of
    from vitascope.evaluate.vbench.leaderboard_plot import picture
    from vitascope.evaluate.vbench.report import read_report

    if name is not None and len(add or ()) != 1:
        raise UserError(f"--name is for one --add, got {len(add or ())}")
    if plot is not None:
        media.check_free(plot, force=force)
    rows = board([row_of(read_report(path, name)) for path in add or ()])
    console = Console()
    print_board(rows, console if console.is_terminal else Console(width=TABLE_WIDTH))
    if plot is not None:
        media.replace_file(plot, picture(rows, plot))
        say(f"{plot}: the leaderboard")


TABLE_WIDTH = 150  # where there is no terminal to tell how much fits


def vbench(
    videos: Annotated[Path, typer.Argument(help="The folder of the videos, named 'PROMPT-0.mp4'.")],
    prompts: Annotated[Path, typer.Option(help="VBench_full_info.json.")],
    dino: Annotated[Path | None, typer.Option(help="Folder of DINO ViT-B/16 in transformers' form.")] = None,
    clip: Annotated[Path | None, typer.Option(help="The same of CLIP ViT-B/32.")] = None,
    large_clip: Annotated[Path | None, typer.Option(help="The same of CLIP ViT-L/14.")] = None,
    head: Annotated[Path | None, typer.Option(help="LAION's sa_0_4_vit_l_14_linear.pth.")] = None,
    dimension: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated. All that can be measured if absent.")
    ] = None,
    official: Annotated[
        str | None, typer.Option(help="The official package's command, such as '/envs/vbench/bin/vbench evaluate'.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model; the folder's name if absent.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report here as JSON, for leaderboard --add.")] = None,
    force: ForceOption = False,
) -> None:
    """VBench's dimensions of a folder of videos: here, or with --official by the official package."""
    import shlex

    from rich.console import Console

    from vitascope import media
    from vitascope.evaluate.vbench.aggregate import VBENCH
    from vitascope.evaluate.vbench.files import read_prompts, run_official
    from vitascope.evaluate.vbench.leaderboard import print_places, row_of
    from vitascope.evaluate.vbench.report import merged
    from vitascope.evaluate.vbench.run import load_networks, measure

    if out is not None:
        media.check_free(out, force=force)
    model = name or videos.resolve().name
    if official is None:
        networks = load_networks(dino, clip, large_clip, head)
        report = measure(
            videos, read_prompts(prompts), networks, model=model, wanted=dimension or (), progress=tracker("measuring")
        )
    else:
        progress, wanted = tracker("measuring"), dimension or list(VBENCH.dimensions)
        folder = Path(f"{videos.resolve()}_vbench")
        parts = []
        for number, one in enumerate(wanted, 1):
            parts.append(run_official(shlex.split(official), videos, one, folder, prompts, model))
            progress(number, len(wanted))
        report = merged(parts)
    print_places(row_of(report), Console())
    for key in ("left_out", "skipped", "missing_videos"):
        if told := report.protocol.get(key):
            say(f"{key.replace('_', ' ')}: {told}")
    if out is not None:
        media.replace_file(out, report.model_dump_json(indent=1).encode())
