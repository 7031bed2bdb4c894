"""Laws of hiding tokens: what is seen comes back in its place, and nothing else does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vitascope.nn.masking import Visible


def cells(*, in_time: bool) -> Tensor:
    """Half of the 2x2 cells of a 4x4 latent of two samples; with `in_time` in two of six frames only."""
    half = torch.zeros(2, 4, 4, dtype=torch.bool)
    half[0, :2], half[1, :, 2:] = True, True
    if not in_time:
        return half
    frames = torch.zeros(2, 6, dtype=torch.bool)
    frames[0, :2], frames[1, 4:] = True, True
    return half[:, None] & frames[:, :, None, None]


@pytest.mark.parametrize("in_time", [False, True])
def test_what_was_seen_comes_back_among_blanks(in_time: bool) -> None:
    kept = Visible.of_cells(cells(in_time=in_time), (2, 2))
    x = torch.randn(2, 3, 4, 5)  # three cubes in time, four places
    blank = torch.full_like(x, 7.0)
    seen = kept.tokens(x)
    assert seen.shape == (2, 1 if in_time else 3, 2, 5)
    back = kept.restore(seen, blank)
    is_seen = torch.zeros(2, 3, 4, dtype=torch.bool)
    is_seen[0, slice(0, 1) if in_time else slice(None), :2] = True
    is_seen[1, slice(2, 3) if in_time else slice(None), 1::2] = True
    assert torch.equal(back[is_seen], x[is_seen])
    assert (back[~is_seen] == 7).all()


def test_samples_that_keep_different_numbers_are_refused() -> None:
    uneven = cells(in_time=False)
    uneven[0, 2:, :2] = True
    with pytest.raises(ValueError, match="the same number of tokens"):
        Visible.of_cells(uneven, (2, 2))
