"""The contrast of captions against what it must be."""

from __future__ import annotations

import math

import pytest
import torch

from vitascope.objectives.contrast import ContrastConfig


def test_partners_that_are_equal_and_alone_cost_nothing() -> None:
    rows = torch.eye(4)
    loss = ContrastConfig(temperature=0.01).build().loss(rows, rows)
    assert loss.total.item() == pytest.approx(0, abs=1e-6)
    assert loss.parts["found"] == 1


def test_rows_that_tell_nothing_cost_the_logarithm_of_their_number() -> None:
    loss = ContrastConfig().build().loss(torch.ones(8, 3), torch.ones(8, 3))
    assert loss.total.item() == pytest.approx(math.log(8))


def test_neither_side_nor_length_matters() -> None:
    rng = torch.Generator().manual_seed(0)
    ones, others = torch.randn(2, 6, 5, generator=rng)
    contrast = ContrastConfig().build()
    assert contrast.loss(ones, others).total == pytest.approx(contrast.loss(3 * others, 2 * ones).total.item())
