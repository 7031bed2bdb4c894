"""Laws of class tokens."""

from __future__ import annotations

import pytest
import torch

from vitascope.protocols import TextEncoder
from vitascope.text.classes import Classes, ClassesConfig
from vitascope.types import UserError

CLASSES = ClassesConfig(names=("red", "green", "moves left"), width=8)


def test_each_class_has_a_token_of_its_own_and_nothing_said_has_one_too() -> None:
    encoder = CLASSES.build()
    assert isinstance(encoder, TextEncoder)
    said = encoder(["", "red", "green", "moves left", "  Moves  LEFT ", "red"])
    assert said.tokens.shape == (6, 1, 8) and said.mask.all()
    assert torch.equal(said.tokens[:, 0], said.pooled)
    assert len(said.pooled.unique(dim=0)) == 4
    assert torch.equal(said.pooled[3], said.pooled[4]) and torch.equal(said.pooled[1], said.pooled[5])


def test_the_empty_string_says_nothing() -> None:
    encoder: Classes = CLASSES.build()
    assert [encoder.count(name) for name in ("", " ", "red", "moves left")] == [0, 0, 1, 1]


def test_what_is_no_class_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="none is 'gren'; did you mean 'green'"):
        CLASSES.build().number("gren")
    with pytest.raises(UserError, match="knows classes, not texts"):
        CLASSES.build()(["a red circle"])


def test_names_are_read_as_captions_are_and_must_then_differ() -> None:
    encoder = ClassesConfig(names=("Dog", "Big  Cat"), width=8).build()
    assert [encoder.number(name) for name in ("dog", "DOG", "big cat", "Big Cat")] == [1, 1, 2, 2]
    for names in (("dog", "Dog"), ("dog", " ")):
        with pytest.raises(ValueError, match="need names that differ"):
            ClassesConfig(names=names)
