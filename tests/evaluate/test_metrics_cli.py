"""The commands that measure videos, as they are typed."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch

from vitascope import cli, media
from vitascope.types import Clip, generator_for


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name, noise in (("real", 0.0), ("one", 0.1), ("two", 0.3)):
        (tmp_path / name).mkdir()
        for number in range(4):
            rng = generator_for(number)
            pixels = torch.rand(1, 3, 16, 16, generator=rng) + noise * torch.randn(4, 3, 16, 16, generator=rng)
            media.write(Clip(pixels.clamp(0, 1)), tmp_path / name / f"{number}.webp")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["vitascope", "evaluate", *shlex.split(text)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_two_folders_are_measured_and_compared(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    usual = "--real real --paired --set frames=4 --resamples 50"
    for name in ("one", "two"):
        code, out, err = said(capsys, monkeypatch, f"videos {name} {usual} --out {name}.json")
        assert code == 0 and "psnr" in out and "frechet-random" in out, err
    report = json.loads((place / "one.json").read_text())
    assert report["complete"] and (place / "features.sqlite").is_file()
    code, out, _ = said(capsys, monkeypatch, "compare one.json two.json")
    assert code == 0 and "significant (video by video)" in out
    assert said(capsys, monkeypatch, "videos one --real real --out other.json --set frames=2")[0] == 0
    code, out, err = said(capsys, monkeypatch, "compare one.json other.json")
    assert code == 2 and "frames 4 and 2" in err and not out


def test_a_stopped_report_goes_on_without_being_forced_and_becomes_a_page(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    line = "videos one --real real --set frames=4 --resamples 20 --out one.json"
    assert said(capsys, monkeypatch, line)[0] == 0
    whole = (place / "one.json").read_text()
    code, _, err = said(capsys, monkeypatch, line)
    assert code == 2 and "--force" in err
    (place / "one.json").write_text(json.dumps({**json.loads(whole), "complete": False, "measured": []}))
    assert said(capsys, monkeypatch, line)[0] == 0 and (place / "one.json").read_text() == whole
    code, _, err = said(capsys, monkeypatch, "report one.json --out page")
    assert code == 0 and "open it in a browser" in err, err
    assert "flicker" in (place / "page" / "index.html").read_text()
    assert said(capsys, monkeypatch, "report one.json --out page")[0] == 2
    assert said(capsys, monkeypatch, "report one.json --out page --force --num 0")[0] == 0


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("videos absent", "absent"),
        ("videos one --metric fvd --real real", "i3d_torchscript.pt"),
        ("videos one --metric fvdd", "did you mean 'fvd'"),
        ("videos one --metric psnr --real real", "--paired"),
        ("videos one --paired", "--real"),
        ("videos one --protocol tfhubb", "did you mean 'tfhub'"),
        ("videos one --set frame=4", "did you mean 'frames'"),
        ("videos one --set frames=0", "greater than or equal to 1"),
        ("videos one --network i3d", "NAME=PATH"),
        ("videos one --network i3d=absent.pt", "'i3d' serves none of the metrics asked for (flicker)"),
        ("videos one --metric flicker --network toyland=absent --network i3=x", "did you mean 'i3d'"),
        ("videos one --real real --metric fid --network inception=", "fetch"),
        ("videos one --out stopped.json", "of another command"),
        ("videos one --set frames=9", "nothing could be measured"),
        ("videos one --device no_such_device", "got 'no_such_device'"),
        ("videos one --resamples -1", "--resamples"),
        ("videos one --out one", "is a folder"),
        ("compare absent.json absent.json", "absent.json"),
        ("compare whole.json whole.json --metric nosuch", "'nosuch' is not in both reports; both hold flicker"),
        (
            "merge whole.json toyland.json --out joined.json",
            "cannot be merged, got toyland and videos",
        ),
        ("long --plain --seconds 2 --num 1 --against bundled", "'bundled' is judged already"),
        ("toyland --shard 4/4", "K from 0 to N - 1"),
        ("toyland --num 1 --shard 3/4", "none is left for shard 3/4"),
        ("leaderboard --plot board.txt", "--plot must end in .png, .svg or .pdf"),
        ("report absent.json --out page", "absent.json"),
        ("report real/0.webp --out page", "0.webp"),
        ("report absent.json --out page --num -1", "--num"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, part: str
):
    (place / "stopped.json").write_text('{"complete": false, "dimensions": {}}')
    (place / "toyland.json").write_text('{"form": "toyland"}')
    if "whole.json" in text:
        said(capsys, monkeypatch, "videos one --metric flicker --set frames=4 --out whole.json --force")
    code, _, err = said(capsys, monkeypatch, text)
    assert code == 2 and part in err and "Traceback" not in err
    assert err.count("error: ") == 1


def test_what_is_to_be_typed_next_can_be_typed_whatever_the_names(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = said(capsys, monkeypatch, "videos one --metric flicker --set frames=4 --out 'my report.json'")
    _, _, command = err.splitlines()[-1].partition("with another: ")
    assert code == 0
    assert shlex.split(command) == ["vitascope", "evaluate", "compare", "my report.json", "OTHER.json"]


def test_what_measured_nothing_is_no_whole_report(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = said(capsys, monkeypatch, "videos one --metric flicker --set frames=5000 --out nothing.json")
    assert code == 2 and "the report" not in err
    assert said(capsys, monkeypatch, "videos one --metric flicker --set frames=4 --out nothing.json")[0] == 0


@pytest.mark.filterwarnings("error")
def test_reports_of_one_video_are_compared_without_an_interval(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "alone").mkdir(exist_ok=True)
    shutil.copy(next((place / "one").iterdir()), place / "alone" / "another.webp")
    for name in ("one", "alone"):
        assert (
            said(capsys, monkeypatch, f"videos {name} --metric flicker --set frames=4 --out of_{name}.json --force")[0]
            == 0
        )
    code, out, _ = said(capsys, monkeypatch, "compare of_one.json of_alone.json")
    assert code == 0 and "not known" in out


def test_the_list_names_metrics_and_where_networks_come_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    code, out, _ = said(capsys, monkeypatch, "videos --list")
    assert code == 0 and "frechet-random" in out and "Apache-2.0" in out
