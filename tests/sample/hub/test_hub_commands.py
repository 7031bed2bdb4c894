"""The real command line with a checkpoint of others, and the export of a model of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from families import Folder, Load
from safetensors.torch import save_file

from shell import Shell
from tiny import save_tiny
from vitascope import media
from vitascope.sample.hub.model import HubModel
from vitascope.sample.latents import write_latents
from vitascope.sample.loading import load
from vitascope.types import Clip


def test_words_to_a_file_and_the_same_again(shell: Shell, folder_of: Folder) -> None:
    model = f"hub:{folder_of('ltx')}"
    few = ("--steps", "2", "--num-frames", "9", "--size", "32x32")
    code, said = shell.heard("generate", "a red circle", "--model", model, *few, "--seed", "7", "--out", "one.mp4")
    assert code == 0, said
    assert "one.mp4: 9 frames" in said
    code, said = shell.heard("generate", "--like", "one.mp4", "--out", "two.mp4")
    assert code == 2 and f"add --model {model} --dtype fp32" in said
    code, said = shell.heard("generate", "--like", "one.mp4", "--out", "two.mp4", "--model", model)
    assert code == 0 and "another model" not in said
    assert torch.equal(media.read_video("one.mp4").pixels, media.read_video("two.mp4").pixels)
    assert not list(Path().glob("*.latents.safetensors"))


def test_a_video_is_worked_over(shell: Shell, folder_of: Folder) -> None:
    rng = torch.Generator().manual_seed(0)
    media.write(Clip(torch.rand(20, 3, 32, 48, generator=rng), fps=8.0), "in.mp4")
    model = ("--model", f"hub:{folder_of('cogvideox_v2v')}")
    typed = ("generate", "a star", *model, "--video", "in.mp4", "--steps", "2")
    code, said = shell.heard(*typed, "--num-frames", "20", "--out", "out.mp4")
    assert code == 0, said
    assert "20 frames became 17 frames" in said
    code, said = shell.heard(*typed, "--out", "own.mp4")
    assert "of 'in.mp4' the first 9 frames are taken" in said and "own.mp4: 9 frames" in said
    code, said = shell.heard("generate", *model, "--like", "out.mp4", "--out", "again.mp4")
    assert code == 2 and "give it with --video" in said
    code, said = shell.heard(
        "generate", "a star", *model, "--video", "in.mp4", "--num-frames", "33", "--out", "long.mp4"
    )
    assert code == 2 and "has 20 frames at 8 fps" in said


def test_kept_latents_are_finished(shell: Shell, folder_of: Folder, model_of: Load) -> None:
    model, kept = model_of("ltx"), Path("x.latents.safetensors")
    assert isinstance(model, HubModel)
    clip = model.generate("a star", num_frames=9, size=(32, 32), steps=2)
    write_latents(kept, torch.randn(1, 8, 2, 1, 1), clip.settings)
    code, said = shell.heard("decode", kept, "--out", "x.mp4")
    assert code == 2 and f"give --model: --model hub:{folder_of('ltx')}" in said
    code, said = shell.heard("decode", kept, "--out", "x.mp4", "--model", f"hub:{folder_of('ltx')}")
    assert code == 0 and "x.mp4: 9 frames" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--preview"], "--preview is for models of ours"),
        (["--image", "absent.png"], "absent.png"),
        (["--lora", "absent.safetensors"], "absent.safetensors"),
        (["--dtype", "fp8"], "--dtype must be one of"),
        (["--offload", "model"], "no GPU"),
        (["--solver", "heun"], "brings its own solver"),
        (["--revision", "main"], "has no revisions"),
    ],
)
def test_what_cannot_be_done_is_one_line(shell: Shell, folder_of: Folder, words: list[str], said: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("the words are those of a machine without a GPU")
    code, told = shell.heard(
        "generate", "x", "--model", f"hub:{folder_of('ltx')}", "--num-frames", "9", "--size", "32x32", *words
    )
    assert code == 2
    assert told.startswith("error: ") and told.count("\n") == 1
    assert said in told


def test_an_exported_model_is_the_same_model_with_a_card(shell: Shell, tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = save_tiny(run / "model")
    code, said = shell.heard("export", run, "--out", "given", "--licence", "MIT")
    assert code == 0, said
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "given" / name).read_bytes() == (folder / name).read_bytes()
    one, other = (load(place, "cpu").generate("x", seed=1) for place in (folder, "given"))
    assert torch.equal(one.pixels, other.pixels)
    assert one.settings == other.settings
    card = (tmp_path / "given" / "README.md").read_text()
    assert card.startswith('---\nlicense: "mit"\n')
    for heading in ("## Training data", "## Scores", "## Licence"):
        assert heading in card
    code, said = shell.heard("export", run, "--out", "given")
    assert code == 2 and "exists already" in said
    save_file({"x": torch.ones(1)}, folder / "model.safetensors")
    code, said = shell.heard("export", run, "--out", "other")
    assert code == 2 and "is damaged" in said
    assert not (tmp_path / "other").exists()


def test_how_a_model_learned_stands_on_its_card(shell: Shell, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny")
    told = json.loads((folder / "model.json").read_text())
    run = {"data": {"class": "Stripes", "size": 16}, "stages": [{"name": "t2v"}]}
    told["report"] = {"run": run, "note": "In two pieces."}
    (folder / "model.json").write_text(json.dumps(told))
    shell.done("export", folder, "--out", "given")
    training = (tmp_path / "given" / "README.md").read_text().partition("## Training data")[2].partition("##")[0]
    assert "size 16" in training and "t2v" in training and training.rstrip().endswith("In two pieces.")


def test_scores_of_every_kind_stand_on_the_card_and_those_of_another_model_do_not(shell: Shell, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny")
    code, said = shell.heard(
        "evaluate", "toyland", "--model", folder, "--num", "2", "--steps", "1", "--out", "toyland.json"
    )
    assert code == 0, said
    suite = {"suite": "vbench", "model": "tiny", "dimensions": {"motion_smoothness": {"value": 0.75, "n": 4}}}
    Path("vbench.json").write_text(json.dumps(suite))
    shell.done("export", folder, "--out", "my model", "--scores", "toyland.json", "--scores", "vbench.json")
    card = Path("my model/README.md").read_text()
    assert "| all | 0 |" in card
    assert "| motion_smoothness | 0.75 |  | 4 |" in card
    assert card.count("does not name the model") == 1
    assert "--model FOLDER" in card and str(tmp_path) not in card
    report = json.loads(Path("toyland.json").read_text())
    report["protocol"]["model"] = "0" * 64
    Path("other.json").write_text(json.dumps(report))
    for name, why in (("other.json", "was measured of another model"), ("absent.json", "absent.json")):
        assert why in shell.refused("export", folder, "--out", "other", "--scores", name)
        assert not Path("other").exists()
    said = shell.done("export", folder, "--out", "my model", "--licence", "Mine: all # of it", "--force")
    assert Path("my model/README.md").read_text().startswith('---\nlicense: "mine: all # of it"\n')
    assert "--model 'my model'" in said


def test_models_lists_what_there_is(shell: Shell, folder_of: Folder) -> None:
    code, said = shell.heard("models", folder_of("ltx").parent)
    assert code == 0
    assert f"hub:{folder_of('ltx')}" in said
    assert 'vitascope generate "a red fox runs through snow" --model hub:Wan-AI/Wan2.1-T2V-1.3B-Diffusers' in said
