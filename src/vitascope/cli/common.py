"""What commands share: options, and how they speak."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vitascope.errors import UserError

ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of a trained model; the bundled one if absent.")
]
ChangesOption = Annotated[
    list[str] | None, typer.Option("--set", help="A setting by dotted path: stages.t2v.steps=100.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


def say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def tracker(what: str) -> Any:
    """`progress(done, total)` as a bar that ends by itself."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    shown = Progress(console=console, transient=True, disable=not console.is_terminal)
    task = shown.add_task(what, total=None)

    def progress(done: int, total: int) -> None:
        shown.start()
        shown.update(task, completed=done, total=total)
        if done >= total:
            shown.stop()

    return progress


def parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise UserError(f"a size is WIDTHxHEIGHT in pixels, such as 64x64, got '{text}'") from None


def one_of(option: str, value: str | None, known: tuple[str, ...]) -> Any:
    if value is not None and value not in known:
        raise UserError(f"{option} must be one of {', '.join(known)}, got '{value}'")
    return value
