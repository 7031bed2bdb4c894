"""Laws of sampling: one way for every task, the same video for the same request, and no request silently changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from tiny import save_tiny
from vitascope.errors import is_out_of_memory
from vitascope.sample import generate as sampling
from vitascope.sample import memory
from vitascope.sample.chain import GAPS_AT_ONCE
from vitascope.sample.generate import decode, frames_at_once, generate
from vitascope.sample.latents import read_latents
from vitascope.sample.legal import departures, legalise, pictures_of, request_of, settings_of
from vitascope.sample.loading import load
from vitascope.sample.memory import free_bytes, sampling_bytes
from vitascope.sample.model import Model
from vitascope.samplers.solvers import SOLVERS
from vitascope.system import Rules, VideoModel
from vitascope.types import Clip, Request, UserError


def picture(seed: int, size: tuple[int, int] = (16, 16)) -> Float[Tensor, "3 h w"]:
    made = torch.rand(3, size[1], size[0], generator=torch.Generator().manual_seed(seed))
    return (made * 255).round() / 255


def through(model: VideoModel, shown: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """The best that the tokenizer can do."""
    with torch.no_grad():
        return model.tokenizer.decode(model.tokenizer.encode(shown[None, None]))[0, 0]


@pytest.mark.parametrize("solver", SOLVERS)
def test_same_seed_same_video_whatever_shares_its_batch(model: Model, solver: str) -> None:
    request = Request("a red circle", seed=3, solver=solver)
    others = [
        Request("something with many more words in it", seed=1, solver=solver),
        Request("blue", seed=2, solver=solver),
    ]
    alone, again = (generate(model.system, [request])[0].pixels for _ in range(2))
    assert torch.equal(alone, again)
    among = generate(model.system, [others[0], request, others[1]])[1].pixels
    torch.testing.assert_close(among, alone, atol=1e-4, rtol=0)
    assert not torch.allclose(generate(model.system, [replace(request, seed=4)])[0].pixels, alone, atol=1e-2)


@pytest.mark.parametrize(
    "known",
    [(), (0,), (0, 1), (0, 3), (0, 2), (-1,), (0, -1)],
    ids=["text", "image", "prediction", "first and last", "every second", "last", "first and last, from the end"],
)
def test_every_task_is_one_call_and_known_frames_come_back_as_good_as_the_tokenizer(
    model: Model, known: tuple[int, ...]
) -> None:
    frames = {number: picture(number + 9) for number in known}
    (clip,) = generate(model.system, [Request("a red circle", frames)])
    assert clip.pixels.shape == (4, 3, 16, 16)
    for number, shown in frames.items():
        torch.testing.assert_close(clip.pixels[number], through(model.system, shown), atol=1e-5, rtol=0)
    if known:  # what is known changes what is made
        (plain,) = generate(model.system, [Request("a red circle")])
        made = next(number for number in range(4) if number not in {k % 4 for k in known})
        assert not torch.allclose(plain.pixels[made], clip.pixels[made], atol=1e-4)


def test_a_picture_is_a_video_of_one_frame(model: Model) -> None:
    (clip,) = generate(model.system, [Request("a red circle", num_frames=1)])
    assert clip.pixels.shape == (1, 3, 16, 16)


def test_the_last_frame_stays_the_last_whatever_length_is_asked_for(model: Model) -> None:
    first, last = picture(1), picture(2)
    again = request_of(settings_of(legalise(model.system, Request("x", {0: first, -1: last}))))
    assert list(again.frames) == [0, -1]
    shorter = legalise(model.system, replace(again, num_frames=2, frames={-1: again.frames[-1]}))
    assert list(shorter.known) == [1]


def test_numbers_of_numpy_ask_for_the_same_video(model: Model) -> None:
    asked = Request("x", seed=3, num_frames=4, size=(16, 16), fps=8.0, guidance=2.0)
    of_numpy: dict[str, Any] = {"seed": np.int64(3), "num_frames": np.int32(4), "fps": np.float64(8)}
    of_numpy |= {"size": np.array([16, 16]), "guidance": np.float32(2)}
    again = of_any_types(asked, of_numpy)
    assert settings_of(legalise(model.system, again)) == settings_of(legalise(model.system, asked))
    (one,), (other,) = (generate(model.system, [request]) for request in (asked, again))
    assert torch.equal(one.pixels, other.pixels)


def test_numbers_of_any_kind_are_kept_as_numbers(model: Model) -> None:
    told = settings_of(legalise(model.system, Request("x", {True: picture(1)}, seed=True)))
    assert list(request_of(json.loads(json.dumps(told))).frames) == [1]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"prompt": None}, "prompt must be a text, got None"),
        ({"seed": 1.5}, r"seed must be a whole number, got 1\.5"),
        ({"seed": None}, "seed must be a whole number, got None"),
        ({"num_frames": "4"}, "num_frames must be a whole number, got '4'"),
        ({"fps": "fast"}, "fps must be a number, got 'fast'"),
        ({"size": 16}, "size must be a width and a height"),
        ({"size": "16x16"}, "size must be a width and a height"),
        ({"size": (16.0, 16)}, "size must be a whole number"),
        ({"guidance": "3"}, "guidance must be a number, got '3'"),
        ({"fps": b"8"}, "fps must be a number, got b'8'"),
        ({"solver": 3}, "solver must be a text, got 3"),
        ({"solver": ["heun"]}, r"solver must be a text, got \['heun'\]"),
        ({"frames": [picture(1)]}, r"frames must be a mapping, such as \{0: picture\}, got a list"),
        ({"frames": {"0": picture(1)}}, "the number of a frame must be a whole number, got '0'"),
        ({"frames": {0.5: picture(1)}}, "the number of a frame must be a whole number, got 0.5"),
        ({"rules": ["renorm"]}, "rules must be a mapping, such as .*, got a list"),
        ({"rules": {"renorn": False}}, "there is no rule 'renorn' of sampling; did you mean 'renorm'?"),
        ({"rules": {"level_shift": "3"}}, "level_shift: Input should be a valid number"),
    ],
)
def test_wishes_of_other_types_are_refused_by_name(model: Model, wish: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        legalise(model.system, of_any_types(Request("x"), wish))


def test_what_is_no_picture_is_refused_with_the_way_to_one() -> None:
    with pytest.raises(UserError, match=r"frame 0 must be .* got a str; vitascope.media.read_image"):
        pictures_of(of_any_types(Request("x"), {"frames": {0: "picture.png"}}))


def test_pictures_in_memory_make_the_video_of_the_same_picture_from_a_file(model: Model) -> None:
    eighths = (picture(1) * 255).round().byte()
    array = eighths.permute(1, 2, 0).numpy()
    wanted = model.generate("x", image=picture(1), frames={-1: picture(1)}, steps=1)
    for given in (eighths, array, Image.fromarray(array)):
        made = model.generate("x", image=given, last=given, steps=1)
        assert torch.equal(made.pixels, wanted.pixels)
        assert made.settings == wanted.settings


def test_one_frame_takes_one_picture(model: Model) -> None:
    with pytest.raises(UserError, match="frames 0 and -4 of 4 are the same"):
        legalise(model.system, Request("x", {0: picture(1), -4: picture(2)}))
    with pytest.raises(UserError, match=r"frame 0 is given alone \(image or last\) and among frames"):
        model.generate("x", image=picture(1), frames={0: picture(2)})
    with pytest.raises(UserError, match="frame -1 is given alone"):
        model.generate("x", last=picture(1), frames={-1: picture(2)})
    with pytest.raises(UserError, match="frames 0 and -1 of 1 are the same"):
        model.generate("x", image=picture(1), last=picture(2), num_frames=1)
    with pytest.raises(UserError, match="frames 0 and -4 of 4 are the same"):
        model.generate("x", image=picture(1), frames={-4: picture(2)})


def of_any_types(request: Request, wish: dict[str, Any]) -> Request:
    """As users may give it: these tests check types where users have nobody who does."""
    other = replace(request)
    for name, value in wish.items():
        object.__setattr__(other, name, value)
    return other


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_picture_may_be_of_any_precision(model: Model, dtype: torch.dtype) -> None:
    shown = picture(5)
    legal = legalise(model.system, Request("x", {0: shown.to(dtype)}))
    torch.testing.assert_close(legal.known[0], shown)


def test_what_is_changed_of_a_request_is_a_warning(model: Model) -> None:
    with pytest.warns(UserWarning, match="size 20x20 became 16x16"):
        model.generate("x", size=(20, 20), num_frames=2, steps=1)


def test_an_image_needs_no_words_but_something_is_needed(model: Model) -> None:
    generate(model.system, [Request("", {0: picture(1)})])
    for prompt in ("", "  \n", ".", " . "):
        with pytest.raises(UserError, match="prompt is empty"):
            legalise(model.system, Request(prompt))


@pytest.mark.parametrize(
    ("wish", "got", "said"),
    [
        ({"size": (20, 30)}, {"size": (16, 32)}, r"size 20x30 became 16x32: .*blocks of 8x8"),
        ({"size": (1, 1)}, {"size": (8, 8)}, "became 8x8"),
        ({"num_frames": 3}, {"num_frames": 4}, r"3 frames became 4 frames \(0.5 s\): .*2 at a time"),
        ({"seconds": 0.6}, {"num_frames": 6}, r"0.6 s became 6 frames \(0.75 s\)"),
        ({"seconds": 0.27}, {"num_frames": 2}, r"0.27 s became 2 frames \(0.25 s\): .*8 a second"),
        ({"seconds": 0.5, "fps": 4.0}, {"num_frames": 2, "fps": 4.0}, None),
        ({"num_frames": 1}, {"num_frames": 1}, None),
        ({}, {"num_frames": 4, "size": (16, 16), "fps": 8.0, "steps": 3, "guidance": 3.0, "solver": "heun"}, None),
    ],
)
def test_what_the_model_cannot_make_is_snapped_and_said(
    model: Model, wish: dict[str, Any], got: dict[str, Any], said: str | None
) -> None:
    legal = legalise(model.system, Request("x", **wish))
    assert {name: getattr(legal, name) for name in got} == got
    assert len(legal.changes) == (said is not None)
    if said is not None:
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(legal.changes[0])
    assert legalise(model.system, request_of(settings_of(legal))).changes == ()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"size": (0, 16)}, "from 1x1"),
        ({"size": (-64, 64)}, "-64x64"),
        ({"size": (10**6, 64)}, "8192"),
        ({"steps": 0}, "steps must be from 1"),
        ({"steps": 10**9}, "steps"),
        ({"num_frames": 0}, "number of frames"),
        ({"num_frames": 10**9}, "number of frames"),
        ({"seconds": -1.0}, "length"),
        ({"seconds": float("nan")}, "length"),
        ({"seconds": float("inf")}, "length"),
        ({"fps": 0.0}, "fps"),
        ({"fps": 0.009}, "fps must be from 0.01 to 1000"),  # as `media.encode` would say after the sampling
        ({"fps": 1001.0}, "fps must be from 0.01 to 1000"),
        ({"rules": {"guidance_kind": "both"}}, "guidance_kind: Input should be 'joint', 'text', 'separate' or 'blank'"),
        ({"rules": {"known_slots": "evolving", "guidance_interval": (0.1, 1.0)}}, "needs guidance at all levels"),
        ({"fps": float("nan")}, "fps"),
        ({"guidance": -1.0}, "guidance"),
        ({"guidance": float("nan")}, "guidance"),
        ({"solver": "huen"}, "did you mean 'heun'"),
        ({"prompt": "word " * 400}, r"\d+ tokens .* reads 64: shorten it to about \d+ characters"),
        ({"frames": {4: torch.zeros(3, 16, 16)}}, r"frame 4 was given but the video has 4 frames \(0 to 3\)"),
        ({"frames": {-5: torch.zeros(3, 16, 16)}}, "frame -5"),
        ({"frames": {0: torch.full((3, 8, 8), 255.0)}}, "from 0 to 1 .*, got numbers from 255 to 255"),
        ({"frames": {0: torch.full((3, 8, 8), float("nan"))}}, "got numbers from nan to nan"),
        ({"frames": {k: torch.zeros(3, 16, 16) for k in range(4)}}, "nothing is left to make"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(model: Model, wish: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        legalise(model.system, Request(**{"prompt": "x", **wish}))
    assert "\n" not in str(caught.value)


def test_pictures_of_any_size_are_cut_to_the_video(model: Model) -> None:
    legal = legalise(model.system, Request("x", {0: picture(1, (40, 20)), 2: picture(2, (5, 70))}))
    assert {known.shape for known in legal.known.values()} == {(3, 16, 16)}
    assert torch.equal(legal.known[0] * 255, (legal.known[0] * 255).round())


def test_a_batch_that_does_not_fit_together_is_a_mistake_of_the_caller(model: Model) -> None:
    with pytest.raises(ValueError, match="must agree"):
        generate(model.system, [Request("x"), Request("x", num_frames=2)])


def test_no_requests_are_no_clips(model: Model) -> None:
    assert model.batch([]) == []


def test_settings_make_the_same_video_again(model: Model) -> None:
    frames = {0: picture(1, (30, 20)), -1: picture(2)}
    (first,) = generate(model.system, [Request("a red circle", frames, seed=5, guidance=2.0, solver="sde", steps=2)])
    (again,) = generate(model.system, [request_of(first.settings)])
    assert torch.equal(first.pixels, again.pixels)
    assert again.settings == first.settings
    assert again.caption == "a red circle"


RULES: list[dict[str, Any]] = [
    {"guidance_kind": "text"},
    {"guidance_kind": "separate"},
    {"guidance_kind": "separate", "image_guidance": 4.0},
    {"known_slots": "evolving"},
    {"renorm": False},
    {"guidance_interval": (0.3, 0.9)},
    {"level_shift": 3.0},
]


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_rules_of_sampling_are_a_models_own_and_travel_with_the_clip(
    model: Model, tmp_path: Path, rules: dict[str, Any]
) -> None:
    """Made by a model of the same weights whose card says other rules, and made again by the first."""
    request = Request("a red circle", {0: picture(1)}, seed=5)
    other = load(save_tiny(tmp_path / "other", **rules), "cpu")
    made, plain = other.fulfil(request), model.fulfil(request)
    assert not torch.equal(made.pixels, plain.pixels)
    asked = model.generate("a red circle", image=picture(1), seed=5, rules=rules)
    assert torch.equal(asked.pixels, made.pixels)
    assert {**asked.settings, "model": made.settings["model"]} == made.settings
    kept = json.loads(json.dumps(made.settings))
    again = model.fulfil(request_of(kept))
    assert torch.equal(again.pixels, made.pixels)
    assert again.settings == made.settings
    told = departures(model.system.config.defaults, request_of(kept))
    assert {line.split()[0] for line in told} == set(rules)
    older = {name: value for name, value in kept.items() if name not in Rules.model_fields}
    assert departures(other.system.config.defaults, request_of(older)) == []


def test_a_file_older_than_a_rule_is_made_again_as_if_there_were_none(model: Model, tmp_path: Path) -> None:
    later = load(save_tiny(tmp_path / "later", picture_candidates=4), "cpu")  # the same weights on a newer card
    clips = [model.generate("x", seed=seed, num_frames=1) for seed in range(5)]
    chosen = [later.generate("x", seed=seed, num_frames=1) for seed in range(5)]
    assert not all(torch.equal(one.pixels, clip.pixels) for one, clip in zip(chosen, clips, strict=True))
    for clip in clips:
        kept = {name: value for name, value in clip.settings.items() if name != "picture_candidates"}
        assert torch.equal(later.fulfil(request_of(json.loads(json.dumps(kept)))).pixels, clip.pixels)


def test_what_is_sampled_at_once_is_the_most_that_any_part_of_a_video_needs(model: Model) -> None:
    def at_once(**asked: Any) -> int:
        return frames_at_once(model.system, legalise(model.system, Request("x", **asked)))

    first = {"image_first": True, "picture_candidates": 4}
    assert (at_once(num_frames=1), at_once(num_frames=2), at_once(num_frames=9)) == (2, 2, 4)  # cubes of two
    assert (at_once(num_frames=1, rules=first), at_once(num_frames=2, rules=first)) == (4, 4)
    assert at_once(num_frames=2, rules=first, frames={0: picture(1)}) == 2
    assert at_once(num_frames=9, rules={"keyframe_stride": 3}) == 4 * GAPS_AT_ONCE


def test_half_precision_is_the_same_video_to_the_eye(model: Model) -> None:
    full, half = (model.generate("x", seed=1, rules={"precision": name}) for name in ("fp32", "bf16"))
    assert not torch.equal(full.pixels, half.pixels)
    torch.testing.assert_close(full.pixels, half.pixels, atol=0.05, rtol=0)
    assert torch.equal(model.fulfil(request_of(half.settings)).pixels, half.pixels)


def test_settings_of_something_else_are_refused(model: Model) -> None:
    good = settings_of(legalise(model.system, Request("x", {0: picture(1)})))
    for bad in ({}, {"prompt": 3, "frames": []}, {**good, "steps": "3"}, {**good, "size": 16}, {**good, "sice": 3}):
        with pytest.raises(UserError, match="do not describe a generated video") as caught:
            request_of(bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no picture"):
        request_of({**good, "frames": {"0": "no picture"}})


def test_progress_is_true_and_cancels_within_a_step(model: Model) -> None:
    seen: list[tuple[int, int]] = []

    def cancel(done: int, steps: int, z: Tensor) -> None:
        assert z.shape == (1, 4, 4, 2, 2)
        seen.append((done, steps))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(model.system, [Request("x", steps=5)], progress=cancel)
    assert seen == [(1, 5), (2, 5)]


def test_latents_are_kept_before_they_are_decoded(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.safetensors"

    def fail(*_: Any) -> Tensor:
        assert path.exists()
        raise KeyboardInterrupt

    wanted = model.fulfil(Request("a red circle", seed=5))
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "decode", fail)
        with pytest.raises(KeyboardInterrupt):
            model.fulfil(Request("a red circle", seed=5), keep_latents=path)
    clip = model.decode(path)
    assert torch.equal(clip.pixels, wanted.pixels)
    assert clip.settings == wanted.settings
    latents, settings = read_latents(path)
    assert latents.shape == (4, 4, 2, 2)
    assert settings["prompt"] == "a red circle"

    def full(*_: Any) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    with monkeypatch.context() as patch:
        patch.setattr(type(model.system.tokenizer), "decode", full)
        with pytest.raises(UserError, match=r"the memory ran out in decoding 4 frames of 16x16; .* it is kept"):
            model.decode(path)


def test_a_full_memory_while_decoding_decodes_fewer_frames_at_once(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents, whole = torch.randn(9, 4, 2, 2), type(model.system.tokenizer).decode
    tried = []

    def small(self: Any, part: Tensor) -> Tensor:
        tried.append(part.shape[1])
        if part.shape[1] > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return whole(self, part)

    wanted = decode(model.system, latents)
    with monkeypatch.context() as patch:
        patch.setattr(type(model.system.tokenizer), "decode", small)
        torch.testing.assert_close(decode(model.system, latents), wanted)
        assert max(tried[2:]) <= 2
        patch.setattr(
            type(model.system.tokenizer), "decode", lambda self, part: small(self, part.repeat(1, 3, 1, 1, 1))
        )
        with pytest.raises(UserError, match="the memory ran out; 8x8 would fit"):
            generate(model.system, [Request("x")])


def test_without_free_memory_it_says_what_would_fit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 20 * 2**20)
    with pytest.raises(
        UserError, match=r"1 video\(s\) of 4 frames at 512x256 need about .* free; (\d+)x(\d+) would fit"
    ) as e:
        generate(model.system, [Request("x", size=(512, 256))])
    width, height = map(int, str(e.value).split("; ")[1].split()[0].split("x"))
    assert width / height == pytest.approx(2, rel=0.1)
    assert sampling_bytes(model.system, (width, height), 4, 4, 1, 2) <= 20 * 2**20
    with pytest.raises(UserError, match=r"; \d+ frames at 16x16 would fit") as e:
        generate(model.system, [Request("x", num_frames=100_000)])
    most = int(str(e.value).split("; ")[1].split()[0])
    fits, bursts = (sampling_bytes(model.system, (16, 16), length, 4, 1, 2) for length in (most, most + 2))
    assert fits <= 20 * 2**20 < bursts


def test_memory_needed_grows_with_everything(model: Model) -> None:
    base = sampling_bytes(model.system, (64, 64), 4, 4, 1, 2)
    assert base < sampling_bytes(model.system, (128, 64), 4, 4, 1, 2)
    assert base < sampling_bytes(model.system, (64, 64), 40, 4, 1, 2)
    assert base < sampling_bytes(model.system, (64, 64), 4, 4, 2, 2)
    assert free_bytes(torch.device("cpu")) > 0


def test_torchs_word_for_a_full_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


def test_weights_that_are_no_numbers_do_not_become_a_video(model: Model, folder: Path) -> None:
    broken = load(folder, "cpu")
    with torch.no_grad():
        broken.system.backbone.leave.bias.fill_(torch.nan)
    with pytest.raises(UserError, match="stopped being finite in step 1 of 3"):
        broken.generate("x")
    fine: Clip = model.generate("x")
    assert fine.pixels.isfinite().all()
