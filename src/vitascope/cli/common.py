"""What commands share: options, and how they speak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitascope.choices import SOLVER_NAMES
from vitascope.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from vitascope.config import Tree

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Folder of a trained model, or hub:ID or hub:FOLDER; the bundled one if absent."),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; the GPU where there is one if absent.")
]
RevisionOption = Annotated[str | None, typer.Option(help="Of a hub:ID: a branch, tag or commit.")]
DtypeOption = Annotated[str | None, typer.Option(help="Of a hub model: bf16, fp16 or fp32.")]
OffloadOption = Annotated[
    str | None, typer.Option(help="Of a hub model, to save GPU memory: none, model or sequential.")
]
LoraOption = Annotated[list[str] | None, typer.Option(help="Of a hub model: a LoRA file, FILE or FILE:scale.")]
ChangesOption = Annotated[
    list[str] | None, typer.Option("--set", help="A setting by dotted path: stages.t2v.steps=100.")
]
RulesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        help="A rule of sampling, NAME=VALUE, such as guidance_kind=separate, renorm=false or "
        "guidance_interval=[0.2,0.8]; docs/sampling.md lists all. Repeatable.",
    ),
]
SolverOption = Annotated[str | None, typer.Option(help=f"{', '.join(SOLVER_NAMES[:-1])} or {SOLVER_NAMES[-1]}.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


BARS = ExitStack()
"""Bars that may be on the screen, to be taken off however a command ends: they hide the cursor."""


EDGELESS = 400
"""Columns in a pipe or a file, where nothing may be cut off: more than any table of ours has."""


def screen() -> Console:
    """Where results are printed: as wide as the terminal, or without an edge if it is none."""
    from rich.console import Console

    shown = Console()
    return shown if shown.is_terminal else Console(width=EDGELESS)


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
    if console.is_terminal:
        BARS.callback(shown.stop)

    def progress(done: int, total: int) -> None:
        shown.start()
        shown.update(task, completed=done, total=total)
        if done >= total:
            shown.stop()

    return progress


def parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise UserError(f"a size is WIDTHxHEIGHT in pixels, such as 64x64, got '{text}'") from None


def overridden(config: Tree, texts: list[str] | None, option: str, form: str = "name=value") -> Tree:
    """The settings changed as `option` says, each time in the form that its help promises."""
    from vitascope.config import override

    for name, value in assignments(texts, option, form):
        config = override(config, name, value)
    return config


def assignments(texts: list[str] | None, option: str, form: str) -> Iterator[tuple[str, str]]:
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{option} needs {form}, got '{text}'")
        yield name, value


def parse_rules(texts: list[str] | None) -> dict[str, Any]:
    """Rules of sampling by name, checked one against the other."""
    if not texts:
        return {}
    from vitascope.config import override
    from vitascope.system import Rules

    rules, names = Rules(), []
    for name, value in assignments(texts, "--rule", f"name=value, a name of {', '.join(Rules.model_fields)}"):
        rules = override(rules, name, value)
        names.append(name)
    return {name: getattr(rules, name) for name in names}


def one_of(option: str, value: str | None, known: tuple[str, ...]) -> Any:
    if value is not None and value not in known:
        raise UserError(f"{option} must be one of {', '.join(known)}, got '{value}'")
    return value


def check_out(out: Path | None, force: bool) -> None:
    from vitascope import media

    if out is not None:
        media.check_free(out, force=force)


def check_plot(plot: Path | None, force: bool) -> None:
    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--plot must end in .png, .svg or .pdf, got '{plot}'")
    check_out(plot, force)
