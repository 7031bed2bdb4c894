"""Laws of the other commands, and of all of them: how they end, and what they leave on the screen."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shell import Shell, is_one_line, snapshot
from vitascope import media
from vitascope.types import Clip


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["generat"], "No such command 'generat'. Did you mean 'generate'?"),
        (["evaluate", "toylan"], "Did you mean 'toyland'?"),
        (["generate", "x", "--stepps", "3"], "--steps"),
        (["generate", "x", "--steps", "many"], "valid integer"),
        (["generate", "x", "y"], "unexpected extra argument"),
    ],
)
def test_misspelt_words_are_one_line(shell: Shell, words: list[str], part: str) -> None:
    is_one_line(shell(*words), part)


def test_evaluate_prints_a_table_and_writes_a_report(shell: Shell, tmp_path: Path) -> None:
    words = (
        "evaluate",
        "toyland",
        "--num",
        "2",
        "--steps",
        "1",
        "--solver",
        "euler",
        "--task",
        "image",
        "--model",
        shell.folder,
    )
    said = shell(*words, "--out", "report.json")
    assert said.code == 0, said
    assert "95 % interval" in said.out
    report = json.loads((tmp_path / "report.json").read_text())
    made_with = {name: report["protocol"][name] for name in ("num", "model", "steps", "solver", "guidance")}
    card = json.loads((shell.folder / "model.json").read_text())
    assert made_with == {"num": 2, "model": card["sha256"], "steps": 1, "solver": "euler", "guidance": 3.0}
    assert "given frames returned: " in said.out and "(the tokenizer alone: " in said.out
    assert set(report["ceiling"]) >= {"colour", "all"}
    is_one_line(shell(*words, "--out", "report.json"), "exists already")
    is_one_line(shell(*words, "--out", "absent/report.json"), "does not exist")
    is_one_line(shell(*words, "--kind", "three"), "kind must be one of one, two")
    is_one_line(shell(*words, "--solver", "foo"), "there is no solver")
    is_one_line(shell(*words, "--num", "0"), "num must be from 1")
    is_one_line(shell(*words, "--seed", "2000000000"), "seed from 0 to 9999")


def test_toyland_draws_a_sentence_or_many_scenes(shell: Shell, tmp_path: Path) -> None:
    sentence = "a small red circle moves left on a black background"
    assert shell("toyland", sentence, "--out", "x.gif", "--size", "32x32").code == 0
    assert media.read_video(tmp_path / "x.gif").caption == sentence
    is_one_line(shell("toyland", sentence, "--out", "x.gif"), "--force")
    assert shell("toyland", "--num", "3", "--out", "many", "--size", "32x32", "--kind", "two").code == 0
    assert {path.name for path in (tmp_path / "many").iterdir()} == {
        *(f"000{k}.mp4" for k in range(3)),
        "captions.tsv",
        "sheet.png",
    }
    names = [line.split("\t")[0] for line in (tmp_path / "many/captions.tsv").read_text().splitlines()]
    assert names == ["0000.mp4", "0001.mp4", "0002.mp4"]
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions/captions.tsv").write_text("precious")
    before = snapshot(tmp_path)
    is_one_line(shell("toyland", "--num", "1", "--out", "many"), "0000.mp4")
    is_one_line(shell("toyland", "--num", "0"), "--num")
    is_one_line(shell("toyland", "--num", "1", "--out", "many.mp4"), "their folder, got 'many.mp4'")
    is_one_line(shell("toyland", "--kind", "three"), "--kind must be one of one, two")
    is_one_line(shell("toyland", "--size", "0x9"), "1 to 4096")
    is_one_line(shell("toyland", "a red elephant sings", "--out", "new/x.mp4"))
    is_one_line(shell("toyland", "--fps", "0.001"), "0.01 to 1000 fps")
    for option, value in (("--num", "2"), ("--kind", "two"), ("--split", "seen")):
        is_one_line(shell("toyland", sentence, "--out", "y.mp4", option, value), option, "a sentence was given")
    assert not (tmp_path / "new").exists()
    is_one_line(shell("toyland", "--num", "1", "--out", "captions"), "captions.tsv", "--force")
    assert snapshot(tmp_path) == before


def test_captions_of_scenes_are_a_table_of_footage(shell: Shell) -> None:
    assert shell("toyland", "--num", "3", "--out", "many", "--size", "96x96").code == 0
    assert "3 of 3 samples" in shell("data", "show", "many/captions.tsv").out
    told = shell("train", "laptop:footage", "--data", "many", "--print").err
    assert "4 of 4 samples have no caption; its captions: --data many/captions.tsv" in told
    assert not shell("train", "laptop:footage", "--data", "many/captions.tsv", "--print").err


def test_what_the_system_refuses_is_one_line(shell: Shell, tmp_path: Path) -> None:
    is_one_line(
        shell("toyland", "a small red circle moves left on a black background", "--out", f"{'x' * 300}.mp4"),
        "File name too long",
    )
    is_one_line(shell("models", "nosuch"), "'nosuch' must be a folder")
    is_one_line(shell("curate", "report", "nosuch"), "'nosuch' must be the folder that vitascope curate wrote")
    os.mkfifo(tmp_path / "pipe")
    is_one_line(shell("decode", "pipe", "--out", "x.mp4"), "'pipe' is no file")
    (tmp_path / "x.mp4").touch()
    is_one_line(shell("demo", "--out", "x.mp4"), "many files and --out is then their folder")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk to write to")
def test_an_output_that_takes_no_more_is_one_line(tmp_path: Path) -> None:
    media.write(Clip(torch.zeros(1, 3, 8, 8), settings={"seed": 1}), tmp_path / "x.png")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "vitascope", "show", str(tmp_path / "x.png")]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "error: the output takes no more: No space left on device\n"


def test_doctor_reports(shell: Shell) -> None:
    assert "torch" in shell("doctor").out


def test_a_process_ends_with_one_line_and_exit_code_2(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vitascope", "generate", "x", "--steps", "0", "--model", str(folder)]
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: steps must be from 1")
    assert done.stderr.count("\n") == 1


def test_a_bar_leaves_the_screen_when_its_command_fails(folder: Path) -> None:
    """A bar hides the cursor; whatever ends the command, it comes back before the error is said."""
    command = (
        "import sys\nfrom vitascope import cli, errors\nfrom vitascope.cli.common import tracker\n"
        "@cli.app.command()\n"
        "def fail() -> None:\n"
        "    tracker('working')(1, 5); raise errors.UserError('it failed')\n"
        "sys.argv = ['vitascope', 'fail']; cli.main()"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", command], stderr=theirs, stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        said = b"".join(iter(lambda: read_terminal(ours), b""))
    os.close(ours)
    assert process.returncode == 2
    assert -1 < said.find(b"\x1b[?25l") < said.rfind(b"\x1b[?25h") < said.find(b"it failed")


def read_terminal(terminal: int) -> bytes:
    """What came next; nothing, when all who could write have ended, which Linux calls an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_the_version_is_an_option(shell: Shell) -> None:
    answer = shell("--version")
    assert answer.code == 0 and answer.out.startswith("vitascope ")
