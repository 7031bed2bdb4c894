"""Laws of checkpoints: whole or absent, whatever happens while one is written or to one that was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vitascope.train import checkpoint
from vitascope.train.checkpoint import Position
from vitascope.train.optim import AdamWConfig, MovingAverage
from vitascope.types import UserError


class Killed(BaseException):
    """The process ends here."""


def save(folder: Path, step: int) -> None:
    module = nn.Linear(50, 50)
    nn.init.constant_(module.weight, float(step))
    optimizer = AdamWConfig().build(module, 0.1)
    module(torch.ones(50)).sum().backward()
    optimizer.step()
    checkpoint.save(folder, Position("only", step, 1.5), module, MovingAverage(module, 0.9), optimizer, {"name": "x"})


def step_of(folder: Path) -> int | None:
    state = checkpoint.load(folder)
    return None if state is None else state["progress"]["step"]


def test_what_was_saved_comes_back_exactly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 3)
    optimizer, average = AdamWConfig().build(module, 0.1), MovingAverage(module, 0.5)
    module(torch.ones(3)).sum().backward()
    optimizer.step()
    average.update(module)
    checkpoint.save(tmp_path, Position("only", 7, 2.5), module, average, optimizer, {"seed": 0})
    state = checkpoint.load(tmp_path)
    assert state is not None
    assert state["run"] == {"seed": 0}

    other = nn.Linear(3, 3)
    other_optimizer, other_average = AdamWConfig().build(other, 0.3), MovingAverage(other, 0.5)
    assert checkpoint.restore(state, other, other_average, other_optimizer) == Position("only", 7, 2.5)
    assert torch.equal(other.weight, module.weight)
    assert torch.equal(other_average.weights["weight"], average.weights["weight"])
    assert other_average.num_updates == 1
    old, new = optimizer.state_dict()["state"][0], other_optimizer.state_dict()["state"][0]
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_nothing_saved_is_nothing(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "absent") is None


@pytest.mark.parametrize("call", ["open", "save", "fsync", "first replace", "second replace"])
def test_killed_at_any_moment_of_a_save_the_one_before_or_the_new_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    replaced = []

    def replace(source: Path, target: Path) -> None:
        replaced.append(target)
        if len(replaced) == (1 if call == "first replace" else 2):
            raise Killed
        os.rename(source, target)

    def half(state: Any, file: Any) -> None:
        file.write(b"PK half of it")
        raise Killed

    where, what = {
        "open": ("builtins.open", kill),
        "save": ("torch.save", half),
        "fsync": ("os.fsync", kill),
        "first replace": ("os.replace", replace),
        "second replace": ("os.replace", replace),
    }[call]
    with monkeypatch.context() as patch:
        patch.setattr(where, what)
        with pytest.raises(Killed):
            save(tmp_path, 3)
    assert step_of(tmp_path) == 2
    save(tmp_path, 4)
    assert step_of(tmp_path) == 4


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    else:
        content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped"])
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_used(tmp_path: Path, how: str) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path / "last.pt", how)
    said: list[str] = []
    state = checkpoint.load(tmp_path, said.append)
    assert state is not None
    assert state["progress"]["step"] == 1
    assert "last.pt" in said[0]
    save(tmp_path, 3)  # may not move the damaged one over the good one
    damage(tmp_path / "last.pt", how)
    assert step_of(tmp_path) == 1


def test_without_a_whole_checkpoint_it_does_not_begin_anew_in_silence(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path / "last.pt", "truncated")
    damage(tmp_path / "before.pt", "truncated")
    with pytest.raises(UserError, match=r"no checkpoint in .* is whole"):
        checkpoint.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"no checkpoint can be written.*--resume") as caught:
        save(tmp_path / "file" / "folder", 1)
    assert "\n" not in str(caught.value)
