"""What a run writes down: JSON lines always, TensorBoard scalars where it is installed, one line for the eyes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)


class Log:
    """Scalars by step into `log.jsonl` and TensorBoard; progress on the terminal."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.console = console or Console(stderr=True)
        self.file = open(folder / "log.jsonl", "a", buffering=1)  # noqa: SIM115 (open for the whole run)
        self.board = _board(folder)
        self.shown = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Log:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.file.close()
        if self.board is not None:
            self.board.close()

    def scalars(self, stage: str, step: int, values: dict[str, float]) -> None:
        self.file.write(json.dumps({"stage": stage, "step": step, **values}) + "\n")
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{stage}/{name}", value, step)

    def begin(self, stage: str, step: int, steps: int) -> None:
        for task in self.bar.task_ids:
            self.bar.remove_task(task)
        self.bar.add_task(stage, total=steps, completed=step, numbers="")
        self.stage, self.steps = stage, steps

    def show(self, step: int, unit: str, rate: float, loss: float, seconds_left: float) -> None:
        """Move the bar; without a terminal, print a line every ten seconds."""
        numbers = f"loss {loss:.4f}  {rate:.1f} {unit}/s"
        if self.console.is_terminal:
            self.bar.update(self.bar.task_ids[0], completed=step, numbers=numbers)
        elif time.monotonic() - self.shown > 10:
            self.shown = time.monotonic()
            self.say(f"{self.stage} {step}/{self.steps}  {numbers}  about {seconds_left / 60:.0f} min left")

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def track(self, items: Sequence[int], what: str) -> Iterator[int]:
        """A progress bar of its own over `items`."""
        if not items:
            return iter(())
        self.bar.stop()
        return iter(track(items, what, console=self.console, transient=True))


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # late: an extra, and slow to import
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
