"""Laws of a model on disk: it comes back as it was, whole or not at all, and what is damaged or foreign is named."""

from __future__ import annotations

import hashlib
import json
import resource
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny import tiny_model
from vitascope.card import CARD, WEIGHTS, load_model, load_state, read_card, save_model
from vitascope.system import VideoModel
from vitascope.train.initialise import initialised
from vitascope.types import UserError

TINY = tiny_model()


def model() -> VideoModel:
    return initialised(TINY, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(TINY, model().state_dict(), tmp_path / "model", {"loss": 0.5})
    return tmp_path / "model"


def test_a_model_comes_back_as_it_was_saved(folder):
    before, after = model(), load_model(folder)
    assert after.config == TINY
    assert before.state_dict().keys() == after.state_dict().keys()
    for name, value in after.state_dict().items():
        assert torch.equal(value, before.state_dict()[name])
    assert not after.training
    assert not any(p.requires_grad for p in after.parameters())
    assert read_card(folder).report == {"loss": 0.5}


def test_a_model_saved_again_is_the_same_file(folder, tmp_path):
    save_model(TINY, load_model(folder).state_dict(), tmp_path / "again", {"loss": 0.5})
    for name in (WEIGHTS, CARD):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_half_precision_halves_the_file_and_loads_as_single_precision(folder, tmp_path):
    save_model(TINY, model().state_dict(), tmp_path / "half", {}, torch.bfloat16)
    assert (tmp_path / "half" / WEIGHTS).stat().st_size < 0.6 * (folder / WEIGHTS).stat().st_size
    before = model().state_dict()
    for name, value in load_model(tmp_path / "half").state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=8e-3)


def test_saving_over_a_model_leaves_only_the_new_one(folder):
    save_model(TINY, {n: v + 1 for n, v in model().state_dict().items()}, folder, {"loss": 0.4})
    assert read_card(folder).report == {"loss": 0.4}
    load_model(folder)
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]


def test_a_model_that_cannot_be_written_leaves_the_old_one(folder, tmp_path):
    before = (folder / WEIGHTS).read_bytes()
    heard, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # as a full disk would be
    try:
        with pytest.raises(UserError, match="what was there is kept"):
            save_model(TINY, {n: v + 1 for n, v in model().state_dict().items()}, folder, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, heard)
    assert (folder / WEIGHTS).read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]
    load_model(folder)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_single_flipped_bit_is_noticed(folder, place):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[int(place * len(data))] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(UserError, match="checksum"):
        load_model(folder)


def test_a_truncated_file_is_noticed(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(UserError, match="checksum"):
        load_model(folder)


@pytest.mark.parametrize("name, message", [(WEIGHTS, "holds no weights"), (CARD, "holds no model")])
def test_missing_files_are_named(folder, name, message):
    (folder / name).unlink()
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path / "absent")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": 3}', "null"])
def test_a_damaged_card_is_named(folder, text):
    (folder / CARD).write_text(text)
    with pytest.raises(UserError, match=r"model\.json"):
        read_card(folder)


@pytest.mark.parametrize(
    "config, message",
    [
        (3, "describes no model but 'int'"),
        ({"class": "os:system"}, "only classes of vitascope are trusted"),
        ({"class": "vitascope.system:Defaults"}, "describes no model but 'Defaults'"),
        ({"class": "vitascope.system:Gone"}, "written by another version"),
    ],
)
def test_a_foreign_card_is_refused(folder, config, message):
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, "config": config}))
    with pytest.raises(UserError, match=message):
        load_model(folder)


def rewritten(folder: Path, change) -> None:
    """Other weights under a card that vouches for them."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)
    card = json.loads((folder / CARD).read_text())
    card["sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / CARD).write_text(json.dumps(card))


def test_foreign_weights_are_refused_with_the_nearest_name(folder):
    wrong, right = "backbone.blocks.0.space.entrance.weight", "backbone.blocks.0.space.enter.weight"
    rewritten(folder, lambda state: {wrong if name == right else name: value for name, value in state.items()})
    with pytest.raises(UserError, match=f"1 weights are foreign and 1 missing, first '{wrong}'.*'{right}'"):
        load_model(folder)


def test_missing_weights_are_named(folder):
    rewritten(folder, lambda state: {name: value for name, value in state.items() if name != "tokenizer.mean"})
    with pytest.raises(UserError, match=r"0 weights are foreign and 1 missing, first 'tokenizer\.mean'"):
        load_model(folder)


def test_weights_of_another_shape_are_named(folder):
    rewritten(folder, lambda state: {**state, "tokenizer.mean": torch.zeros(5)})
    with pytest.raises(UserError, match=r"'tokenizer\.mean' has shape \(5,\), the model needs \(4,\)"):
        load_model(folder)


def test_weights_that_are_refused_change_nothing():
    whole = model()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    foreign = {name: value + 1 for name, value in before.items()} | {"more": torch.zeros(1)}
    with pytest.raises(UserError, match="'more'"):
        load_state(whole, foreign, "memory")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, before[name])
