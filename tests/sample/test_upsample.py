"""Laws of upsampling: given frames stay, time stays, any length, and no seam that the oracle could see."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tiny import save_tiny
from vitascope import media, toyland
from vitascope.conditions import MICRO, Conditions, TextFeatures
from vitascope.evaluate.lasting import evenness, mean
from vitascope.noise import Estimate, Straight
from vitascope.sample.legal import legalise, request_of
from vitascope.sample.loading import load_own
from vitascope.sample.model import OwnModel
from vitascope.sample.upsample import doubled, upsample
from vitascope.samplers.solvers import euler, integrate, levels
from vitascope.samplers.windows import window_starts, windowed
from vitascope.types import Clip, Request, UserError, generator_for


@pytest.fixture(scope="module")
def tup(tmp_path_factory: pytest.TempPathFactory) -> OwnModel:
    return load_own(save_tiny(tmp_path_factory.mktemp("tup"), fps=16.0, stride=0.5), "cpu")


def noise_clip(num_frames: int) -> Clip:
    pixels = torch.rand(num_frames, 3, 16, 16, generator=generator_for(num_frames))
    return Clip((pixels * 255).round() / 255, 8.0, caption="something moves")


@pytest.mark.parametrize(("num_frames", "times"), [(2, 2), (5, 2), (3, 4), (2, 8)])
def test_time_stays_and_given_frames_come_back_as_the_autoencoder_gives_them(
    tup: OwnModel, num_frames: int, times: int
) -> None:
    clip = noise_clip(num_frames)
    made = upsample(tup, clip, Request("x"), times)
    assert (made.num_frames, made.fps) == (times * num_frames, 8.0 * times)
    assert made.seconds == clip.seconds
    if times == 2:
        torch.testing.assert_close(made.pixels[::2], tup.encode_decode(clip).pixels, atol=1e-4, rtol=0)
        other = upsample(tup, clip, Request("x", seed=1), 2)
        torch.testing.assert_close(made.pixels[::2], other.pixels[::2], atol=1e-4, rtol=0)
        assert not torch.allclose(made.pixels[1::2], other.pixels[1::2], atol=1e-3)


def test_the_text_may_be_told_or_not_and_the_file_makes_the_video_again(tup: OwnModel) -> None:
    clip = noise_clip(4)
    told, silent = (upsample(tup, clip, Request(words, guidance=1.0), 2) for words in ("a red circle", ""))
    assert not torch.allclose(told.pixels[1::2], silent.pixels[1::2], atol=1e-4)
    again = tup.fulfil(request_of(told.settings))
    torch.testing.assert_close(again.pixels, told.pixels, atol=1e-5, rtol=0)


def test_the_model_is_told_the_pace(tup: OwnModel) -> None:
    from vitascope.sample.latents import conditions_of

    clip = noise_clip(4)
    strides = []
    for fps in (8.0, 16.0):
        legal = legalise(tup.system, doubled(Clip(clip.pixels, fps), Request("x")))
        strides.append(conditions_of(tup.system, [legal]).micro[0, MICRO.index("stride")].item())
    assert strides == [0.5, 0.25]


@pytest.mark.parametrize("times", [-2, 0, 1, 3, 6])
def test_what_is_no_doubling_is_refused(tup: OwnModel, times: int) -> None:
    with pytest.raises(UserError, match="2, 4, 8"):
        upsample(tup, noise_clip(4), Request("x"), times)


def test_a_picture_is_refused(tup: OwnModel) -> None:
    with pytest.raises(UserError, match="2 frames at least"):
        upsample(tup, noise_clip(1), Request("x"), 2)


def test_the_command_doubles_a_file_and_reads_its_words(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from vitascope.cli import app

    video, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    media.write(noise_clip(4), video)
    folder = save_tiny(tmp_path / "model", fps=16.0, stride=0.5)
    done = CliRunner().invoke(app, ["upsample", str(video), "--model", str(folder), "--out", str(out), "--times", "4"])
    assert done.exit_code == 0, done.output
    made = media.read_video(out)
    assert (made.num_frames, made.fps) == (16, 32.0)
    assert media.read_settings(out)["prompt"] == "something moves"


def test_at_the_borders_of_windows_a_thing_moves_as_smoothly_as_inside() -> None:
    """A stand-in that sees each window a little displaced from the next, with the oracle as the judge of seams."""
    scene = next(
        scene
        for number in range(500)
        for scene in [toyland.sample(random.Random(number), "one", "seen")]
        if (scene.things[0].motion, scene.things[0].size, scene.background) == ("circles around", "large", "black")
    )
    clip = toyland.render(scene, 48, 64, 64, 16.0)
    truth = clip.pixels[None]
    starts = window_starts(48, 16, 8)

    def made_with(overlap: int) -> Clip:
        begins, turn = window_starts(48, 16, overlap), [0]

        def displaced(z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
            number = turn[0] % len(begins)
            turn[0] += 1
            window = truth[:, begins[number] : begins[number] + 16].roll(2 * (-1) ** number, -1)
            return Estimate(window, torch.zeros_like(window))

        text = TextFeatures(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 2))
        nothing = torch.zeros(1, 48, dtype=torch.bool)
        cond = Conditions(nothing, torch.zeros_like(truth), text, text, torch.zeros(1, len(MICRO)))
        estimate = windowed(displaced, 16, overlap)
        return Clip(integrate(euler, Straight(), estimate, torch.zeros_like(truth), levels(1), cond)[0], 16.0)

    def even(clip: Clip, borders: list[int]) -> list[float]:
        return [mean(moments) for moments in evenness(clip, scene, borders)]

    assert even(clip, starts[1:]) == [1.0, 1.0]
    across, within = even(made_with(8), starts[1:])
    assert across >= within - 0.02 and across >= 0.95
    across, within = even(made_with(0), [16, 32])  # windows side by side: the same judge finds their seams
    assert across < within - 0.3
