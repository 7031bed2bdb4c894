"""Laws of long videos: any length, no frame decoded and encoded again, the beginning that of the first window."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tiny import save_tiny
from vitascope.sample import chain
from vitascope.sample.chain import _window, rollout
from vitascope.sample.latents import _noise, sample_latents
from vitascope.sample.legal import legalise
from vitascope.sample.model import Model, load
from vitascope.types import Request, UserError, generator_for


@pytest.mark.parametrize("overlap", [1, 2, 3])
def test_the_overlap_is_handed_on_bit_for_bit(model: Model, monkeypatch: pytest.MonkeyPatch, overlap: int) -> None:
    windows: list[Tensor] = []

    def seen(*args: object, **options: object) -> Tensor:
        windows.append(sample_latents(*args, **options))  # type: ignore[arg-type]
        return windows[-1]

    monkeypatch.setattr(chain, "sample_latents", seen)
    made = rollout(model.system, [legalise(model.system, Request("x", num_frames=10))], overlap=overlap)
    assert made.shape == (1, 10, 4, 2, 2)
    assert len(windows) == 1 + -(-6 // (4 - overlap))
    for before, after in pairwise(windows):
        assert torch.equal(before[:, -overlap:], after[:, :overlap])
        assert not torch.allclose(before[:, 0], after[:, -1])
    assert torch.equal(made[:, :4], windows[0])


@pytest.mark.parametrize("num_frames", [2, 4, 6, 20])
def test_any_length_begins_like_the_first_window(model: Model, num_frames: int) -> None:
    long = model.generate("x", seed=3, num_frames=num_frames)
    assert long.num_frames == num_frames
    if num_frames > 4:
        torch.testing.assert_close(long.pixels[:4], model.generate("x", seed=3).pixels, atol=1e-5, rtol=0)


def test_long_videos_do_not_depend_on_their_batch(model: Model) -> None:
    wanted = [Request("x", num_frames=8, seed=seed) for seed in (1, 2)]
    one, other = model.batch(wanted)
    torch.testing.assert_close(model.fulfil(wanted[1]).pixels, other.pixels, atol=1e-4, rtol=0)
    assert not torch.allclose(one.pixels, other.pixels, atol=1e-2)


def test_progress_counts_all_windows(model: Model) -> None:
    seen: list[tuple[int, int]] = []
    model.generate("x", num_frames=6, steps=2, progress=lambda done, steps, z: seen.append((done, steps)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_picture_that_the_rollout_would_only_reach_later_is_refused(model: Model) -> None:
    picture = torch.zeros(3, 16, 16)
    model.generate("x", frames={0: picture, 3: picture}, num_frames=6)
    with pytest.raises(UserError, match=r"frame 5 was given, but .* grows from its beginning"):
        model.generate("x", frames={0: picture, -1: picture}, num_frames=6)


def test_an_overlap_of_nothing_or_everything_is_a_mistake(model: Model) -> None:
    one = legalise(model.system, Request("x", num_frames=6))
    for overlap in (0, 4):
        with pytest.raises(ValueError, match="from 1 to 3"):
            rollout(model.system, [one], overlap=overlap)


def test_no_window_of_a_seed_has_the_noise_of_another_window_or_seed(model: Model) -> None:
    shape, noises = torch.Size((4, 4, 2, 2)), []
    for seed in range(3):
        one = legalise(model.system, Request("x", seed=seed))
        noises += [_noise(_window(one, number, 4, {}), shape) for number in range(3)]
        assert torch.equal(noises[-3], torch.randn(shape, generator=generator_for(seed, "noise")))
    assert len({noise.sum().item() for noise in noises}) == len(noises)


def test_models_of_few_frames_roll_out_and_models_of_one_say_so(tmp_path: Path) -> None:
    short = load(save_tiny(tmp_path / "short", num_frames=2), "cpu")
    assert short.generate("x", num_frames=6, steps=1).num_frames == 6
    pictures = load(save_tiny(tmp_path / "pictures", num_frames=1), "cpu")
    with pytest.raises(UserError, match="makes single pictures and was asked for 4 frames; ask for 1"):
        pictures.generate("x", num_frames=4)
