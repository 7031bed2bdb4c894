"""The doctor says what is here, and each piece of advice is a command that exists."""

import os
import re
import tomllib
from pathlib import Path

import pytest
import torch

from vitascope import doctor


@pytest.fixture(scope="module")
def findings() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.report()}


def test_report_covers_what_a_run_depends_on(findings: dict[str, doctor.Finding]) -> None:
    expected = {"vitascope", "python", "torch", "video", "cores", "processor", "matrix products", "memory", "disk"}
    assert expected | {f"extra '{extra}'" for extra in doctor.EXTRAS} <= findings.keys()
    assert any(name.startswith("GPU") for name in findings)
    assert findings["torch"].value == torch.__version__


def test_this_machine_can_write_video(findings: dict[str, doctor.Finding]) -> None:
    assert "libx264" in findings["video"].value
    assert not findings["video"].advice


def test_matrix_speed_is_that_of_a_machine(findings: dict[str, doctor.Finding]) -> None:
    single, half = map(float, re.findall(r"(?:fp32|bf16) (\d+)", findings["matrix products"].value)[:2])
    assert 0 <= single < 1e5
    assert 0 <= half < 1e6


@pytest.mark.parametrize("half, said", [(50e9, "bf16 does not pay"), (200e9, "bf16 pays: 2.0x")])
def test_bf16_pays_where_its_products_are_faster(half: float, said: str) -> None:
    assert doctor.compared(100e9, half).startswith("fp32 100,")
    assert said in doctor.compared(100e9, half)


def test_memory_is_between_nothing_and_everything() -> None:
    assert 0 < doctor.available_memory() < 2**46


def test_cores_are_counted_where_the_system_does_not_say_which_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert doctor.cores() == os.cpu_count()


def test_torchvision_is_not_here(findings: dict[str, doctor.Finding]) -> None:
    assert "torchvision" not in findings


def test_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    stated = {name: {re.split(r"[><=]", need)[0] for need in needs} for name, needs in extras.items() if name != "dev"}
    assert {name: set(needs) for name, needs in doctor.EXTRAS.items()} == stated


def test_printed_report_holds_every_finding(capsys: pytest.CaptureFixture, findings: dict[str, doctor.Finding]) -> None:
    doctor.print_report()
    printed = capsys.readouterr().out
    for finding in findings.values():
        assert finding.name in printed
        if finding.advice:
            assert finding.advice in printed
