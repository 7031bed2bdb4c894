"""Where tasks run: in this process, or in a pool of processes with limits (`on_ray`: on a cluster), with one result.

An executor is a function of a task's function, the tasks, and limits; it gives a result or a `Failed` for each task,
in the order of the tasks. A poisoned task costs itself alone.
"""

from __future__ import annotations

import contextvars
import errno
import math
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from vitascope.engine.decoding import NotAVideo
from vitascope.errors import FULL, UserError, first_line
from vitascope.types import Progress

GRACE = 5.0  # seconds after which a task is ended that was to end by itself


@dataclass(frozen=True)
class Failed:
    """Why a task gave nothing; `is_ours` where the fault is not in its file, so that the run must stop.

    `is_late` where another time it might have been done in time.
    """

    reason: str
    is_ours: bool = False
    is_late: bool = False


class TookTooLong(NotAVideo):
    """A task that ends itself, since it had its time."""


@dataclass(frozen=True)
class Limits:
    """Of each task; `seconds` count from the beginning, and anew from each beat of its `Pulse`."""

    seconds: float
    megabytes: int
    setting: str = "measuring.most_seconds"  # that says how many seconds


@dataclass(frozen=True)
class _Allowed:
    """What a worker says before it has a result: that it lives, and needs so many seconds from now."""

    seconds: float


_tell: contextvars.ContextVar[Callable[[_Allowed], None]] = contextvars.ContextVar("tell", default=lambda _: None)


def allow(seconds: float) -> None:
    """Said within a task: it may take so long from now. Where no limits hold nobody hears it."""
    _tell.get()(_Allowed(seconds))


class Pulse:
    """Of a task that gets on: from each beat it may take `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.told = seconds, -math.inf

    def beat(self) -> None:
        if time.monotonic() - self.told > self.seconds / 10:  # not each frame's: they would be thousands
            allow(self.seconds)
            self.told = time.monotonic()


Work = Callable[[Any], Any]
Executor = Callable[[Work, Sequence[Any], Limits], Iterator[Any]]


def results(executor: Executor, work: Work, tasks: Sequence[Any], limits: Limits, progress: Progress) -> Iterator[Any]:
    """What an executor gives; a fault of ours ends the run, which can be taken up again."""
    for done, result in enumerate(executor(work, tasks, limits), 1):
        if isinstance(result, Failed) and result.is_ours:
            raise UserError(f"{result.reason}; then run the same command again: it goes on where it stopped")
        progress(done, len(tasks))
        yield result


def attempt(work: Work, task: Any) -> Any:
    """The result of one task, or why there is none."""
    try:
        return work(task)
    except TookTooLong as error:
        return Failed(str(error), is_late=True)
    except NotAVideo as error:
        return Failed(str(error))
    except MemoryError:
        return Failed(TOO_LARGE)
    except UserError as error:  # a file that could not be written
        return Failed(str(error), is_ours=True)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return Failed(TOO_LARGE)
        return Failed(first_line(error), is_ours=error.errno in FULL)
    except Exception as error:  # whatever a damaged file makes a library do is that file's fault
        return Failed(f"{type(error).__name__}: {first_line(error)}")


TOO_LARGE = "needs too much memory (see measuring.most_megabytes)"


def in_process(work: Work, tasks: Sequence[Any], limits: Limits) -> Iterator[Any]:
    """One after the other, here; good for looking at errors. Limits of memory do not hold."""
    for task in tasks:
        yield attempt(work, task)


def pool(workers: int) -> Executor:
    """Processes with a limit of time and of memory for each task; one that breaks it is ended and replaced."""

    def run(work: Work, tasks: Sequence[Any], limits: Limits) -> Iterator[Any]:
        context = multiprocessing.get_context("forkserver")
        # The main module too: a worker would else run it anew, and that of Ray's processes is heavy.
        context.set_forkserver_preload(["__main__", "vitascope.engine.judging"])
        idle: list[_Worker] = []
        busy: dict[Connection, tuple[_Worker, int, float]] = {}
        done: dict[int, Any] = {}
        waiting = iter(enumerate(tasks))
        try:
            for number in range(len(tasks)):
                while number not in done:
                    while len(busy) < workers and (following := next(waiting, None)) is not None:
                        worker = _given(following[1], idle, lambda: _Worker(context, work, limits))
                        busy[worker.pipe] = worker, following[0], time.monotonic() + limits.seconds + GRACE
                    _collect(busy, idle, done, limits)
                yield done.pop(number)
        finally:
            for worker in [*idle, *(worker for worker, _, _ in busy.values())]:
                worker.end()

    return run


class _Worker:
    def __init__(self, context: Any, work: Work, limits: Limits) -> None:
        self.has_started = False
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, limits), daemon=True)
        try:
            self.process.start()
        except (OSError, EOFError) as error:
            raise UserError(_not_started(first_line(error)).reason) from None
        theirs.close()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _given(task: Any, idle: list[_Worker], fresh: Callable[[], _Worker]) -> _Worker:
    """The worker that took the task. One that was killed while it had nothing to do is replaced."""
    while idle:
        worker = idle.pop()
        try:
            worker.pipe.send(task)
        except OSError:
            worker.end()
        else:
            return worker
    worker = fresh()
    with suppress(OSError):  # it has died already: who waits for it will notice
        worker.pipe.send(task)
    return worker


def _collect(
    busy: dict[Connection, tuple[_Worker, int, float]], idle: list[_Worker], done: dict[int, Any], limits: Limits
) -> None:
    """Wait until some worker answers, asks for more time, dies, or is out of time.

    One that never said a word says nothing about its task: no worker can start, and to go on would blame every file.
    """
    first = min(due for _, _, due in busy.values())
    ready = wait(list(busy), timeout=max(0.0, first - time.monotonic()))
    for pipe in [pipe for pipe in busy if pipe in ready or busy[pipe][2] <= time.monotonic()]:
        worker, number, _ = busy.pop(pipe)
        if pipe not in ready:
            done[number] = _late(limits) if worker.has_started else _not_started("said nothing")
            worker.end()
            continue
        try:
            told = pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = f"exit code {worker.process.exitcode}"
            done[number] = Failed(f"{ENDED} ({code})") if worker.has_started else _not_started(code)
            worker.end()
            continue
        worker.has_started = True
        if isinstance(told, _Allowed):
            busy[pipe] = worker, number, time.monotonic() + told.seconds + GRACE
        else:
            done[number] = told
            idle.append(worker)


ENDED = "ended the process that read it"


def _late(limits: Limits) -> Failed:
    return Failed(f"took longer than {limits.setting}={limits.seconds:g} allows", is_late=True)


def _not_started(why: str) -> Failed:
    told = f"no process could be started to work in ({why}; what it said is above): mend that, or take --engine here"
    return Failed(told, is_ours=True)


def _serve(pipe: Connection, work: Work, limits: Limits) -> None:
    """What a worker does until its pipe closes."""
    limit = virtual_bytes() + limits.megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _tell.set(pipe.send)
    allow(limits.seconds)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(work, task))


def virtual_bytes() -> int:
    """Address space of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 2**40
