"""What a run writes down: JSON lines always, TensorBoard scalars where it is installed, one line for the eyes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, track

from vitascope.atomic import replacing
from vitascope.errors import install
from vitascope.train.folder import writing


class Log:
    """Scalars by step into `log.jsonl` and TensorBoard; progress on the terminal."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self.folder, self.path = folder, folder / "log.jsonl"
        with writing(folder), contextlib.ExitStack() as files:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = files.enter_context(open(self.path, "a", buffering=1))
            self.files = files.pop_all()  # open for the whole run
        self.board: Board | None = None
        self.console = console or Console(stderr=True)
        self.shown = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Log:
        if not _has_tensorboard():
            self.say(f"scalars go to log.jsonl alone; for TensorBoard too: {install('track')}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        with writing(self.folder) if error is None else contextlib.suppress(OSError):
            self.files.close()

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        with writing(self.folder):
            self.file.write(json.dumps({"stage": stage, "step": step, **values}) + "\n")
            if self.board is not None:
                for name, value in values.items():
                    self.board.scalar(name, value, step)

    def begin(self, stage: str, step: int, steps: int) -> None:
        """A bar for a stage, in place of the one before. What the stage wrote after `step`, before it was interrupted,
        is forgotten."""
        with writing(self.folder):
            written = self.path.read_bytes().splitlines(keepends=True)
            kept = [line for line in written if not _is_void(line, stage, step)]
            if len(kept) < len(written):
                self.file.close()
                with replacing(self.path) as part:
                    part.write_bytes(b"".join(kept))
                self.file = self.files.enter_context(open(self.path, "a", buffering=1))  # noqa: SIM115 (files close it)
            self.board = _board(self.folder / "tensorboard" / stage, step, self.files)
        for task in self.bar.task_ids:
            self.bar.remove_task(task)
        self.bar.add_task(stage, total=steps, completed=step, numbers="")
        self.bar.start()
        self.stage, self.steps = stage, steps

    def show(self, step: int, unit: str, rate: float, loss: float, seconds_left: float) -> None:
        """Move the bar; without a terminal, print a line every ten seconds."""
        numbers = f"loss {loss:.4f}  {rate:.1f} {unit}/s  {_duration(max(seconds_left, 0.0))} left"
        self.bar.update(self.bar.task_ids[0], completed=step, numbers=numbers)
        if not self.console.is_terminal and time.monotonic() - self.shown > 10:
            self.shown = time.monotonic()
            self.say(f"{self.stage} {step}/{self.steps}  {numbers}")

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def track(self, items: Sequence[int], what: str) -> Iterator[int]:
        """A progress bar of its own over `items`."""
        if not items:
            return iter(())
        self.bar.stop()
        return iter(track(items, what, console=self.console, transient=True))


@dataclass(frozen=True)
class StepReport:
    """What is told of a step."""

    loss: float
    norm: float  # of the gradient, before it was clipped
    rate: float
    per_second: float  # samples, over the last steps
    parts: Mapping[str, float]

    def scalars(self) -> dict[str, float]:
        told = {"loss": self.loss, "norm": self.norm, "rate": self.rate, "per_second": self.per_second}
        return {**told, **self.parts}


class Speed:
    """Samples a second over the last steps, without what is done between them."""

    def __init__(self, batch: int, memory: int = 20) -> None:
        self.batch, self.spent = batch, deque[float](maxlen=memory)

    def after(self, seconds: float) -> float:
        """The speed, now that another step took `seconds`."""
        self.spent.append(seconds)
        return self.batch * len(self.spent) / max(sum(self.spent), 1e-9)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _is_void(line: bytes, stage: str, step: int) -> bool:
    """Whether a line was cut short, or is of a step of `stage` that is to be made again."""
    try:
        said = json.loads(line)
    except ValueError:
        return True
    told = said if isinstance(said, dict) else {}  # somebody else's line is left alone
    return not line.endswith(b"\n") or (told.get("stage") == stage and told.get("step", 0) > step)


class Board:
    """Scalars of a stage for TensorBoard, written at once: its own writer is a thread, which a full disk ends in the
    dark. What files beside it say of steps after `step` is no longer shown."""

    def __init__(self, file: RawIOBase, step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2  # late: an extra
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.event, self.summary = event_pb2.Event, summary_pb2.Summary
        self.records = RecordWriter(file)
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def scalar(self, name: str, value: float, step: int) -> None:
        self._write(step=step, summary=self.summary(value=[self.summary.Value(tag=name, simple_value=value)]))

    def _write(self, **content: Any) -> None:
        self.records.write(self.event(wall_time=time.time(), **content).SerializeToString())


def _has_tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None


def _board(folder: Path, step: int, files: contextlib.ExitStack) -> Board | None:
    if not _has_tensorboard():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"
    return Board(files.enter_context(open(path, "ab", buffering=0)), step)
