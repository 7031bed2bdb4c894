"""Laws of windows: any length, no seam, and nothing changed where the windows agree."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vitascope.conditions import MICRO, Conditions, TextFeatures
from vitascope.noise import Estimate, Straight, mix
from vitascope.samplers.solvers import euler, integrate, levels
from vitascope.samplers.windows import ramp, window_starts, windowed

PATH = Straight()


def conditions(num_frames: int, known: int = 0) -> Conditions:
    text = TextFeatures(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 2))
    given = torch.arange(num_frames)[None] < known
    frames = torch.arange(num_frames).float().view(1, -1, 1, 1, 1).expand(-1, -1, 2, 3, 3)
    micro = torch.zeros(1, len(MICRO))
    return Conditions(given, frames * given[:, :, None, None, None], text, text, micro)


@pytest.mark.parametrize("num_frames", [3, 8, 9, 20, 31])
@pytest.mark.parametrize("overlap", [0, 1, 4, 7])
def test_windows_cover_every_frame_and_share_what_they_should(num_frames: int, overlap: int) -> None:
    if num_frames <= 8:
        return
    starts = window_starts(num_frames, 8, overlap)
    assert {frame for start in starts for frame in range(start, start + 8)} == set(range(num_frames))
    assert all(before + 8 - after >= overlap for before, after in pairwise(starts))
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("num_frames", [8, 10, 21])
def test_where_each_window_is_right_the_whole_is_right(num_frames: int) -> None:
    truth = torch.randn(1, num_frames, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))

    def knows(z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
        """Finds the window by the noise that it began with, and says what is true of it."""
        assert z.shape[1] <= 8
        places = [k for k in range(num_frames - z.shape[1] + 1) if torch.allclose(start_of(k, z, level), z, atol=1e-4)]
        here = slice(places[0], places[0] + z.shape[1])
        return Estimate(truth[:, here], noise[:, here])

    def start_of(k: int, z: Tensor, level: Tensor) -> Tensor:
        here = slice(k, k + z.shape[1])
        return mix(PATH, Estimate(truth[:, here], noise[:, here]), level)

    estimate = windowed(knows, 8, 4)
    made = integrate(euler, PATH, estimate, noise, levels(5), conditions(num_frames))
    torch.testing.assert_close(made, truth, atol=1e-4, rtol=0)


def test_windows_that_disagree_pass_into_each_other_without_a_step() -> None:
    """Each window wants another brightness. Put side by side they would jump; blended they cannot, by the overlap."""
    calls: list[int] = []

    def wants(z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
        calls.append(len(calls))
        return Estimate(torch.full_like(z, float(calls[-1] % 2)), torch.zeros_like(z))

    z, level = torch.zeros(1, 24, 1, 1, 1), torch.ones(1, 24)
    for overlap in (0, 2, 4):
        calls.clear()
        clean = windowed(wants, 8, overlap)(z, level, conditions(24)).clean[0, :, 0, 0, 0]
        assert clean.diff().abs().max().item() == pytest.approx(1 / (overlap + 1))
        assert clean.min() >= 0 and clean.max() <= 1


def test_a_window_is_told_of_its_own_frames_only_and_how_many_they_are() -> None:
    seen: list[Conditions] = []

    def looks(z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
        seen.append(cond)
        return Estimate(z, z)

    cond = conditions(12, known=6)
    windowed(looks, 8, 4)(torch.zeros(1, 12, 2, 3, 3), torch.ones(1, 12), cond)
    assert [one.known.tolist() for one in seen] == [[[True] * 6 + [False] * 2], [[True] * 2 + [False] * 6]]
    assert torch.equal(seen[1].frames[:, 0], cond.frames[:, 4])
    assert [one.micro[0, MICRO.index("num_frames")].item() for one in seen] == [8, 8]
    assert not cond.micro.any()  # what came is left alone


def test_a_video_of_one_window_is_the_estimate_itself() -> None:
    def twice(z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
        return Estimate(2 * z, z)

    z = torch.randn(1, 6, 1, 1, 1)
    assert torch.equal(windowed(twice, 8, 4)(z, torch.ones(1, 6), conditions(6)).clean, 2 * z)


def test_weights_rise_and_fall_alike() -> None:
    for overlap in (0, 3, 4, 7):
        weight = ramp(8, overlap)
        assert torch.equal(weight, weight.flip(0))
        assert weight.min() > 0 and weight.max() <= 1
    assert torch.equal(ramp(8, 0), torch.ones(8))


def test_all_or_more_than_a_window_cannot_be_shared() -> None:
    for overlap in (-1, 8):
        with pytest.raises(ValueError, match="0 to 7"):
            windowed(lambda z, level, cond: Estimate(z, z), 8, overlap)
