"""Each tiny pipeline is built, saved and loaded once for all tests, when the first of them asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers")

from families import FAMILIES, Folder, Load, built

from shell import Shell
from vitascope.sample.hub.model import HubModel, load_checkpoint


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("checkpoints")

    def saved(family: str) -> Path:
        if not (root / family).exists():
            built(FAMILIES[family]).save_pretrained(root / family)
        return root / family

    return saved


@pytest.fixture(scope="session")
def model_of(folder_of: Folder) -> Load:
    kept: dict[str, HubModel] = {}

    def loaded(family: str) -> HubModel:
        if family not in kept:
            kept[family] = load_checkpoint(str(folder_of(family)), device="cpu")
        return kept[family]

    return loaded


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return Shell(monkeypatch, capsys)
