"""The commands about VBench and judges: what they print, and what they refuse before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from serving import Reply, Server, reply
from tiny import COMPBENCH
from vitascope import cli, media
from vitascope.errors import UserError
from vitascope.toyland import Scene, Thing, render
from vitascope.types import Clip


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
    with pytest.raises(UserError, match="got 'abacus'"):
        run("vbench", tmp_path / "mine", "--prompts", tmp_path / "info.json", "--device", "abacus")


def test_a_server_judges_all_categories_and_a_second_run_asks_nothing(tmp_path: Path):
    prompts, videos = tmp_path / "meta_data", tmp_path / "videos"
    prompts.mkdir()
    for name, record in COMPBENCH.items():
        (prompts / f"{name}.json").write_text(json.dumps([record]))
        (videos / name).mkdir(parents=True)
        media.write(Clip(torch.rand(3, 3, 16, 16)), videos / name / "0001.mp4")

    def judge(number: int, asked: dict[str, Any]) -> Reply:
        content = asked["messages"][-1]["content"]
        question = content if isinstance(content, str) else content[-1]["text"]
        return reply("2" if "picture: cat?" in question else "3" if "How many" in question else "A")

    server = Server(lambda number, asked: judge(number, asked) if number != 3 else (500, "busy", 0.0))
    words = (
        "compbench", videos, "--prompts", prompts, "--url", server.url, "--judge", "m",
        "--answers", tmp_path / "answers.jsonl", "--out", tmp_path / "report.json",
    )  # fmt: skip
    try:
        run(*words)
        before = (tmp_path / "report.json").read_text()
        asked = len(server.asked)
        run(*words, "--force")
    finally:
        server.close()
    assert len(server.asked) == asked and (tmp_path / "report.json").read_text() == before
    told = json.loads(before)
    assert {name: one["value"] for name, one in told["dimensions"].items()} == {
        **dict.fromkeys(COMPBENCH, 1.0),
        "dynamic_attribute_binding": 0.0,  # one who says A to everything sees both states at both ends
        "motion_binding": pytest.approx(0.6),  # and all things go left
    }
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert {one["answer"] for one in answers} == {"A", "2", "3"} and told["protocol"]["unanswered"] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["leaderboard", "--name", "a"], "--name is for one --add"),
        (["leaderboard", "--add", "nothing.json"], "nothing.json"),
        (["vbench", "nothing", "--prompts", "nothing.json"], "nothing.json"),
        (["compbench", "nothing", "--prompts", "nothing", "--judge", "m"], "meta_data"),
        (["compbench", "nothing", "--prompts", "motion_binding.json", "--judge", "m"], "cannot be read"),
        (["dsg", "nothing", "--questions", "nothing.csv", "--judge", "m"], "nothing.csv"),
        (["toyland", "--suites", "--kind", "one"], "leave one of them out"),
    ],
)
def test_mistakes_are_told_in_one_line(words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torn = tmp_path / "motion_binding.json"
    torn.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=told):
        run(*words)
    assert list(tmp_path.iterdir()) == [torn]
