"""Laws of wishes: what is said wins over a file, what contradicts is refused, and nothing is overwritten unasked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitascope import media
from vitascope.sample.model import Model
from vitascope.sample.wishes import SAID, Wishes, make_planned, planned
from vitascope.types import Clip, Request, UserError


def made(model: Model, path: Path, request: Request) -> Path:
    model.fulfil(request).save(str(path))
    return path


@pytest.fixture
def before(model: Model, tmp_path: Path) -> Path:
    """A file made before, with settings that are no model's own."""
    rules = {"renorm": False, "level_shift": 3.0}
    return made(model, tmp_path / "before.mp4", Request("a red circle", seed=3, steps=2, guidance=2.0, rules=rules))


def test_what_is_not_said_is_the_model_s_to_choose(tmp_path: Path) -> None:
    request = planned(Wishes(prompt="x", out=tmp_path / "x.mp4")).request
    assert {name: getattr(request, name) for name in SAID} == {
        name: getattr(Request("x"), name) for name in SAID
    } and request.rules == {}


def test_a_file_holds_where_nothing_is_said(before: Path, tmp_path: Path) -> None:
    request = planned(Wishes(like=before, out=tmp_path / "x.mp4")).request
    kept = media.read_settings(before)
    assert {
        name: getattr(request, name) for name in ("prompt", "seed", "steps", "guidance", "num_frames", "solver")
    } == {name: kept[name] for name in ("prompt", "seed", "steps", "guidance", "num_frames", "solver")}
    assert (request.rules["renorm"], request.rules["level_shift"]) == (False, 3.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("prompt", "a blue star"), ("negative", "grey"), ("num_frames", 2), ("fps", 4.0), ("size", (32, 16)), ("seed", 9),
     ("steps", 1), ("guidance", 1.0), ("solver", "sde")],
)  # fmt: skip
def test_what_is_said_wins_over_the_file_and_changes_nothing_else(
    before: Path, tmp_path: Path, name: str, value: object
) -> None:
    wishes = Wishes(like=before, out=tmp_path / "x.mp4")
    request, usual = planned(replace(wishes, **{name: value})).request, planned(wishes).request
    assert getattr(request, name) == value
    assert all(getattr(request, other) == getattr(usual, other) for other in SAID if other != name)


def test_seconds_win_over_the_frames_of_the_file_and_a_rule_over_its_own_alone(before: Path, tmp_path: Path) -> None:
    wishes = Wishes(like=before, seconds=0.25, rules={"renorm": True}, out=tmp_path / "x.mp4")
    request = planned(wishes).request
    assert (request.seconds, request.num_frames) == (0.25, None)
    assert (request.rules["renorm"], request.rules["level_shift"]) == (True, 3.0)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(prompt="x", seconds=1.0, num_frames=4), "both say how long; give one of them"),
        (Wishes(prompt="x", image=Path("a.png"), video=Path("b.mp4")), "both say how the video begins"),
        (Wishes(prompt="x", prompts=Path("a.txt")), "both say what to show"),
        (Wishes(prompt="x", frames=2), "give a video .*, or leave it out"),
        (Wishes(prompt="x", num=0), "num must be from 1 to 100000, got 0"),
    ],
)
def test_contradictions_are_refused_before_any_file_is_looked_at(wishes: Wishes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(wishes)


def test_many_videos_are_numbered_and_none_replaces_another(tmp_path: Path) -> None:
    plan = planned(Wishes(prompt="x", seed=5, num=2, out=tmp_path / "x.mp4"))
    assert [(one.seed, path.name) for one, path in plan.wanted] == [(5, "x-000.mp4"), (6, "x-001.mp4")]
    (tmp_path / "x-001.mp4").touch()
    with pytest.raises(UserError, match=r"x-001\.mp4"):
        planned(plan.wishes)
    assert planned(plan.wishes, force=True).wanted[1][1].name == "x-001.mp4"


def test_a_file_of_prompts_fills_a_folder_that_need_not_be_there(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\n\nb\n")
    wishes = Wishes(prompts=tmp_path / "prompts.txt", out=tmp_path / "many")
    plan = planned(wishes)
    assert [(one.prompt, path.name) for one, path in plan.wanted] == [("a", "0000.mp4"), ("b", "0001.mp4")]
    assert not (tmp_path / "many").exists()
    with pytest.raises(UserError, match="leave the ending out"):
        planned(replace(wishes, out=tmp_path / "many.mp4"))


def test_a_plan_is_made_with_the_pictures_that_were_given(model: Model, before: Path, tmp_path: Path) -> None:
    shades = torch.linspace(0, 1, 5).view(-1, 1, 1, 1).expand(-1, 3, 16, 16)
    media.write(Clip(shades), tmp_path / "film.mp4")
    wishes = Wishes(like=before, video=tmp_path / "film.mp4", frames=2, rules={"renorm": True}, out=tmp_path / "x.mp4")
    heard: list[str] = []
    make_planned(model, planned(wishes), say=heard.append)
    settings = media.read_settings(tmp_path / "x.mp4")
    assert (set(settings["frames"]), settings["renorm"], settings["seed"]) == ({"0", "1"}, True, 3)
    assert any("level_shift 3.0" in line for line in heard) and not any("renorm" in line for line in heard)
