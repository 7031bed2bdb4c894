"""What lies beside some checkouts, to be measured in tests: real clips, and the lists and weights that go with them."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


def needs(path: Path) -> pytest.MarkDecorator:
    """Skips a test where `path` is not there."""
    return pytest.mark.skipif(not path.exists(), reason="the shared clips are absent")
