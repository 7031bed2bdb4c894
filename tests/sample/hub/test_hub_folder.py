"""Laws of checkpoints as files: whole or refused with the file's name, known by content, and fetched or told how to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from families import FAMILIES, Folder, built

from vitascope.sample.hub.folder import check_whole, checksum, file_checksum, find, read_index, weights_of
from vitascope.sample.hub.model import load_checkpoint
from vitascope.sample.loading import load
from vitascope.types import UserError


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    built(FAMILIES["latte"]).save_pretrained(folder, max_shard_size="20KB")
    assert len(weights_of(folder)) > 4
    return folder


@pytest.fixture
def copy(sharded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sharded, tmp_path / "copy"))


def test_a_truncated_shard_is_named_with_both_sizes(copy: Path) -> None:
    shard = next(path for path in weights_of(copy) if "00002-of" in path.name)
    content = shard.read_bytes()
    for length in (len(content) - 1, 12, 3, 0):
        shard.write_bytes(content[:length])
        with pytest.raises(UserError, match=f"{shard.name}' is damaged.* delete it and fetch it again"):
            load_checkpoint(str(copy), device="cpu")
    shard.write_bytes(content)
    check_whole(copy)


def test_a_missing_shard_part_or_index_is_named(copy: Path) -> None:
    shard = weights_of(copy)[1]
    shard.rename(shard.with_suffix(".incomplete"))
    with pytest.raises(UserError, match=f"{shard.name}' is missing: the download was interrupted"):
        check_whole(copy)
    shutil.rmtree(copy / "vae")
    with pytest.raises(UserError, match="vae' is missing"):
        check_whole(copy)
    (copy / "model_index.json").write_text("{")
    with pytest.raises(UserError, match=r"model_index.json' is damaged"):
        read_index(copy)


def test_the_checksum_is_that_of_the_content(copy: Path, sharded: Path, tmp_path: Path) -> None:
    assert checksum(copy) == checksum(sharded)
    assert checksum(copy, ("a LoRA",)) != checksum(copy)
    path = weights_of(copy)[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert checksum(copy) != checksum(sharded)
    # What is no weight rules the video too.
    path.write_bytes(bytes([*content[:-1], content[-1] ^ 1]))
    for name in ("scheduler/scheduler_config.json", "tokenizer/tokenizer.json", "vae/config.json", "model_index.json"):
        told = (copy / name).read_text()
        (copy / name).write_text(told + " ")
        assert checksum(copy) != checksum(sharded)
        (copy / name).write_text(told)
    assert checksum(copy) == checksum(sharded)
    # As the hub's cache keeps files: the name of what a link leads to is the checksum.
    name = file_checksum(path)
    (tmp_path / "blobs").mkdir()
    blob = path.rename(tmp_path / "blobs" / name)
    path.symlink_to(blob)
    assert file_checksum(path) == name


def test_a_missing_vocabulary_is_named(copy: Path, folder_of: Folder, tmp_path: Path) -> None:
    (copy / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer' has no 'tokenizer.json' or 'spiece.model': .* interrupted"):
        load_checkpoint(str(copy), device="cpu")
    (copy / "tokenizer" / "spiece.model").write_bytes(b"as older checkpoints have it")
    check_whole(copy)
    other = Path(shutil.copytree(folder_of("animatediff"), tmp_path / "clip"))
    (other / "tokenizer" / "tokenizer.json").unlink()
    (other / "tokenizer" / "vocab.json").write_text("{}")
    with pytest.raises(UserError, match=r"has no 'tokenizer.json' or 'merges.txt'"):
        check_whole(other)


@pytest.mark.parametrize("entry", [["diffusers"], ["diffusers", None], [3, "AutoencoderKL"], [], ["", "AutoencoderKL"]])
def test_a_spoilt_entry_of_the_index_is_named(copy: Path, entry: list[object]) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "vae": entry}))
    with pytest.raises(UserError, match=r"model_index.json' is damaged: 'vae' must be a library and a class"):
        load_checkpoint(str(copy), device="cpu")


def test_folders_that_are_no_checkpoints_say_what_they_are(tmp_path: Path, folder_of: Folder) -> None:
    with pytest.raises(UserError, match=r"'model_index\.json' is missing"):
        load_checkpoint(str(tmp_path), device="cpu")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "MotionAdapter"}))
    with pytest.raises(UserError, match="it holds a 'MotionAdapter' alone"):
        load_checkpoint(str(tmp_path), device="cpu")
    with pytest.raises(UserError, match="give it as hub:"):
        load(folder_of("wan"))
    with pytest.raises(UserError, match="has no revisions"):
        find(str(folder_of("wan")), "main")
    for name in ("./absent", "absent", "a/b/c", "/absent/folder"):
        with pytest.raises(UserError, match="neither a folder nor the id"):
            find(name)


def test_an_offline_hub_tells_both_ways_to_get_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as caught:
        load_checkpoint("someone/unheard-of", "v2", device="cpu")
    said = str(caught.value)
    assert "not on this disk and could not be fetched" in said
    assert "'hf download someone/unheard-of --revision v2'" in said
    assert "--local-dir DIR', copy DIR here and give --model hub:DIR" in said
    assert "\n" not in said


def test_options_of_checkpoints_are_checked_before_anything_is_loaded(folder_of: Folder) -> None:
    folder = str(folder_of("wan"))
    with pytest.raises(UserError, match=r"--dtype must be one of bf16, fp16, fp32, got 'bf61'; did you mean 'bf16'"):
        load_checkpoint(folder, dtype="bf61", device="cpu")
    with pytest.raises(UserError, match="there is no GPU; leave it out"):
        load_checkpoint(folder, offload="model", device="cpu")
    with pytest.raises(UserError, match="dtype is for checkpoints in diffusers' layout"):
        load(dtype="bf16")


def test_a_dtype_is_that_of_the_weights(folder_of: Folder) -> None:
    model = load_checkpoint(str(folder_of("latte")), dtype="bf16", device="cpu")
    assert model.routes[0].pipeline.transformer.dtype == torch.bfloat16
    assert model.generate("a red circle", num_frames=1, size=(32, 32), steps=1).settings["hub"]["dtype"] == "bf16"
