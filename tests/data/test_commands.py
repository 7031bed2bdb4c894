"""Laws of the commands on footage: what is in it, a run on it, and what a model makes of it beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from filming import film, shoot
from tiny import save_tiny
from vitascope import cli, media
from vitascope.types import Clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shoot(tmp_path_factory.mktemp("my films"))
    (folder / "broken.mp4").write_text("no video")
    return folder


def vitascope(patch: pytest.MonkeyPatch, *words: str | Path) -> int:
    patch.setattr(sys, "argv", ["vitascope", *map(str, words)])
    patch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_show_counts_what_is_kept_and_what_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vitascope(monkeypatch, "data", "show", folder, "--area", "32x32", "--lengths", "1,4") == 0
    out = capsys.readouterr().out
    assert "5 of 6 samples are kept" in out
    assert "1 damaged or no video" in out and "'broken.mp4'" in out
    assert vitascope(monkeypatch, "data", "show", folder, "--area", "32x32", "--lengths", "4") == 0
    assert "left out: 2 too short for 4 frames at 8 fps: 'short.mp4', 'still.png'" in capsys.readouterr().out
    assert vitascope(monkeypatch, "data", "show", folder, "--lengths", "four") == 2
    assert "--lengths are numbers" in capsys.readouterr().err
    for option, value in (("--fps", "0"), ("--area", "64x-64"), ("--lengths", "0"), ("--batch-tokens", "0")):
        assert vitascope(monkeypatch, "data", "show", folder, option, value) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_footage_too_short_for_a_recipe_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vitascope(monkeypatch, "train", "laptop:stiv", "--data", folder, "--print") == 2
    said = capsys.readouterr().err
    assert "no clip can be cut" in said and "2 too short for 16 frames at 8 fps" in said


def test_compare_writes_a_sheet(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = save_tiny(tmp_path / "model"), tmp_path / "sheet.png"
    assert vitascope(monkeypatch, "data", "compare", folder, "--model", model, "--out", out, "--num", "2") == 0
    sheet = media.read_image(out)
    assert sheet.shape[2] > 4 * 4 * 16
    (tmp_path / "silent").mkdir()
    media.write(Clip(torch.rand(8, 3, 32, 32)), tmp_path / "silent" / "a.mp4")
    words = "data", "compare", tmp_path / "silent", "--model", model, "--out", tmp_path / "silent.png"
    assert vitascope(monkeypatch, *words) == 0  # clips without words have nothing made from words
    assert vitascope(monkeypatch, "data", "compare", folder, "--model", model, "--out", out) == 2  # it is there


def test_the_run_of_a_longer_film_is_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    media.write(film(60, (64, 64)), tmp_path / "long.mp4")
    assert vitascope(monkeypatch, "train", "laptop:stiv", "--data", tmp_path, "--print") == 0
    run = json.loads(capsys.readouterr().out)
    assert run["data"]["path"] == str(tmp_path) and len(run["data"]["identity"]) == 24
    assert run["model"]["defaults"]["footage_size"] == [64, 64]
    assert run["model"]["defaults"]["stride"] == 3
    assert "captions" not in [stage["name"] for stage in run["stages"]]  # there is one of each clip


def test_footage_to_a_model_and_its_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vitascope.train.stages.BATCHES_MEASURED", 1)
    mine, run = tmp_path / "mine", tmp_path / "run"
    for number, (width, height) in enumerate(((128, 72), (96, 72), (54, 96))):
        mine.mkdir(exist_ok=True)
        media.write(film(40, (width, height), number), mine / f"{number}.mp4")
        (mine / f"{number}.txt").write_text(f"film {number}: " + "much is said of it, " * 15)
    sizes = ("autoencoder.steps=1", "t2i.steps=1", "ti2v.steps=1", "t2i.batch=4", "ti2v.batch=2")
    clips = ("t2i.num_clips=2", "ti2v.num_clips=2")
    changes = [word for size in (*sizes, *clips) for word in ("--set", f"stages.{size}")]
    changes += ["--set", "model.defaults.steps=1"]
    train = ("train", "laptop:footage", "--data", mine, "--out", run, *changes)
    assert vitascope(monkeypatch, *train) == 0, capsys.readouterr().err
    assert vitascope(monkeypatch, *train, "--resume") == 0
    assert "ti2v: done before" in capsys.readouterr().err
    compare = ("data", "compare", mine, "--model", run / "model", "--out", tmp_path / "sheet.png", "--num", "2")
    assert vitascope(monkeypatch, *compare) == 0
    assert "the reconstruction's PSNR is" in capsys.readouterr().err
    assert media.read_image(tmp_path / "sheet.png").shape[2] > 4 * 4 * 80


def test_a_curate_that_has_not_ended_is_no_footage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shoot(tmp_path / "work" / "clips")
    (tmp_path / "work" / "lock").touch()
    assert vitascope(monkeypatch, "data", "show", tmp_path) == 2
    assert "give the same command again" in capsys.readouterr().err
