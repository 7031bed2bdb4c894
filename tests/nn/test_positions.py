"""Laws of positions: rotation keeps lengths and sees differences only; interpolation stays in the trained range."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitascope.nn.positions import interpolated, rotary_1d, rotary_2d, rotate, sincos_2d
from vitascope.types import generator_for

DIM = 32


def draw(*shape: int, name: str = "") -> torch.Tensor:
    return torch.randn(shape, generator=generator_for(0, "positions", name, *shape))


def places(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)


def test_rotation_keeps_lengths():
    x = draw(2, 3, 7, DIM)
    turned = rotate(x, rotary_1d(torch.arange(7).float(), DIM))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_nothing_turns_at_position_zero():
    x = draw(1, DIM)
    torch.testing.assert_close(rotate(x, rotary_1d(places(0), DIM)), x)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(-100, 100))
def test_products_depend_on_the_difference_of_positions_only(one, other, shift):
    q, k = draw(1, DIM, name="q"), draw(1, DIM, name="k")

    def product(here, there):
        return (rotate(q, rotary_1d(places(here), DIM)) * rotate(k, rotary_1d(places(there), DIM))).sum()

    torch.testing.assert_close(product(one, other), product(one + shift, other + shift), atol=1e-3, rtol=0)


def test_products_in_two_dimensions_depend_on_both_differences():
    q, k = draw(1, DIM, name="q"), draw(1, DIM, name="k")

    def product(here, there):
        (row, column), (to_row, to_column) = here, there
        turned = rotate(q, rotary_2d(places(row), places(column), DIM))
        return (turned * rotate(k, rotary_2d(places(to_row), places(to_column), DIM))).sum()

    base = product((1, 2), (4, 7))
    torch.testing.assert_close(product((11, 5), (14, 10)), base, atol=1e-3, rtol=0)
    assert (product((1, 2), (5, 7)) - base).abs() > 0.01
    assert (product((1, 2), (4, 8)) - base).abs() > 0.01


def test_rows_turn_the_first_half_of_a_head_and_columns_the_second():
    x = draw(1, DIM)
    by_row, by_column = (rotate(x, rotary_2d(places(r), places(c), DIM)) for r, c in ((3, 0), (0, 3)))
    half = DIM // 2
    torch.testing.assert_close(by_row[:, half:], x[:, half:])
    torch.testing.assert_close(by_column[:, :half], x[:, :half])
    torch.testing.assert_close(by_row[:, :half], rotate(x[:, :half], rotary_1d(places(3), half)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation_keeps_the_precision_of_its_input(dtype):
    assert rotate(draw(3, DIM).to(dtype), rotary_1d(torch.arange(3).float(), DIM)).dtype == dtype


@pytest.mark.parametrize("length", [1, 5, 8, 9, 16, 21])
def test_interpolated_positions_stay_in_the_trained_range_and_short_grids_are_untouched(length):
    positions = interpolated(length, 8)
    assert positions[0] == 0
    assert positions[-1] < 8
    steps = positions.diff()
    torch.testing.assert_close(steps, torch.full_like(steps, min(1, 8 / length)))


def test_a_grid_twice_as_long_holds_the_trained_positions():
    torch.testing.assert_close(interpolated(16, 8)[::2], interpolated(8, 8))


def test_sincos_positions_differ_between_any_two_tokens():
    row, column = torch.arange(6).repeat_interleave(5).float(), torch.arange(5).repeat(6).float()
    table = sincos_2d(row, column, 32)
    assert table.shape == (30, 32)
    apart = torch.cdist(table, table) + torch.eye(30)
    assert apart.min() > 0.1
