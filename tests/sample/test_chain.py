"""Laws of long videos: any length, no frame decoded and encoded again, the beginning that of the first window."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tiny import save_tiny
from vitascope.conditions import micro_conditions
from vitascope.sample import chain
from vitascope.sample.chain import _window, borders, long_or_short, rollout
from vitascope.sample.generate import decode
from vitascope.sample.latents import _noise, conditions_of, sample_latents
from vitascope.sample.legal import Legal, legalise
from vitascope.sample.loading import load
from vitascope.sample.model import Model
from vitascope.system import VideoModel
from vitascope.types import Clip, Framing, Request, UserError, generator_for


@pytest.mark.parametrize(("window", "overlap"), [(4, 1), (8, 2), (14, 3)])
def test_the_overlap_is_handed_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int, overlap: int
) -> None:
    model = load(save_tiny(tmp_path, num_frames=window), "cpu").system
    length = 3 * window
    windows: list[Tensor] = []

    def seen(*args: object, **options: object) -> Tensor:
        windows.append(sample_latents(*args, **options))  # type: ignore[arg-type]
        return windows[-1]

    monkeypatch.setattr(chain, "sample_latents", seen)
    made = rollout(model, [legalise(model, Request("x", num_frames=length))])
    assert made.shape == (1, length, 4, 2, 2)
    assert len(windows) == 1 + -(-2 * window // (window - overlap))
    for before, after in pairwise(windows):
        assert torch.equal(before[:, -overlap:], after[:, :overlap])
        assert not torch.allclose(before[:, 0], after[:, -1])
    assert torch.equal(made[:, :window], windows[0])


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


def test_a_late_picture_is_refused_before_anything_is_sampled(model: Model) -> None:
    rules, steps = {"image_first": True}, list[int]()
    worded = Request("x", num_frames=6, rules=rules)
    late = Request("x", num_frames=6, rules=rules, frames={5: torch.zeros(3, 16, 16)})
    legal = [legalise(model.system, one) for one in (worded, late)]
    with pytest.raises(UserError, match="frame 5 was given"):
        long_or_short(model.system, legal, progress=lambda done, _steps, _z: steps.append(done))
    assert not steps


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


@pytest.mark.parametrize("num_frames", [6, 10, 14])
def test_keyframes_stay_as_they_were_made_and_the_rest_lies_between(
    model: Model, monkeypatch: pytest.MonkeyPatch, num_frames: int
) -> None:
    made: list[tuple[list[Legal], Tensor]] = []

    def seen(system: VideoModel, legal: list[Legal], **options: object) -> Tensor:
        made.append((legal, sample_latents(system, legal, **options)))  # type: ignore[arg-type]
        return made[-1][1]

    monkeypatch.setattr(chain, "sample_latents", seen)
    asked = [Request("x", num_frames=num_frames, seed=seed, rules={"keyframe_stride": 3}) for seed in (1, 2)]
    legal = [legalise(model.system, request) for request in asked]
    whole = long_or_short(model.system, legal)
    assert whole.shape == (2, num_frames, 4, 2, 2)
    gaps = [(one, gap) for legal, latents in made[1:] for one, gap in zip(legal, latents, strict=True)]
    between = [(one.made, gap) for one, gap in gaps if list(one.made) == [0, 3]]
    assert between
    keys = made[0][1]
    for number in range(0, min(num_frames, 3 * keys.shape[1]), 3):
        assert torch.equal(whole[:, number], keys[:, number // 3])
    for given, gap in between:
        assert torch.equal(gap[0], given[0]) and torch.equal(gap[3], given[3])
    assert not torch.allclose(whole[:, 1], whole[:, 4])


def test_keyframes_are_told_of_by_the_stride(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []

    def seen(system: VideoModel, legal: list[Legal], **options: object) -> Tensor:
        told.append(8.0 / legal[0].fps)
        return sample_latents(system, legal, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(chain, "sample_latents", seen)
    model.fulfil(Request("x", num_frames=10, rules={"keyframe_stride": 3}))
    assert told == pytest.approx([3.0, 1.0])


def test_a_keyframed_video_begins_with_its_picture_and_does_not_depend_on_its_batch(model: Model) -> None:
    picture = torch.rand(3, 16, 16, generator=generator_for(0, "picture"))
    wanted = [
        Request("x", frames={0: picture}, num_frames=10, seed=seed, rules={"keyframe_stride": 3}) for seed in (1, 2)
    ]
    one, other = model.batch(wanted)
    torch.testing.assert_close(model.fulfil(wanted[1]).pixels, other.pixels, atol=1e-4, rtol=0)
    torch.testing.assert_close(one.pixels[0], other.pixels[0], atol=1e-5, rtol=0)
    assert not torch.allclose(one.pixels[3], other.pixels[3], atol=1e-3)


def test_of_more_pictures_than_the_first_and_of_short_videos_there_are_no_keyframes(model: Model) -> None:
    picture = torch.zeros(3, 16, 16)
    for request in (Request("x", num_frames=4), Request("x", frames={0: picture, 1: picture}, num_frames=8)):
        plain, keyed = (model.fulfil(replace(request, rules={"keyframe_stride": stride})).pixels for stride in (0, 3))
        assert torch.equal(plain, keyed)


@pytest.mark.parametrize("stride", [1, 4, 15])
def test_a_stride_that_no_window_spans_is_refused(model: Model, stride: int) -> None:
    with pytest.raises(UserError, match="from 2 to 3"):
        model.fulfil(Request("x", num_frames=8, rules={"keyframe_stride": stride}))


def test_progress_counts_keyframes_and_gaps(model: Model) -> None:
    seen: list[tuple[int, int]] = []
    request = Request(
        "x", num_frames=18, steps=2, rules={"keyframe_stride": 3}
    )  # 7 keyframes in 2 windows, 6 gaps in 2 groups
    model.fulfil(request, progress=lambda done, steps, z: seen.append((done, steps)))
    assert seen == [(done, 8) for done in range(1, 9)]


def test_where_known_frames_run_through_all_of_it_a_long_video_is_made_in_one_walk(model: Model) -> None:
    pictures = {number: torch.rand(3, 16, 16, generator=generator_for(number)) for number in range(0, 10, 2)}
    steps: list[int] = []
    clip = model.fulfil(
        Request("x", frames=pictures, num_frames=10, steps=2), progress=lambda done, all_, z: steps.append(all_)
    )
    assert steps == [2, 2]
    given = model.encode_decode(Clip(torch.stack([(p * 255).round() / 255 for p in pictures.values()])))
    torch.testing.assert_close(clip.pixels[::2], given.pixels, atol=1e-4, rtol=0)


def test_borders_are_where_chunks_meet() -> None:
    assert borders(16, 16, 0) == borders(16, 16, 15) == []
    assert borders(46, 16, 15) == [15, 30]
    assert borders(40, 16, 0) == [16, 28]


FIRST = {"image_first": True}
TOLD = {**FIRST, "first_frame_told": True}


@pytest.mark.parametrize("rules", [FIRST, {**FIRST, "keyframe_stride": 3}])
@pytest.mark.parametrize("num_frames", [2, 4, 10])
def test_with_image_first_a_video_begins_with_the_picture_of_its_words(
    model: Model, num_frames: int, rules: dict[str, object]
) -> None:
    alone, wanted = (Request("x", num_frames=length, seed=3) for length in (1, num_frames))
    made = model.fulfil(replace(wanted, rules=rules)).pixels
    torch.testing.assert_close(made[:1], model.fulfil(alone).pixels, atol=1e-5, rtol=0)
    assert not torch.allclose(made, model.fulfil(wanted).pixels, atol=1e-3)


@pytest.mark.parametrize(("num_frames", "stride", "fps"), [(2, 0, 8.0), (10, 0, 8.0), (4, 3, 8.0), (10, 3, 8.0 / 3)])
def test_a_picture_that_is_told_to_be_a_first_frame_is_asked_for_as_lessons_show_it(
    model: Model, num_frames: int, stride: int, fps: float
) -> None:
    system = model.system
    alone = legalise(system, Request("x", num_frames=1, seed=3, fps=fps))
    told = replace(alone, is_first_frame=True)
    own = system.config.defaults
    shown = micro_conditions([Framing(own.size, stride=own.fps / fps)], own.num_frames)  # of a clip's first frame
    assert torch.equal(conditions_of(system, [told]).micro, shown)
    wanted = Request("x", num_frames=num_frames, seed=3, rules={**TOLD, "keyframe_stride": stride})
    first, other = (decode(system, sample_latents(system, [one])[0]) for one in (told, alone))
    torch.testing.assert_close(model.fulfil(wanted).pixels[:1], first, atol=1e-5, rtol=0)
    assert not torch.allclose(first, other, atol=1e-3)


def test_only_the_first_picture_of_a_video_is_told_to_be_one(model: Model) -> None:
    alone = Request("x", num_frames=1, seed=3)
    assert torch.equal(model.fulfil(replace(alone, rules=TOLD)).pixels, model.fulfil(alone).pixels)


def test_whatever_shares_a_batch_a_video_is_made_in_its_own_way(model: Model) -> None:
    rules = {**TOLD, "keyframe_stride": 3}  # not heeded where a given frame lies within: then it is rolled out
    within = Request("x", {2: torch.rand(3, 16, 16, generator=generator_for(0, "picture"))}, num_frames=10, rules=rules)
    words = [Request("x", seed=seed, num_frames=10, rules=rules) for seed in (1, 2)]
    wanted = [words[0], within, words[1]]
    for one, clip in zip(wanted, model.batch(wanted), strict=True):
        torch.testing.assert_close(clip.pixels, model.fulfil(one).pixels, atol=1e-4, rtol=0)
    rolled_out = model.fulfil(replace(words[0], rules=TOLD)).pixels
    assert not torch.allclose(model.fulfil(words[0]).pixels, rolled_out, atol=1e-3)


def test_the_first_picture_may_have_a_scale_of_its_own(model: Model) -> None:
    alone, video = (Request("x", num_frames=length, seed=3) for length in (1, 4))
    rules = {**FIRST, "picture_guidance": 5.0}
    first = model.fulfil(replace(video, rules=rules)).pixels[:1]
    assert torch.equal(
        model.fulfil(replace(alone, rules=rules)).pixels, model.fulfil(replace(alone, guidance=5.0)).pixels
    )
    torch.testing.assert_close(first, model.fulfil(replace(alone, guidance=5.0)).pixels, atol=1e-5, rtol=0)
    assert not torch.allclose(first, model.fulfil(alone).pixels, atol=1e-3)

    picture = torch.rand(3, 16, 16, generator=generator_for(0, "picture"))
    given = Request("x", frames={0: picture}, rules=rules)
    for num_frames in (4, 8):  # beside a request that has its first frame, and rolled out
        wanted = [replace(one, num_frames=num_frames, rules=rules) for one in (given, video)]
        together = model.batch(wanted)
        for one, clip in zip(wanted, together, strict=True):
            torch.testing.assert_close(model.fulfil(one).pixels, clip.pixels, atol=1e-4, rtol=0)


def test_image_first_is_for_words_alone_and_does_not_depend_on_the_batch(model: Model) -> None:
    picture = torch.rand(3, 16, 16, generator=generator_for(0, "picture"))
    given, words = Request("x", frames={0: picture}, rules=FIRST), Request("x", seed=1, rules=FIRST)
    with_picture, without = model.batch([given, words])
    torch.testing.assert_close(with_picture.pixels, model.fulfil(replace(given, rules={})).pixels, atol=1e-4, rtol=0)
    torch.testing.assert_close(without.pixels, model.fulfil(words).pixels, atol=1e-4, rtol=0)


def test_progress_counts_the_first_picture_as_one_frame_more(model: Model) -> None:
    seen: list[float] = []
    request = Request("x", num_frames=4, steps=8, rules=FIRST)
    model.fulfil(request, progress=lambda done, steps, z: seen.append(done / steps))
    assert seen == sorted(seen) and seen[7] == pytest.approx(1 / 5) and seen[-1] == 1 and len(seen) == 16
