"""A tiny model, a shell that knows it, and files that a user may have lying about."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shell import Shell
from tiny import save_tiny
from vitascope import media
from vitascope.types import Clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def shell(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Shell(monkeypatch, capsys, folder)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What a user may have lying about, good and bad."""
    noise = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    media.write(Clip(noise), tmp_path / "short.mp4")
    media.write(Clip(noise[:1]), tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no video\n" * 20)
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "prompts.txt").write_text("a red circle\n\na blue square\n", encoding="utf-8-sig")
    (tmp_path / "bad.txt").write_text("a red circle\n" + "word " * 300)
    (tmp_path / "folder").mkdir()
    return tmp_path
