"""Laws of the renderer: the same world at every size, length and rate, with exactly the colours of the palette."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from vitascope import toyland
from vitascope.toyland.render import BLOCKS, SHAPES
from vitascope.toyland.sampling import TOO_ALIKE, WEIGHTS
from vitascope.toyland.scene import BACKGROUNDS, COLOURS, PLAIN, Scene, Thing

AREAS = {
    "circle": math.pi,
    "square": 1.64**2,
    "triangle": 0.75 * math.sqrt(3),
    "star": 10 * 0.5 * 0.45 * math.sin(math.radians(36)),
    "ring": math.pi * (1 - 0.55**2),
    "cross": 4 * 1.9 * 0.31 - 0.62**2,
    "diamond": 1.4,
}


@cache
def sampled(kind: str) -> list[Scene]:
    return [toyland.sample(random.Random(seed), kind) for seed in range(3)]


def drawn(scene: Scene, num_frames: int = 16, height: int = 64, width: int = 64, fps: float = 8.0) -> torch.Tensor:
    return toyland.render(scene, num_frames, height, width, fps).pixels


def portrait(shape: str = "circle", colour: str = "red", radius: float = 0.3, background: str = "black") -> Scene:
    return Scene((Thing(shape, colour, "large", radius=radius),), background)


def as_bytes(pixels: torch.Tensor) -> list[int]:
    return (pixels * 255).round().int().tolist()


def palette(colour: str) -> torch.Tensor:
    return torch.tensor({**COLOURS, **PLAIN}[colour], dtype=torch.float32) / 255


@pytest.mark.parametrize("kind", WEIGHTS)
def test_drawing_is_deterministic_and_in_range(kind):
    for scene in sampled(kind):
        clip = toyland.render(scene)
        assert clip.pixels.shape == (16, 3, 64, 64) and clip.pixels.dtype == torch.float32
        assert clip.pixels.min() >= 0 and clip.pixels.max() <= 1
        assert (clip.fps, clip.caption) == (8.0, toyland.caption(scene))
        assert torch.equal(clip.pixels, drawn(scene))


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_frame_depends_on_its_time_only(kind):
    for scene in sampled(kind):
        assert torch.equal(drawn(scene, 5, fps=4.0), drawn(scene, 9, fps=8.0)[::2])
        assert torch.equal(drawn(scene, 3, fps=4.0), drawn(scene, 5, fps=4.0)[:3])


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_large_clip_made_small_is_near_the_small_one(kind):
    for scene in sampled(kind):
        error = (avg_pool2d(drawn(scene, 4, 128, 128, 2.0), 2) - drawn(scene, 4, fps=2.0)).abs()
        assert error.mean() < 0.003 and error.quantile(0.995) < 0.15


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_wide_clip_shows_more_to_the_sides(background):
    scene = replace(portrait(), background=background)
    assert torch.allclose(drawn(scene, 1, 64, 112)[..., 24:-24], drawn(scene, 1), atol=1e-5)
    assert torch.allclose(drawn(scene, 1, 112, 64)[..., 24:-24, :], drawn(scene, 1), atol=1e-5)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("background", PLAIN)
def test_colours_are_exactly_those_of_the_palette(background, colour):
    (frame,) = drawn(portrait(colour=colour, background=background), 1)
    assert as_bytes(frame[:, 32, 32]) == list(COLOURS[colour])
    assert as_bytes(frame[:, 0, 0]) == list(PLAIN[background])


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_no_thing_is_sampled_on_a_background_of_nearly_its_colour(background):
    (picture,) = drawn(replace(portrait(radius=1e-6), background=background), 1)
    for colour in set(COLOURS) - set(TOO_ALIKE.get(background, ())):
        assert (picture - palette(colour)[:, None, None]).norm(dim=0).min() > 90 / 255, colour


@pytest.mark.parametrize("radius", [0.15, 0.4])
@pytest.mark.parametrize("shape", AREAS)
def test_shapes_have_the_area_of_their_geometry(shape, radius):
    (frame,) = drawn(portrait(shape, "white", radius), 1)
    cover = (frame[0] - palette("black")[0]) / (palette("white")[0] - palette("black")[0])
    assert cover.sum() / 32**2 == pytest.approx(AREAS[shape] * radius**2, rel=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_centre_of_area_is_the_place_of_the_thing(shape):
    scene = portrait(shape, "white")
    scene = replace(scene, things=(replace(scene.things[0], x=0.21, y=-0.33),))
    (frame,) = drawn(scene, 1)
    cover = (frame[0] - palette("black")[0]).numpy()
    middle = (np.arange(64) + 0.5) / 32 - 1
    assert (cover.sum(0) @ middle) / cover.sum() == pytest.approx(0.21, abs=0.005)
    assert (cover.sum(1) @ middle) / cover.sum() == pytest.approx(-0.33, abs=0.005)


@pytest.mark.parametrize("background", sorted(set(BACKGROUNDS) - set(PLAIN)))
def test_the_camera_moves_everything(background):
    still = replace(portrait(), background=background, seed=3)
    right = drawn(replace(still, camera="pans right"), 9)
    assert torch.allclose(right[8, :, :, :56], right[0, :, :, 8:], atol=1e-4)  # a quarter of a unit in a second
    down = drawn(replace(still, camera="tilts down"), 9)
    assert torch.allclose(down[8, :, :56], down[0, :, 8:], atol=1e-4)
    closer = drawn(replace(still, camera="zooms in"), 2, 60, 60, fps=0.5)
    assert torch.allclose(closer[0], drawn(still, 1, 60, 60)[0])
    assert (closer[1] - drawn(still, 1, 90, 90)[0, :, 15:-15, 15:-15]).abs().mean() < 0.004


def test_what_passes_behind_is_hidden():
    scene = toyland.parse("a small red star passes behind a large blue square on a black background")
    red = [(frame - palette("red")[:, None, None]).abs().sum(0).min() < 0.05 for frame in drawn(scene, 17)]
    assert red[0] and red[16] and not red[8]


def test_what_is_off_is_not_drawn():
    scene = toyland.parse("a small red star blinks on a black background")
    empty = [bool((frame == frame[:, :1, :1]).all()) for frame in drawn(scene)]
    assert empty == [not toyland.pose(scene.things[0], index / 8).visible for index in range(16)]
    assert 5 <= sum(empty) <= 6


@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"ring"}))
def test_a_line_drawing_is_empty_inside(shape):
    scene = replace(portrait(shape, radius=0.4), style="as a line drawing")
    (frame,) = drawn(scene, 1)
    assert torch.equal(frame[:, 32, 32], palette("black"))
    assert (frame - palette("red")[:, None, None]).norm(dim=0).min() < 0.1


def test_black_and_white_has_no_colour():
    scene = toyland.sample(random.Random(0), "one")
    grey = drawn(replace(scene, style="in black and white"))
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 0], grey[:, 2])
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert torch.allclose((drawn(scene) * weights).sum(1), grey[:, 0], atol=1e-5)


@pytest.mark.parametrize("height, width", [(64, 64), (48, 96), (128, 128)])
@pytest.mark.parametrize("background", ["navy", "beach"])
def test_pixel_art_is_made_of_even_blocks(background, height, width):
    scene = replace(portrait(background=background), style="as pixel art")
    frames = drawn(scene, 2, height, width)
    side = min(height, width) // BLOCKS
    corners = frames[..., ::side, ::side]
    assert torch.equal(corners.repeat_interleave(side, -1).repeat_interleave(side, -2), frames)
    assert as_bytes(frames[0, :, height // 2, width // 2]) == list(COLOURS["red"])


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"height": 0}, {"width": -1}, {"fps": 0.0}])
def test_impossible_clips_are_refused(wrong):
    with pytest.raises(ValueError, match="needs frames, rows, columns"):
        toyland.render(portrait(), **wrong)
