"""Laws of errors: parts add up, and known errors have known values."""

from __future__ import annotations

import pytest
import torch

from vitascope.evaluate.metrics.paired import SquaredError, squared_error
from vitascope.types import generator_for


def test_parts_add_up_to_the_whole():
    made, true = torch.rand(2, 5, 3, 4, 4, generator=generator_for(0))
    whole = squared_error(made, true)
    parts = squared_error(made[:2], true[:2]) + squared_error(made[2:], true[2:]) + SquaredError()
    assert parts.count == whole.count
    assert parts.total == pytest.approx(whole.total)


@pytest.mark.parametrize(("off", "psnr"), [(0.1, 20), (0.01, 40), (0.0, 100)])
def test_an_even_error_has_a_known_psnr(off: float, psnr: float):
    true = torch.zeros(2, 3, 4, 4)
    assert squared_error(true + off, true).psnr == pytest.approx(psnr, abs=1e-3)


def test_where_nothing_was_compared_there_is_no_psnr():
    assert SquaredError().psnr is None
    assert squared_error(torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4)).psnr is None
