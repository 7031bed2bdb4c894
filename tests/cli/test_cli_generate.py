"""Laws of `generate`: what the user can mend is one line and exit code 2, and nothing is overwritten unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shell import Shell, is_one_line, snapshot
from tiny import save_tiny
from vitascope import media
from vitascope.checksums import sha256_of
from vitascope.sample import generate as sampling
from vitascope.sample import loading
from vitascope.types import Clip


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
        (["x", "--frames", "2"], "give a video"),
        (["x", "--video", "short.mp4", "--frames", "3", "--num-frames", "2"], "the video has 2 frames"),
        (["x", "--size", "-64x64"], "-64x64"),
        (["x", "--size", "0x0"], "0x0"),
        (["x", "--size", "100000x64"], "100000x64"),
        (["x", "--size", "large"], "WIDTHxHEIGHT"),
        (["x", "--steps", "0"], "steps must be from 1"),
        (["x", "--num", "0"], "num must be from 1 to 100000"),
        (["x", "--num", "100000000"], "num must be from 1 to 100000"),
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


def test_what_no_memory_holds_is_refused_with_what_would_fit(shell: Shell, files: Path) -> None:
    before = snapshot(files)
    is_one_line(shell.generate("x", "--size", "8000x8000", "--num-frames", "4000"), "would fit")
    assert snapshot(files) == before


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
    (foreign / "model.json").write_text(json.dumps({**card, "sha256": sha256_of(foreign / "model.safetensors")}))
    is_one_line(shell("generate", "x", "--model", foreign), "backbone.ent")
    assert "did you mean" in shell("generate", "x", "--model", foreign).err

    (damaged / "model.json").write_text("{")
    is_one_line(shell("generate", "x", "--model", damaged), "damaged")
    (foreign / "model.safetensors").unlink()
    is_one_line(shell("generate", "x", "--model", foreign), "model.safetensors")
    assert not (tmp_path / "out.mp4").exists()


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
    words = ["a red circle", "--image", "picture.png", "--seconds", "0.5", "--guidance", "2", "--solver", "sde"]
    for name, more in (("open", []), ("closed", ["--last", "picture.png"])):
        assert shell.generate(*words, *more, "--out", f"{name}.mp4", "--seed", "3", "--device", "cpu").code == 0
        assert shell.generate("--like", f"{name}.mp4", "--out", f"{name}-again.mp4").code == 0
        assert (files / f"{name}.mp4").read_bytes() == (files / f"{name}-again.mp4").read_bytes()
    assert "a picture" in shell("show", "closed.mp4").out
    assert set(media.read_settings(files / "closed.mp4")["frames"]) == {"0", "-1"}
    assert shell.generate("--like", "open.mp4", "--out", "three.mp4", "--seed", "4", "--seconds", "0.75").code == 0
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


def test_like_says_nothing_of_rules_that_are_changed(shell: Shell, tmp_path: Path) -> None:
    assert shell.generate("x", "--out", "one.mp4", "--rule", "renorm=false").code == 0
    assert "renorm False" in shell.generate("--like", "one.mp4", "--out", "two.mp4").err
    assert "renorm" not in shell.generate("--like", "one.mp4", "--out", "three.mp4", "--rule", "renorm=true").err
    assert media.read_settings(tmp_path / "three.mp4")["renorm"] is True


def test_a_video_shorter_than_what_is_usual_is_gone_on_from_all_the_same(shell: Shell, files: Path) -> None:
    said = shell.generate("x", "--video", "short.mp4", "--out", "on.mp4")
    assert (said.code, "goes on from 3" in said.err) == (0, True)
    assert set(media.read_settings(files / "on.mp4")["frames"]) == {"0", "1", "2"}


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
    assert made == {*(f"text-{k}.mp4" for k in range(4)), "image.png", "image-0.mp4", "sheet.png", "all.webp"}


def test_a_long_video_is_made_in_windows(shell: Shell, tmp_path: Path) -> None:
    assert shell.generate("x", "--seconds", "1.25", "--out", "x.mp4").code == 0
    assert media.read_video(tmp_path / "x.mp4").num_frames == 10


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
