"""Laws of the command line: what the user can mend is one line and exit code 2, and nothing is overwritten unasked."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny import save_tiny
from vitascope import cli, load, media
from vitascope.recipes import resolve
from vitascope.sample import generate as sampling
from vitascope.sample import loading
from vitascope.system import _sha256
from vitascope.types import Clip


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


class Shell:
    """The command line without the start of a process."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self.patch, self.capture = folder, patch, capture

    def __call__(self, *words: str | Path) -> Said:
        self.patch.setattr(sys, "argv", ["vitascope", *map(str, words)])
        self.capture.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = self.capture.readouterr()
        return Said(end.value.code if isinstance(end.value.code, int) else 0, out, err)

    def generate(self, *words: str | Path) -> Said:
        return self("generate", *words, "--model", self.folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def shell(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Shell(folder, monkeypatch, capsys)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What a user may have lying about, good and bad."""
    noise = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    media.write(Clip(noise), tmp_path / "short.mp4")
    media.write(Clip(noise[:1]), tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no video\n" * 20)
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "prompts.txt").write_text("a red circle\n\na blue square\n", encoding="utf-8-sig")
    (tmp_path / "bad.txt").write_text("a red circle\n" + "word " * 300)
    (tmp_path / "folder").mkdir()
    return tmp_path


def is_one_line(said: Said, *parts: str) -> None:
    assert said.code == 2, said
    assert said.err.startswith("error: "), said
    assert said.err.count("\n") == 1, said
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "prompt is empty"),
        (["  "], "prompt is empty"),
        (["."], "prompt is empty"),
        (["word " * 300], "shorten it to about"),
        (["x", "--image", "absent.png"], "absent.png"),
        (["x", "--image", "truncated.png"], "truncated.png"),
        (["x", "--image", "text.png"], "text.png"),
        (["x", "--image", "folder"], "folder"),
        (["x", "--last", "text.png"], "text.png"),
        (["x", "--image", "picture.png", "--video", "short.mp4"], "give one of them"),
        (["x", "--video", "text.mp4"], "text.mp4"),
        (["x", "--video", "absent.mp4"], "absent.mp4"),
        (["x", "--video", "short.mp4", "--frames", "4"], "has 3 frames and --frames asks for 4"),
        (["x", "--video", "short.mp4", "--frames", "0"], "--frames must be from 1"),
        (["x", "--frames", "2"], "give a --video"),
        (["x", "--video", "short.mp4", "--frames", "3", "--num-frames", "2"], "the video has 2 frames"),
        (["x", "--size", "-64x64"], "-64x64"),
        (["x", "--size", "0x0"], "0x0"),
        (["x", "--size", "100000x64"], "100000x64"),
        (["x", "--size", "8000x8000", "--num-frames", "4000"], "would fit"),
        (["x", "--size", "large"], "WIDTHxHEIGHT"),
        (["x", "--steps", "0"], "steps must be from 1"),
        (["x", "--num", "0"], "--num must be at least 1"),
        (["x", "--num-frames", "-4"], "number of frames"),
        (["x", "--seconds", "-1"], "length"),
        (["x", "--seconds", "1", "--num-frames", "4"], "give one of them"),
        (["x", "--fps", "0"], "fps must be from 0.01 to 1000"),
        (["x", "--fps", "0", "--video", "short.mp4"], "fps must be from 0.01 to 1000"),
        (["x", "--guidance", "nan"], "guidance"),
        (["x", "--solver", "eular"], "did you mean 'euler'"),
        (["x", "--device", "tpu"], "such as cpu, cuda or cuda:1, got 'tpu'"),
        (["x", "--device", "meta"], "such as cpu, cuda or cuda:1, got 'meta'"),
        (["x", "--out", "x.avi"], ".mp4"),
        (["x", "--out", "x"], ".mp4"),
        (["x", "--out", "folder"], "folder"),
        (["x", "--out", "absent/x.mp4"], "does not exist"),
        (["x", "--out", "picture.png"], "exists already and is kept; pass --force"),
        (["x", "--out", "text.png/x.mp4"], "text.png"),
        (["x", "--out", "/proc/x.mp4"], "/proc"),
        (["x", "--prompts", "prompts.txt"], "give one of them"),
        (["--prompts", "absent.txt"], "absent.txt"),
        (["--prompts", "blank.txt"], "has no prompts"),
        (["--prompts", "picture.png"], "no readable text"),
        (["--prompts", "prompts.txt", "--out", "picture.png"], "picture.png"),
        (["--prompts", "bad.txt", "--out", "new"], "'word word"),
        (["--like", "absent.mp4"], "absent.mp4"),
        (["--like", "text.mp4"], "text.mp4"),
        (["--like", "short.mp4"], "do not describe a generated video"),
        (["--prompts", "prompts.txt", "--out", "new.mp4"], "their folder, got 'new.mp4'; leave the ending out"),
    ],
)
def test_what_generate_cannot_do_is_one_line_and_touches_nothing(
    shell: Shell, files: Path, words: list[str], part: str
) -> None:
    before = snapshot(files)
    is_one_line(shell.generate(*words), part)
    assert snapshot(files) == before
    assert not (files / "new").exists()


def test_models_that_are_none_are_refused(shell: Shell, folder: Path, tmp_path: Path) -> None:
    is_one_line(shell("generate", "x", "--model", "absent"), "absent", "model.json")

    damaged = shutil.copytree(folder, tmp_path / "damaged")
    weights = bytearray((damaged / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    is_one_line(shell("generate", "x", "--model", damaged), "damaged", "checksum")

    foreign = shutil.copytree(folder, tmp_path / "foreign")
    state = load_file(foreign / "model.safetensors")
    state["backbone.entre.weight"] = state.pop("backbone.enter.weight")
    save_file(state, foreign / "model.safetensors")
    card = json.loads((foreign / "model.json").read_text())
    (foreign / "model.json").write_text(json.dumps({**card, "sha256": _sha256(foreign / "model.safetensors")}))
    is_one_line(shell("generate", "x", "--model", foreign), "backbone.ent")
    assert "did you mean" in shell("generate", "x", "--model", foreign).err

    (damaged / "model.json").write_text("{")
    is_one_line(shell("generate", "x", "--model", damaged), "damaged")
    (foreign / "model.safetensors").unlink()
    is_one_line(shell("generate", "x", "--model", foreign), "model.safetensors")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["generat"], "No such command 'generat'"),
        (["generate", "x", "--stepps", "3"], "--steps"),
        (["generate", "x", "--steps", "many"], "valid integer"),
        (["generate", "x", "y"], "unexpected extra argument"),
    ],
)
def test_misspelt_words_are_said_without_a_traceback(shell: Shell, words: list[str], part: str) -> None:
    said = shell(*words)
    assert said.code == 2
    assert part in said.err
    assert len(said.err.splitlines()) <= 4  # usage, where to find help, the error
    assert "Traceback" not in said.err


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp", "png"])
def test_the_ending_chooses_the_file_which_keeps_its_settings(shell: Shell, tmp_path: Path, ending: str) -> None:
    said = shell.generate("a red circle", "--out", f"x.{ending}", "--seed", "4", "--size", "20x10")
    assert said.code == 0, said
    assert "note: size 20x10 became 16x8" in said.err
    assert {path.name for path in tmp_path.iterdir()} == {f"x.{ending}"}  # latents and parts are gone
    shown = json.loads(shell("show", f"x.{ending}").out)
    assert (shown["prompt"], shown["seed"], shown["size"]) == ("a red circle", 4, [16, 8])
    before = snapshot(tmp_path)
    is_one_line(shell.generate("a blue square", "--out", f"x.{ending}"), "--force")
    assert snapshot(tmp_path) == before
    assert shell.generate("a blue square", "--out", f"x.{ending}", "--force").code == 0
    assert snapshot(tmp_path) != before


def test_like_makes_the_same_file_and_changes_change_it(shell: Shell, files: Path) -> None:
    words = ["a red circle", "--image", "picture.png", "--last", "picture.png", "--seconds", "0.5", "--guidance", "2"]
    assert shell.generate(*words, "--out", "one.mp4", "--solver", "sde", "--seed", "3", "--device", "cpu").code == 0
    assert shell.generate("--like", "one.mp4", "--out", "two.mp4").code == 0
    assert (files / "one.mp4").read_bytes() == (files / "two.mp4").read_bytes()
    assert "a picture" in shell("show", "one.mp4").out
    assert shell.generate("--like", "one.mp4", "--out", "three.mp4", "--seed", "4", "--seconds", "0.75").code == 0
    settings = media.read_settings(files / "three.mp4")
    assert (settings["seed"], settings["num_frames"], settings["solver"]) == (4, 6, "sde")


def test_like_says_when_the_model_is_another(shell: Shell, tmp_path: Path) -> None:
    assert shell.generate("x", "--out", "one.mp4").code == 0
    other = save_tiny(tmp_path / "other", seed=1)
    said = shell("generate", "--like", "one.mp4", "--out", "two.mp4", "--model", other)
    assert said.code == 0
    assert "made by another model" in said.err


def test_like_keeps_the_rules_of_the_file_and_says_where_the_model_has_others(shell: Shell, tmp_path: Path) -> None:
    assert shell.generate("x", "--out", "one.mp4").code == 0
    changed = save_tiny(tmp_path / "changed", renorm=False, level_shift=3.0)
    said = shell("generate", "--like", "one.mp4", "--out", "two.mp4", "--model", changed)
    assert "renorm True, where the model's own is False" in said.err
    assert "level_shift 1.0, where the model's own is 3.0" in said.err
    assert "another model" not in said.err
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_a_video_is_gone_on_from_by_its_last_frames(shell: Shell, files: Path) -> None:
    assert shell.generate("x", "--video", "short.mp4", "--frames", "2", "--out", "on.mp4").code == 0
    settings = media.read_settings(files / "on.mp4")
    assert set(settings["frames"]) == {"0", "1"}
    shown = media.picture_from_base64png(settings["frames"]["1"])
    assert torch.equal(shown, media.read_video(files / "short.mp4").pixels[2])


@pytest.mark.parametrize(
    ("fps", "num_read", "taken", "said"),
    [(24.0, 24, [17, 20, 23], "skipped"), (4.0, 24, [22, 23, 23], "shown more than once"), (8.0, 24, [21, 22, 23], "")],
)
def test_a_film_is_gone_on_from_at_the_rate_of_the_model(
    shell: Shell, tmp_path: Path, fps: float, num_read: int, taken: list[int], said: str
) -> None:
    shades = torch.linspace(0, 1, num_read).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    media.write(Clip(shades, fps), tmp_path / "film.mp4")
    came = shell.generate("x", "--video", "film.mp4", "--frames", "3", "--out", "on.mp4", "--steps", "1")
    assert came.code == 0, came
    assert (f"has {fps:g} fps and the new video 8: some of its frames are {said}" in came.err) == bool(said)
    settings = media.read_settings(tmp_path / "on.mp4")
    read = media.read_video(tmp_path / "film.mp4", size=(16, 16)).pixels
    for number, frame in enumerate(taken):
        assert torch.equal(media.picture_from_base64png(settings["frames"][str(number)]), read[frame])


def test_a_film_that_is_too_short_at_the_rate_of_the_model_says_how_much_there_is(shell: Shell, tmp_path: Path) -> None:
    media.write(Clip(torch.rand(9, 3, 16, 16), 24.0), tmp_path / "film.mp4")
    said = shell.generate("x", "--video", "film.mp4", "--frames", "4")
    is_one_line(said, "has 9 frames and --frames asks for 4 (10 of its own, at 24 fps); ask for at most 3")


def test_num_and_prompts_make_a_file_for_each(shell: Shell, files: Path) -> None:
    assert shell.generate("x", "--num", "2", "--seed", "5", "--out", "x.mp4").code == 0
    assert [media.read_settings(files / f"x-00{k}.mp4")["seed"] for k in range(2)] == [5, 6]
    assert shell.generate("--prompts", "prompts.txt", "--out", "many").code == 0
    assert [media.read_settings(files / "many" / f"000{k}.mp4")["prompt"] for k in range(2)] == [
        "a red circle",
        "a blue square",
    ]
    before = snapshot(files)
    is_one_line(shell.generate("--prompts", "prompts.txt", "--out", "many"), "0000.mp4", "--force")
    is_one_line(shell.generate("x", "--num", "3", "--out", "x.mp4"), "x-000.mp4")
    assert snapshot(files) == before


def test_finished_sampling_is_never_lost(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell.generate("a red circle", "--out", "whole.mp4").code == 0

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sampling, "decode", stop)
        said = shell.generate("a red circle", "--out", "x.mp4")
    assert said.code == 130
    assert "vitascope decode x.latents.safetensors --out x.mp4" in said.err
    before = snapshot(tmp_path)
    is_one_line(shell.generate("other", "--out", "x.mp4"), "finished work", "vitascope decode")
    model = ("--model", shell.folder)
    is_one_line(shell("decode", "x.latents.safetensors", "--out", "whole.mp4", *model), "exists already")
    is_one_line(shell("decode", "whole.mp4", "--out", "y.mp4", *model), "holds no latents")
    assert snapshot(tmp_path) == before
    assert shell("decode", "x.latents.safetensors", "--out", "x.mp4", *model).code == 0
    assert (tmp_path / "x.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_preview_is_kept_up_to_date_beside_the_video(shell: Shell, tmp_path: Path) -> None:
    assert shell.generate("x", "--out", "x.mp4", "--preview").code == 0
    assert media.read_image(tmp_path / "x.preview.png").shape[0] == 3
    (tmp_path / "x.mp4").unlink()
    before = snapshot(tmp_path)
    is_one_line(shell.generate("x", "--out", "x.mp4", "--preview"), "x.preview.png", "--force")
    assert snapshot(tmp_path) == before


def test_a_demo_refreshes_its_own_folder_and_no_other(
    shell: Shell, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "package" / "bundled" / "tiny")
    monkeypatch.setattr(loading.vitascope, "__file__", str(tmp_path / "package" / "__init__.py"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "image.png").write_text("precious")
    is_one_line(shell("demo", "--out", "mine"), "image.png", "--force")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["image.png"]
    for _ in range(2):
        assert shell("demo").code == 0
    made = {path.name for path in (tmp_path / "out/demo").iterdir()}
    assert made == {*(f"text-{k}.mp4" for k in range(4)), "image.png", "image-0.mp4", "sheet.png"}


def test_a_long_video_is_made_in_windows(shell: Shell, tmp_path: Path) -> None:
    assert shell.generate("x", "--seconds", "1.25", "--out", "x.mp4").code == 0
    assert media.read_video(tmp_path / "x.mp4").num_frames == 10


# Training.


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
from vitascope.train.stages import TokenizerStage

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

def impatient():
    raise KeyboardInterrupt  # what a signal does here, unless the process was started to ignore it

def hungry():
    return tiny_run(TokenizerStage(name="first", steps=5, batch=1)).model_copy(
        update={"data": StripesConfig(hungry_from=0)}
    )
"""


def test_ctrl_c_is_one_line_and_a_run_with_classes_of_its_own_goes_on(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    # Another process, in which nobody has loaded that file:
    monkeypatch.delitem(sys.modules, "recipe_of_mine")
    for words in (["generate", "x", "--model", "run/model"], ["train", "run/run.json", "--out", "run", "--resume"]):
        is_one_line(shell(*words), "'recipe_of_mine:My", "lives outside vitascope", "./FILE.py:run")
    resolve("mine.py")
    assert load("run/model").generate("x").num_frames == 4


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
        (["laptop:stiv", "--resume"], "holds no run"),
        (["laptop:stiv", "--stage", "t2v"], "train that first: --stage t2i"),
        (["laptop:stiv", "--out", "file"], "'file' is a file, and a run needs a folder"),
        (["laptop:stiv", "--out", "file/run"], "'file' is a file, and a run needs a folder"),
        (["laptop:footage"], "name it with --data FOLDER"),
    ],
)
def test_what_train_cannot_do_is_one_line(shell: Shell, tmp_path: Path, words: list[str], part: str) -> None:
    (tmp_path / "file").write_text("in the way")
    is_one_line(shell("train", *words), part)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_print_shows_the_whole_run_and_trains_nothing(shell: Shell, tmp_path: Path) -> None:
    said = shell("train", "laptop:stiv", "--set", "seed=7", "--print")
    assert json.loads(said.out)["seed"] == 7
    assert not list(tmp_path.iterdir())


# Evaluation, Toyland, and what can be asked of any command.


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


def test_rules_of_sampling_are_options_and_are_kept_in_the_file(shell: Shell) -> None:
    assert shell.generate("a", "--out", "a.gif", "--rule", "renorm=false", "--rule", "level_shift=3").code == 0
    kept = json.loads(shell("show", "a.gif").out)
    assert (kept["renorm"], kept["level_shift"]) == (False, 3.0)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("renrm=false", "did you mean 'renorm'"),
        ("renorm", "--rule needs name=value"),
        ("guidance_kind=both", "'joint', 'text', 'separate' or 'blank'"),
        ("guidance_interval=[0.8,0.2]", "the lower level first"),
        ("guidance_interval=0.2,0.8", "written as [.., ..]"),
    ],
)
def test_rules_that_mean_nothing_are_one_line(shell: Shell, rule: str, said: str) -> None:
    answer = shell.generate("a", "--out", "a.gif", "--rule", rule)
    assert answer.code == 2 and said in answer.err and not Path("a.gif").exists()


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
