"""Commands about models as files: which there are, and how to give one away."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from vitascope.cli.common import ForceOption, say, screen
from vitascope.errors import UserError


def models(
    roots: Annotated[
        list[Path] | None, typer.Argument(help="Folders to look in; runs and the current one if absent.")
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also where the makers of each say what stands there.")
    ] = False,
) -> None:
    """List the models on this disk, and known open checkpoints with the command to run each."""
    from vitascope.sample.hub.shelf import print_models

    for root in roots or ():
        if not root.is_dir():
            raise UserError(f"'{root}' must be a folder to look for models in, and there is none of that name")
    print_models(roots or [Path()], screen(), sources=sources)


def export(
    model: Annotated[str, typer.Argument(help="Folder of a model or of a run; the bundled one if absent.")] = "",
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("out/model"),
    scores: Annotated[list[Path] | None, typer.Option(help="A report of 'vitascope evaluate --out'.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights, such as Apache-2.0.")] = None,
    force: ForceOption = False,
) -> None:
    """Write a model as safetensors, settings and a model card, to be given away."""
    from vitascope.config import code_options
    from vitascope.sample.export import export as write

    card = write(model or None, out, scores=scores or (), licence=licence, force=force)
    command = f"vitascope{code_options(card.config)} generate PROMPT --model {shlex.quote(str(out))}"
    say(f"{out}: weights {card.sha256[:12]}, settings and README.md; {command}")
