"""The command line without the start of a process, and what it must say of what the user can mend."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from forgetting import forget_files
from vitascope import cli


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


class Shell:
    """`folder`: of the model that `generate` is to use."""

    def __init__(
        self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], folder: Path | None = None
    ) -> None:
        self.patch, self.capture, self.folder = patch, capture, folder

    def __call__(self, *words: str | Path) -> Said:
        self.patch.setattr(sys, "argv", ["vitascope", *map(str, words)])
        self.capture.readouterr()
        forget_files(Path.cwd())
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = self.capture.readouterr()
        return Said(int(end.value.code or 0), out, err)

    def generate(self, *words: str | Path) -> Said:
        assert self.folder is not None
        return self("generate", *words, "--model", self.folder)

    def heard(self, *words: str | Path) -> tuple[int, str]:
        """The exit code, and what was said in either stream."""
        said = self(*words)
        return said.code, said.out + said.err

    def refused(self, *words: str | Path) -> str:
        """What is said of a command that its user can mend: one line, and the exit code 2."""
        code, said = self.heard(*words)
        assert code == 2, said
        last = said.splitlines()[-1]
        assert last.startswith("error: "), said
        return last

    def done(self, *words: str | Path) -> str:
        code, said = self.heard(*words)
        assert code == 0, said
        return said


def is_one_line(said: Said, *parts: str) -> None:
    assert said.code == 2, said
    assert said.err.startswith("error: "), said
    assert said.err.count("\n") == 1, said
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
