"""Which models there are to choose from: the bundled one, those on this disk, known ones on the hub; and what fits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vitascope.card import CARD
from vitascope.doctor import Finding, available_memory
from vitascope.sample.hub.folder import INDEX, looks_whole, read_index
from vitascope.sample.hub.known import KNOWN, Known, Memory
from vitascope.sample.loading import bundled
from vitascope.sample.model import HUB
from vitascope.types import UserError

UNKNOWN = "unknown"
WIDE = 180  # columns of a screen on which all but the last of a table fit
DEPTH = 3  # folders below a root in which models are looked for: runs/NAME/model


@dataclass(frozen=True)
class Shelved:
    """A model on this disk."""

    option: str  # of --model; empty for the bundled one
    what: str


def on_this_disk(roots: Sequence[Path]) -> list[Shelved]:
    """The bundled model, models and checkpoints in and under `roots`, and what the hub's cache holds."""
    try:
        own = [Shelved("", f"bundled: {bundled().name}")]
    except UserError:
        own = []
    found = {folder.resolve(): folder for root in roots for folder in _folders(root)}
    return [*own, *(_shelved(folder) for folder in sorted(found.values())), *_cached()]


def _folders(root: Path) -> Iterator[Path]:
    for depth in range(DEPTH + 1):
        for name in (CARD, INDEX):
            yield from (path.parent for path in root.glob("/".join(["*"] * depth + [name])))


def _shelved(folder: Path) -> Shelved:
    if (folder / CARD).is_file():
        return Shelved(str(folder), "a model of vitascope")
    return Shelved(f"{HUB}{folder}", _kind(folder))


def _cached() -> Iterator[Shelved]:
    """What was fetched from the hub, one line for each repository."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    snapshots = {path.parents[2]: path.parent for path in cache.glob(f"models--*/snapshots/*/{INDEX}")}
    for repository, folder in sorted(snapshots.items()):
        name = repository.name.removeprefix("models--").replace("--", "/")
        yield Shelved(f"{HUB}{name}", f"{_kind(folder)}, {'fetched' if looks_whole(folder) else 'fetched in part'}")


def _kind(folder: Path) -> str:
    try:
        return str(read_index(folder)["_class_name"])
    except UserError:
        return "damaged"


def print_models(roots: Sequence[Path], console: Console, *, sources: bool = False) -> None:
    """Models on this disk, then the known ones as their makers describe them, each with what to type."""
    console.print("On this disk (--model):")
    here = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    here.add_column(overflow="fold")
    here.add_column(overflow="fold")
    for one in on_this_disk(roots):
        here.add_row(one.option or "(none)", one.what)
    console.print(here)
    console.print(f"\nOn the hub, as their makers describe them ({UNKNOWN}: they do not say):")
    if console.width >= WIDE:
        console.print(_table())
        console.print("\nTo run them:")
        for row in KNOWN:
            console.print(f"  {row.command()}", **PLAIN)
    else:
        for row in KNOWN:
            console.print(_paragraph(row))
            console.print(f"  {row.command()}", **PLAIN)
    if sources:
        console.print("\nWhere their makers say so:")
        for row in KNOWN:
            console.print(f"  {row.name}: {'; '.join(row.sources)}", **PLAIN)


def _table() -> Table:
    """A line for each known checkpoint, for screens that are wide enough."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column, no_wrap=column != COLUMNS[-1])
    for row in KNOWN:
        table.add_row(*(cell or UNKNOWN for cell in _cells(row)))
    return table


def _paragraph(known: Known) -> RenderableType:
    """The same for screens that are not: the id, and below it the rest, broken between words."""
    told = dict(zip(COLUMNS, (cell or UNKNOWN for cell in _cells(known)), strict=True))
    return Group("", Text(known.name, style="bold"), *(Padding(line, (0, 0, 0, 2)) for line in _lines(told)))


def _lines(told: Mapping[str, str]) -> Iterator[Text]:
    for columns in (COLUMNS[1:-2], COLUMNS[-2:]):
        yield Text("; ".join(f"{column} {told[column]}" for column in columns))


def _cells(known: Known) -> tuple[str, ...]:
    """In the order of COLUMNS, empty where nothing is known."""
    size = "{}x{}".format(*known.size) if known.size else ""
    numbers = (str(known.num_frames or ""), str(known.fps or ""))
    return (known.name, ", ".join(known.tasks), _parameters(known), size, *numbers, known.licence, memory_of(known))


def _parameters(known: Known) -> str:
    return " + ".join(f"{billions:g}B" for billions in known.parameters)


def memory_of(known: Known) -> str:
    """The memory that its makers state, by how it is loaded; empty if they state none."""
    ways = ((one.gigabytes, one.way()) for one in known.memory)
    return "; ".join(f"{gigabytes:g} GB" + (f" ({way})" if way else "") for gigabytes, way in ways)


def held(gigabytes: float | None = None) -> list[Finding]:
    """Which known checkpoints a GPU of so much memory, or else this machine's, can hold; as far as their makers say.

    Of those of which they do not, and where there is no GPU of all, the size of the weights is told.
    """
    if gigabytes is None:
        if not torch.cuda.is_available():
            return _held_without_gpu(available_memory() / 1e9)
        gigabytes = torch.cuda.mem_get_info()[1] / 1e9  # of the whole GPU, as others' programs may end
    stated = [known for known in KNOWN if known.memory]
    fit = {known.name: way for known in stated if (way := known.fits(gigabytes))}
    perhaps = {
        known.name: way
        for known in stated
        if known.name not in fit and (way := known.fits(gigabytes, foreign=True))
    }  # fmt: skip
    too_large = [known.name for known in stated if known.name not in fit and known.name not in perhaps]
    return [
        Finding("checkpoints that fit", _by_ways(fit) or "none of those whose makers say what they need"),
        Finding("perhaps", f"by ways that this program has not: {_by_ways(perhaps) or 'none'}"),
        Finding("too large", ", ".join(too_large) or "none"),
        Finding("memory not stated", f"{_weights((one for one in KNOWN if not one.memory), 2)}; {ON_GPU}"),
    ]


def _by_ways(ways: Mapping[str, Memory]) -> str:
    return ", ".join(f"{name} ({way.way() or 'loaded in a way not stated'})" for name, way in ways.items())


def _held_without_gpu(gigabytes: float) -> list[Finding]:
    too_large = [known for known in KNOWN if (known.weights_gigabytes(4) or 0) > gigabytes]
    return [
        Finding("checkpoints", f"there is no GPU, and their makers state GPU memory only; {ON_CPU}"),
        Finding("too large", _weights(too_large, 4) or f"none for {gigabytes:.0f} GB of memory"),
        Finding("may fit", _weights((known for known in KNOWN if known not in too_large), 4)),
    ]


def _weights(some: Iterable[Known], bytes_each: int) -> str:
    """Checkpoints with the size of their weights."""
    sizes = ((known.name, known.weights_gigabytes(bytes_each)) for known in some)
    return ", ".join(f"{name} ({UNKNOWN if size is None else f'{size:g} GB'})" for name, size in sizes)


ON_GPU = "in brackets the weights of the denoiser alone in 16 bits, of which --offload sequential holds a few at a time"
ON_CPU = "in brackets the weights of the denoiser alone in fp32, the usual here; with --dtype bf16 it is half of that"
COLUMNS = "id", "from", "parameters", "size", "frames", "fps", "licence", "GPU memory"
PLAIN: dict[str, Any] = {"soft_wrap": True, "highlight": False, "markup": False}  # what is to be copied, unbroken
