"""What a benchmark promises to print, it prints."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from vitascope.evaluate.questions import KINDS

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_toyland_tells_costs_and_pass_rates_of_every_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["toyland.py", "--num", "1"])
    runpy.run_path(str(BENCHMARKS / "toyland.py"), run_name="__main__")
    costs, passes = capsys.readouterr().out.split("true scenes")
    for kind in KINDS:
        assert kind in costs and kind in passes
    assert "all" in passes
