"""Laws of a loaded model, as its users meet it."""

from __future__ import annotations

import json
import resource
import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import vitascope
from tiny import save_tiny
from vitascope import media
from vitascope.sample import loading
from vitascope.sample.files import decode_command
from vitascope.sample.latents import write_latents
from vitascope.sample.legal import legalise, settings_of
from vitascope.sample.loading import bundled, load
from vitascope.sample.model import Model, Source
from vitascope.types import Request, UserError


def test_five_lines_make_a_file(folder: Path, tmp_path: Path) -> None:
    model = vitascope.load(folder)
    clip = model.generate("a red circle", seed=1)
    clip.save(str(tmp_path / "x.mp4"))
    assert media.read_video(tmp_path / "x.mp4").num_frames == 4
    assert media.read_settings(tmp_path / "x.mp4")["seed"] == 1


@pytest.mark.parametrize("name", ["load", "Model", "Clip", "Request", "UserError"])
def test_public_names_are_there(name: str) -> None:
    assert getattr(vitascope, name).__name__ == name
    assert name in dir(vitascope)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        vitascope.lode  # noqa: B018


def test_options_and_requests_are_the_same(model: Model) -> None:
    image = torch.rand(3, 20, 30)
    one = model.generate("x", image=image, frames={-1: torch.zeros(3, 9, 9)}, seconds=0.5, fps=8.0, seed=2, steps=2)
    frames = {0: image, -1: torch.zeros(3, 9, 9)}
    other = model.fulfil(Request("x", frames, seconds=0.5, fps=8.0, seed=2, steps=2))
    assert torch.equal(one.pixels, other.pixels)


def test_changes_are_told_without_sampling(model: Model) -> None:
    assert model.notes(Request("x")) == ()
    assert len(model.notes(Request("x", size=(17, 17), num_frames=3))) == 2
    larger, faster = model.notes(Request("x", size=(32, 16), fps=24.0))
    assert "own size is 16x16; it may never have learned 32x16" in larger
    assert "own rate is 8 frames a second; it may never have learned 24" in faster


def test_a_clip_names_the_model_that_made_it(model: Model) -> None:
    assert model.generate("x").settings["model"] == model.card.sha256
    assert model.batch([Request("x")])[0].settings["model"] == model.card.sha256


def test_latents_of_another_model_are_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    model.fulfil(Request("x"), keep_latents=path)
    other = load(save_tiny(tmp_path / "other", seed=1), "cpu")
    with pytest.raises(UserError, match="made by another model"):
        other.decode(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="holds no latents"):
        model.decode(path)
    with pytest.raises(UserError, match="could not be written"):
        write_latents(tmp_path / "absent" / "kept.safetensors", torch.zeros(1, 1, 1, 1), {})


@pytest.mark.parametrize(
    ("shape", "changed", "said"),
    [
        ((4, 4, 2, 2), {"fps": None}, "fps"),
        ((4, 4, 2, 2), [1, 2], "no latents of a video"),
        ((4, 5, 2, 2), {}, "latents of 5 channels and this model's have 4"),
        ((4, 4), {}, "frames x channels x height x width"),
        ((0, 4, 2, 2), {}, "frames x channels x height x width"),
    ],
)
def test_latents_of_something_else_are_refused_in_one_line(
    model: Model, tmp_path: Path, shape: tuple[int, ...], changed: Any, said: str
) -> None:
    good = settings_of(legalise(model.system, Request("x")), model.card.sha256)
    settings = {**good, **changed} if isinstance(changed, dict) else changed
    path = tmp_path / "odd.safetensors"
    save_file({"latents": torch.zeros(shape)}, path, {"settings": json.dumps(settings)})
    with pytest.raises(UserError, match=said) as caught:
        model.decode(path)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_the_latents_that_were_there(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    path.write_bytes(b"precious")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # a limit on the size of files fails as a full disk does
    try:
        with pytest.raises(UserError, match="could not be written"):
            write_latents(path, torch.zeros(16, 4, 8, 8), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_model_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading.vitascope, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(UserError, match="vitascope train"):
        load()


def test_a_model_knows_where_it_came_from_and_nobody_changes_that(model: Model, folder: Path) -> None:
    assert model.source == Source(str(folder))
    with pytest.raises(FrozenInstanceError):
        model.source.model = "another"


def test_what_to_type_for_kept_latents_names_all_that_the_model_was_loaded_with() -> None:
    latents, path = Path("x.latents.safetensors"), Path("x.mp4")
    assert decode_command(latents, path) == "vitascope decode x.latents.safetensors --out x.mp4"
    source = Source("hub:my model", "v2", "bf16", "model", ("a.safetensors", "b.safetensors:0.5"), ("./mine.py",))
    assert decode_command(latents, path, source) == (
        "vitascope --code ./mine.py decode x.latents.safetensors --out x.mp4 --model 'hub:my model' --revision v2 "
        "--dtype bf16 --offload model --lora a.safetensors --lora b.safetensors:0.5"
    )


def test_a_bundled_model_is_found_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "bundled" / "any name")
    monkeypatch.setattr(loading.vitascope, "__file__", str(tmp_path / "__init__.py"))
    assert bundled().name == "any name"
    assert load().generate("x").num_frames == 4
