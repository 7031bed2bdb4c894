"""The commands about VBench and judges: what they print, and what they refuse before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vitascope import cli, media
from vitascope.errors import UserError
from vitascope.toyland import Scene, Thing, render


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(cli.app, ["evaluate", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A report of one video, as the command writes it."""
    videos, prompts, out = tmp_path / "mine", tmp_path / "info.json", tmp_path / "mine.json"
    videos.mkdir()
    thing = Thing("square", "red", "large", "moves right", radius=0.35, x=-0.45, amount=0.9)
    media.write(render(Scene((thing,), "meadow"), 9), videos / "a square-0.mp4")
    prompts.write_text(json.dumps([{"prompt_en": "a square", "dimension": ["dynamic_degree", "scene"]}]))
    assert "dynamic degree" in run("vbench", videos, "--prompts", prompts, "--out", out)
    return out


def test_what_one_command_writes_the_other_adds(measured: Path, tmp_path: Path):
    told = json.loads(measured.read_text())
    assert told["dimensions"]["dynamic_degree"]["value"] == 1 and "scene" not in told["dimensions"]
    output = run("leaderboard", "--add", measured, "--name", "ours", "--plot", tmp_path / "board.png")
    assert "100.0*" in output and "ours" in output and (tmp_path / "board.png").stat().st_size > 10_000
    with pytest.raises(UserError, match="--force"):
        run("leaderboard", "--plot", tmp_path / "board.png")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["leaderboard", "--name", "a"], "--name is for one --add"),
        (["leaderboard", "--add", "nothing.json"], "nothing.json"),
        (["vbench", "nothing", "--prompts", "nothing.json"], "nothing.json"),
        (["compbench", "nothing", "--prompts", "nothing", "--judge", "m"], "meta_data"),
        (["dsg", "nothing", "--questions", "nothing.csv", "--judge", "m"], "nothing.csv"),
        (["toyland", "--suites", "--kind", "one"], "leave one of them out"),
    ],
)
def test_mistakes_are_told_in_one_line(words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        run(*words)
    assert not list(tmp_path.iterdir())
