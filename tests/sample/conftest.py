"""One small random model for all sampling tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny import save_tiny
from vitascope.sample.loading import load
from vitascope.sample.model import Model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def model(folder: Path) -> Model:
    return load(folder, "cpu")
