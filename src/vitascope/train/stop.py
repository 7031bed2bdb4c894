"""Stopping from outside: Ctrl-C and SIGTERM wait for the end of the step, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Stopped(BaseException):
    """Somebody stopped the training; everything up to here is saved. The message says where and how to go on.

    As little an Exception as KeyboardInterrupt, but none: typer would end the process without a word.
    """


class StopRequest:
    """`asked` turns true at the first signal; a second one interrupts at once. Does nothing outside the main thread."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> StopRequest:
        listening = threading.current_thread() is threading.main_thread()
        signals = (signal.SIGINT, signal.SIGTERM) if listening else ()
        self.before = {number: signal.signal(number, self.hear) for number in signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
