"""Laws of solids: what a turntable shows."""

from __future__ import annotations

import random

import pytest
import torch

from vitascope.toyland.scene import COLOURS, PLAIN
from vitascope.toyland.solids import (
    NUM_VIEWS,
    UNPAINTED,
    Solid,
    cameras,
    project,
    render_view,
    render_views,
    sample_solid,
)

CUBE = Solid("cube", ("red", "green", "blue"), "black", 0.5, 45.0, 30.0)
PYRAMID = Solid("pyramid", ("red", "green"), "grey", 0.5, 30.0, 30.0)


@pytest.mark.parametrize("solid", [CUBE, PYRAMID])
@pytest.mark.parametrize("azimuth", [0.0, 30.0, 77.0])
def test_half_a_turn_shows_the_same_since_opposite_faces_are_alike(solid: Solid, azimuth: float) -> None:
    here, behind = (render_view(solid, turned, 20.0) for turned in (azimuth, azimuth + 180))
    assert torch.allclose(here, behind, atol=0.12)  # the last bit of an edge may fall into another sample
    assert (here - behind).abs().mean() < 1e-3
    assert (here - render_view(solid, azimuth + 90, 20.0)).abs().mean() > 0.02


PALETTE = {*COLOURS.values(), *PLAIN.values(), UNPAINTED}


def colours_of(picture: torch.Tensor) -> set[tuple[int, int, int]]:
    """Those of the world that more than a few pixels have; the others are edges."""
    values, counts = (picture * 255).round().int().flatten(1).T.unique(dim=0, return_counts=True)
    found = {(int(r), int(g), int(b)) for (r, g, b), n in zip(values.tolist(), counts.tolist(), strict=True) if n > 25}
    return found & PALETTE


def test_from_above_a_cube_shows_its_top_and_a_pyramid_all_sides() -> None:
    assert colours_of(render_view(CUBE, 10.0, 90.0)) == {PLAIN["black"], COLOURS["blue"]}
    assert colours_of(render_view(PYRAMID, 10.0, 90.0)) == {PLAIN["grey"], COLOURS["red"], COLOURS["green"]}


def test_only_a_look_from_below_shows_the_base_of_a_pyramid() -> None:
    assert UNPAINTED in colours_of(render_view(PYRAMID, 30.0, -20.0))
    assert UNPAINTED not in colours_of(render_view(PYRAMID, 30.0, 30.0))


def test_the_first_view_tells_every_colour() -> None:
    for number in range(60):
        solid = sample_solid(random.Random(number))
        wanted = {COLOURS[name] for name in solid.colours}
        assert wanted < colours_of(render_views(solid)[0]), solid


def test_views_are_those_of_the_paper_and_lie_in_the_picture() -> None:
    assert cameras(CUBE)[1:] == list(zip(range(30, 331, 60), [30, -20] * 3, strict=True))
    for number in range(20):
        views = render_views(sample_solid(random.Random(number)), 32)
        assert views.shape == (NUM_VIEWS, 3, 32, 32)
        border = torch.cat([views[:, :, 0], views[:, :, -1], views[:, :, :, 0], views[:, :, :, -1]], -1)
        assert torch.equal(border, border[:, :, :1].expand_as(border))  # nothing but background


def test_what_is_nearer_looks_larger_and_the_centre_is_the_middle() -> None:
    assert project((0.0, 0.0, 0.0), 33.0, 20.0, 0.5) == pytest.approx((0.0, 0.0))
    near, far = (project((1.0, 0.0, z), 0.0, 0.0, 0.5)[0] for z in (1.0, -1.0))
    assert near > 0.5 > far
    assert project((0.0, 1.0, 0.0), 0.0, 0.0, 0.5)[1] < 0  # up is up
    assert project((0.0, 0.0, 1.0), 90.0, 0.0, 0.5)[0] < 0  # the camera goes round to the right
