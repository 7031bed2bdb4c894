"""Laws of `train`: any end is one line, and a run goes on."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import pytest

from forgetting import forget_files
from shell import Shell, is_one_line
from vitascope import load

TINY = """
from tiny import tiny_run
from vitascope.train.stages import VideoStage

def run():
    return tiny_run(VideoStage(name="videos", steps=2, batch=2, num_clips=8))
"""


OWN = """
import signal
from tiny import Stripes, StripesConfig, tiny_run
from vitascope.objectives.flow import FlowConfig
from vitascope.train.stages import TokenizerStage, VideoStage

class MyData(StripesConfig):
    def build(self):
        return MyStripes(self)

class MyStripes(Stripes):
    def pictures(self, step, count):
        if step == 3 and count == 4:  # a lesson of details
            signal.raise_signal(signal.SIGINT)
        return super().pictures(step, count)

class MyObjective(FlowConfig):
    pass

def run():
    run = tiny_run(TokenizerStage(name="first", steps=6, batch=1), TokenizerStage(name="second", steps=2, batch=1))
    model = run.model.model_copy(update={"objective": MyObjective()})
    return run.model_copy(update={"model": model, "data": MyData()})

def brief():
    return run().model_copy(
        update={"stages": (VideoStage(name="videos", steps=2, batch=1, num_clips=2),)}
    )

def exhausted():
    return tiny_run(TokenizerStage(name="first", steps=5, batch=2)).model_copy(
        update={"model": run().model, "data": MyData(hungry_from=3)}
    )

def impatient():
    raise KeyboardInterrupt  # what a signal does here, unless the process was started to ignore it

def hungry():
    return tiny_run(TokenizerStage(name="first", steps=5, batch=1)).model_copy(
        update={"data": StripesConfig(hungry_from=0)}
    )
"""


def test_ctrl_c_is_one_line_and_a_run_with_classes_of_its_own_goes_on(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    said = shell("train", "mine.py", "--out", "run")
    assert said.code == 130
    assert said.err.endswith("first, step 4: stopped and saved; go on with the same command and --resume\n")
    said = shell("train", "mine.py", "--out", "run", "--resume")
    assert said.code == 0, said
    assert "first: 2 steps" in said.err
    said = shell("train", "mine.py", "--out", "run", "--resume")
    assert said.code == 0, said
    assert "second: done before" in said.err
    assert said.err.endswith("; vitascope --code ./mine.py generate PROMPT --model run/model\n")


def test_a_model_with_classes_of_its_own_is_used_by_every_command_that_is_given_their_file(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/mine.py").write_text(OWN)
    assert shell("train", "parts/mine.py:brief", "--out", "run").code == 0
    commands = (
        ["generate", "x", "--model", "run/model", "--out", "x.mp4"],
        ["evaluate", "toyland", "--model", "run/model", "--num", "1", "--steps", "1"],
        ["export", "run", "--out", "given"],
        ["train", "run/run.json", "--out", "run", "--resume"],
        ["train", "run/run.json", "--from", "run", "--print"],
        ["plan", "run/run.json", "--gpu", "cpu"],
    )
    for words in commands:
        is_one_line(shell(*words), "'mine:My", "lives outside vitascope", "vitascope --code ./mine.py ...")
        said = shell("--code", "parts/mine.py", *words)
        assert said.code == 0, said
    assert "vitascope --code mine.py generate" in (tmp_path / "given/README.md").read_text()
    said = shell("--code", "parts/mine.py", "export", "run", "--out", "again")
    assert "; vitascope --code ./parts/mine.py generate PROMPT --model again" in said.err
    forget_files(tmp_path)
    monkeypatch.syspath_prepend("parts")  # a script beside it
    importlib.import_module("mine")
    assert load("run/model").generate("x").num_frames == 4


def test_code_that_cannot_be_imported_is_one_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "json.py").write_text("")
    is_one_line(shell("--code", "absent.py", "doctor"), "there is no file 'absent.py'")
    is_one_line(shell("--code", "wrong.py", "doctor"), "'wrong.py', line 2: ZeroDivisionError")
    is_one_line(shell("--code", "json.py", "doctor"), "the module 'json' is '", "rename the file")


def test_what_is_said_of_a_run_in_trouble_names_the_files_of_its_classes(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    way_on = "vitascope --code ./mine.py train run/run.json --out run --resume"
    assert way_on in shell.refused("train", "mine.py:exhausted", "--out", "run")
    assert way_on in shell.refused("train", "mine.py:exhausted", "--out", "run", "--set", "seed=3", "--resume")


def test_a_plan_is_not_cut_off_in_a_pipe(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    said = shell("plan", "mine.py:run", "--gpu", "h100")
    assert said.code == 0, said
    assert "…" not in said.out
    assert max(map(len, said.out.splitlines())) > 80  # else there was nothing to cut off


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--gpus", "0"], "--gpus must be at least 1, got 0"),
        (["--price=-1"], "--price is what one device costs an hour"),
        (["--gpus", "2"], "--calibrate times one device, and --gpus is 2"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_before_steps_are_timed(
    shell: Shell, tmp_path: Path, words: list[str], part: str
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    assert part in shell.refused("plan", "mine.py:run", "--gpu", "h100", "--calibrate", *words)


def test_ctrl_c_at_any_other_moment_is_one_word(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    said = shell("train", "mine.py:impatient")
    assert (said.code, said.err) == (130, "stopped\n")


def test_a_full_memory_at_any_moment_is_one_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    is_one_line(shell("train", "mine.py:hungry"), "the memory is full", "batch")


def test_a_model_that_cannot_be_built_or_read_is_one_line(shell: Shell, folder: Path, tmp_path: Path) -> None:
    edited = shutil.copytree(folder, tmp_path / "edited")
    card = json.loads((edited / "model.json").read_text())
    card["config"]["text"]["heads"] = 5
    (edited / "model.json").write_text(json.dumps(card))
    is_one_line(shell("generate", "x", "--model", edited), "edited/model.json", "heads")
    card["config"]["text"]["heads"] = 0
    (edited / "model.json").write_text(json.dumps(card))
    is_one_line(shell("generate", "x", "--model", edited), "TinyTextConfig.heads")

    unreadable = shutil.copytree(folder, tmp_path / "unreadable")
    (unreadable / "model.safetensors").unlink()
    (unreadable / "model.safetensors").symlink_to("/proc/self/mem")  # may be opened, its beginning not be read
    is_one_line(shell("generate", "x", "--model", unreadable), "model.safetensors", "cannot be read")


def test_train_makes_a_model_that_generates(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TINY)
    said = shell("train", "./mine.py:run", "--set", "stages.videos.steps=3")
    assert said.code == 0, said
    assert "runs/tiny/model" in said.err
    assert len((tmp_path / "runs/tiny/log.jsonl").read_text().splitlines()) == 3
    assert shell("generate", "x", "--model", "runs/tiny/model").code == 0
    is_one_line(shell("train", "./mine.py:run", "--set", "stages.videos.steps=3"), "add --resume")
    is_one_line(shell("train", "./mine.py:run", "--resume"), "stages.videos.steps was 3 and is 2")
    said = shell("train", "./mine.py:run", "--set", "stages.videos.steps=3", "--resume")
    assert said.code == 0
    assert "videos: done before" in said.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["laptop:stif"], "did you mean 'laptop:stiv'"),
        (["absent.py:run"], "there is no file"),
        (["absent.json"], "absent.json"),
        (["laptop:stiv", "--set", "stages.t2v.stepz=3"], "did you mean 'steps'"),
        (["laptop:stiv", "--set", "stage.t2v.steps=3"], "did you mean 'stages'"),
        (["laptop:stiv", "--set", "stages.t2w.steps=3"], "did you mean 't2v'"),
        (["laptop:stiv", "--set", "stages.t2v.steps=many"], "stages.t2v.steps"),
        (["laptop:stiv", "--set", "stages.t2v.steps=0"], "stages.t2v.steps"),
        (["laptop:stiv", "--set", "stages.t2v"], "path=value"),
        (["laptop:stiv", "--set", "model.backbone.heads=7"], "heads"),
        (["laptop:stiv", "--set", "data.size=60"], "make the clips 48x48 or 64x64"),
        (["laptop:stiv", "--set", "data.size=0"], "data.size"),
        (["laptop:stiv", "--set", "data.fps=0"], "data.fps"),
        (["laptop:stiv", "--set", "stages.t2v.optimizer.momentum=1"], "stages.t2v.optimizer.momentum"),
        (["laptop:stiv", "--minutes", "0"], "--minutes"),
        (["laptop:stiv", "--minutes", "nan"], "--minutes"),
        (["laptop:stiv", "--minutes", "inf"], "for no limit leave it out"),
        (["laptop:stiv", "--resume"], "holds no run"),
        (["laptop:stiv", "--out", "left"], "is of a run whose 'run.json' is gone"),
        (["laptop:stiv", "--out", "done"], "'done/stages' is of a run"),
        (["laptop:stiv", "--device", "abacus"], "got 'abacus'"),
        (["laptop:stiv", "--stage", "t2v"], "train that first: --stage t2i"),
        (["laptop:stiv", "--out", "file"], "'file' is a file, and a run needs a folder"),
        (["laptop:stiv", "--out", "file/run"], "'file' is a file, and a run needs a folder"),
        (["laptop:footage"], "name it with --data FOLDER"),
    ],
)
def test_what_train_cannot_do_is_one_line(shell: Shell, tmp_path: Path, words: list[str], part: str) -> None:
    (tmp_path / "file").write_text("in the way")
    for name in ("left/checkpoints", "done/stages"):
        (tmp_path / name).mkdir(parents=True)
    assert part in shell.refused("train", *words)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {
        "file",
        "left",
        "left/checkpoints",
        "done",
        "done/stages",
    }


def test_a_setting_that_does_not_reach_every_stage_says_so(shell: Shell) -> None:
    said = shell("train", "laptop:stiv", "--set", "data.fps=4", "--print")
    assert "'data.fps' does not change decoder, captions, t2i, t2v, ti2v" in said.err
    assert json.loads(said.out)["data"]["fps"] == 4
    assert "note" not in shell("train", "laptop:stiv", "--set", "stages.t2v.data.fps=4", "--print").err


def test_print_shows_the_whole_run_and_trains_nothing(shell: Shell, tmp_path: Path) -> None:
    said = shell("train", "laptop:stiv", "--set", "seed=7", "--print")
    assert json.loads(said.out)["seed"] == 7
    assert not list(tmp_path.iterdir())
