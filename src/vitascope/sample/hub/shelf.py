"""Which models there are to choose from: the bundled one, those on this disk, known ones on the hub; and what fits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from vitascope.doctor import Finding
from vitascope.sample.hub.folder import INDEX, read_index
from vitascope.sample.hub.known import KNOWN, Known
from vitascope.sample.model import HUB, bundled
from vitascope.system import CARD
from vitascope.types import UserError

UNKNOWN = "unknown"
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
        yield Shelved(f"{HUB}{name}", f"{_kind(folder)}, fetched")


def _kind(folder: Path) -> str:
    try:
        return str(read_index(folder)["_class_name"])
    except UserError:
        return "damaged"


def print_models(roots: Sequence[Path], console: Console, *, sources: bool = False) -> None:
    """Models on this disk, then the known ones as their makers describe them, each with what to type."""
    console.print("On this disk (--model):")
    here = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for one in on_this_disk(roots):
        here.add_row(one.option or "(none)", one.what)
    console.print(here)
    console.print(f"\nOn the hub, as their makers describe them ({UNKNOWN}: they do not say):")
    columns = "id", "from", "parameters", "size", "frames", "fps", "licence", "GPU memory"
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for row in KNOWN:
        size = "{}x{}".format(*row.size) if row.size else ""
        numbers = (str(row.num_frames or ""), str(row.fps or ""))
        cells = row.name, ", ".join(row.tasks), row.parameters, size, *numbers, row.licence, memory_of(row)
        table.add_row(*(cell or UNKNOWN for cell in cells))
    console.print(table)
    console.print("\nTo run them:")
    for row in KNOWN:
        console.print(f"  {row.command()}", soft_wrap=True, highlight=False, markup=False)
    if sources:
        console.print("\nWhere their makers say so:")
        for row in KNOWN:
            said = "; ".join(row.sources)
            console.print(f"  {row.name}: {said}", soft_wrap=True, highlight=False, markup=False)


def memory_of(known: Known) -> str:
    """The memory that its makers state, by how it is loaded; empty if they state none."""
    ways = ((one.gigabytes, one.way()) for one in known.memory)
    return "; ".join(f"{gigabytes:g} GB" + (f" ({way})" if way else "") for gigabytes, way in ways)


def held(gigabytes: float | None = None) -> list[Finding]:
    """Which known checkpoints a GPU of so much memory, or else this machine's, can hold; as far as their makers say."""
    if gigabytes is None:
        if not torch.cuda.is_available():
            why = "their makers state GPU memory only, and there is no GPU; 'vitascope models' lists them"
            return [Finding("checkpoints", why)]
        gigabytes = torch.cuda.mem_get_info()[1] / 1e9
    ways = {known.name: known.fits(gigabytes) for known in KNOWN if known.memory}
    fit = [f"{name} ({way.way() or 'loaded in a way not stated'})" for name, way in ways.items() if way is not None]
    too_large = [name for name, way in ways.items() if way is None]
    unknown = sum(not known.memory for known in KNOWN)
    return [
        Finding("checkpoints that fit", ", ".join(fit) or "none of those whose makers say what they need"),
        Finding("too large", ", ".join(too_large) or "none"),
        Finding("memory not stated", f"{unknown} of {len(KNOWN)} known checkpoints"),
    ]
