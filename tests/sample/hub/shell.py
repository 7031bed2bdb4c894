"""The real command line, typed in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vitascope import cli


class Shell:
    """The command line without the start of a process: its exit code and what it said."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.patch, self.capture = patch, capture

    def __call__(self, *words: str | Path) -> tuple[int, str]:
        self.patch.setattr(sys, "argv", ["vitascope", *map(str, words)])
        self.capture.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = self.capture.readouterr()
        return int(end.value.code or 0), out + err

    def refused(self, *words: str | Path) -> str:
        """What is said of a command that its user can mend: one line, and the exit code 2."""
        code, said = self(*words)
        assert code == 2, said
        last = said.splitlines()[-1]
        assert last.startswith("error: "), said
        return last

    def done(self, *words: str | Path) -> str:
        code, said = self(*words)
        assert code == 0, said
        return said
