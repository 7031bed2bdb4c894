"""Laws of knowing and of forgetting."""

from __future__ import annotations

import pytest
import torch

from vitascope.conditions import MICRO, Conditions, TextFeatures, per_frame
from vitascope.types import generator_for


def text(num_tokens: int) -> TextFeatures:
    tokens = torch.randn(2, num_tokens, 3, generator=generator_for(num_tokens, "text"))
    return TextFeatures(tokens, torch.ones(2, num_tokens).bool(), tokens[:, -1])


def conditions() -> Conditions:
    known = torch.tensor([[True, False, True, False], [False, False, False, True]])
    frames = torch.randn(2, 4, 2, 3, 3, generator=generator_for(0, "frames"))
    return Conditions(known, frames * known[:, :, None, None, None], text(5), text(2), torch.rand(2, len(MICRO)))


Z = torch.randn(2, 4, 2, 3, 3, generator=generator_for(1, "z"))


def test_placing_writes_known_frames_and_touches_no_other():
    cond, before = conditions(), Z.clone()
    placed = cond.place(Z)
    assert torch.equal(placed[cond.known], cond.frames[cond.known])
    assert torch.equal(placed[~cond.known], Z[~cond.known])
    assert torch.equal(Z, before)


def test_placing_twice_is_placing_once():
    cond = conditions()
    assert torch.equal(cond.place(cond.place(Z)), cond.place(Z))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_placing_keeps_the_precision_of_the_video(dtype):
    assert conditions().place(Z.to(dtype)).dtype == dtype


def test_placing_is_blind_to_what_was_there_before_even_if_not_finite():
    cond = conditions()
    broken = torch.where(per_frame(cond.known), torch.nan, Z)
    assert torch.equal(cond.place(broken), cond.place(Z))


def test_forgotten_frames_are_not_placed_and_leave_no_trace():
    cond = conditions()
    forgetful = cond.without(frames=True)
    assert torch.equal(forgetful.place(Z), Z)
    assert not forgetful.known.any()
    assert not forgetful.frames.any()
    assert forgetful.text is cond.text


def test_forgotten_text_is_the_empty_caption_and_frames_stay():
    cond = conditions()
    forgetful = cond.without(text=True)
    assert forgetful.text is cond.empty_text
    assert torch.equal(forgetful.place(Z), cond.place(Z))


def test_forgetting_twice_is_forgetting_once_in_any_order():
    cond = conditions()
    both = cond.without(text=True, frames=True)
    for same in (both.without(text=True, frames=True), cond.without(text=True).without(frames=True)):
        assert same.text is both.text
        assert torch.equal(same.known, both.known)
        assert torch.equal(same.frames, both.frames)


def test_forgetting_changes_neither_the_original_nor_what_was_not_named():
    cond = conditions()
    assert cond.without() is cond
    forgetful = cond.without(text=True, frames=True)
    assert cond.known.any()
    assert cond.text is not cond.empty_text
    assert forgetful.micro is cond.micro
    assert forgetful.known.shape == cond.known.shape
    assert forgetful.frames.shape == cond.frames.shape


def test_a_value_per_frame_multiplies_every_value_of_its_frame():
    value = torch.arange(8.0).view(2, 4)
    assert torch.equal((per_frame(value) * torch.ones_like(Z)).mean((2, 3, 4)), value)
