"""Laws of the user's own footage as a source: what is shown, what is told of it, and runs on it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from filming import film, numbers_of, shoot
from tiny import tiny_run
from vitascope import media
from vitascope.card import load_model
from vitascope.config import from_json, to_json
from vitascope.data.buckets import Limits
from vitascope.data.cache import ClipSource, open_cache
from vitascope.data.pictures import PictureSource
from vitascope.data.source import FootageConfig
from vitascope.recipes import resolve
from vitascope.recipes.footage import on_footage, without_comparisons
from vitascope.train.loop import fit
from vitascope.train.stages import CaptionStage, Run
from vitascope.types import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shoot(tmp_path_factory.mktemp("footage"))


def config(folder: Path, **changes: object) -> FootageConfig:
    settings = {"path": str(folder), "size": (16, 16), "num_frames": 4, "fps": 8.0, **changes}
    return FootageConfig.model_validate(settings)


def test_clips_are_what_the_files_show_at_their_stride(folder: Path) -> None:
    source = config(folder).build()
    assert isinstance(source, ClipSource) and isinstance(source, PictureSource)
    names = {0: ("slow", 1), 1: ("tall", 3), 2: ("wide", 3)}  # by their paths; short and still have too few frames
    tints = {"wide": 0, "tall": 1, "slow": 2}
    for index in range(9):
        clip, (name, stride) = source.clip(index), names[index % 3]
        told = numbers_of(clip.pixels, tints[name])
        assert [number - told[0] for number in told] == [0, stride, 2 * stride, 3 * stride]
        assert clip.fps == 8.0
        assert clip.framing is not None and clip.framing.stride == stride
        assert source.captions(index) == (f"a {name} film", f"the film that is {name}")
        assert clip.caption == f"a {name} film"


def test_the_same_video_is_cut_elsewhere_each_time_and_the_same_number_always_alike(folder: Path) -> None:
    source, again = config(folder).build(), config(folder).build()
    firsts = {numbers_of(source.clip(index).pixels, 0)[0] for index in range(2, 60, 3)}
    assert len(firsts) > 8
    for index in (5, 2, 5):
        assert torch.equal(source.clip(index).pixels, again.clip(index).pixels)


def test_the_corner_that_is_told_is_where_the_clip_was_cut(folder: Path) -> None:
    """The gradient from left to right says where."""
    source = config(folder, num_frames=2).build()
    wide = [index for index in range(40) if source.captions(index)[0] == "a wide film"]
    lefts = set()
    for index in wide:
        clip = source.clip(index)
        assert clip.framing is not None
        left, top = clip.framing.corner
        assert clip.framing.size == (64, 32) and top == 0 and 0 <= left <= 16
        expected = 0.2 + 0.6 * (torch.arange(left, left + 16) + 0.5) / 32
        torch.testing.assert_close(clip.pixels[0, 1].mean(0), expected, atol=0.03, rtol=0)
        lefts.add(left)
    assert len(lefts) > 3


def test_pictures_and_details_are_functions_of_the_step(folder: Path) -> None:
    source, other = config(folder).build(), config(folder).build()
    other.pictures(3, 5)
    for step in (0, 1):
        pictures, details = source.pictures(step, 6), source.details(step, 5)
        assert pictures.shape == (6, 3, 16, 16) and details.shape == (5, 3, 8, 8)
        assert torch.equal(pictures, other.pictures(step, 6))
        assert torch.equal(details, other.details(step, 5))
    assert not torch.equal(source.pictures(0, 6), source.pictures(1, 6))


def test_the_identity_follows_content_captions_and_settings_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    def identity(path: Path, **changes: object) -> str:
        return config(path, **changes).build().identity

    moved = shutil.copytree(folder, tmp_path / "moved")
    before = identity(moved)
    assert before == identity(folder)
    assert identity(folder, num_frames=5) != before
    (moved / "wide.txt").write_text("another caption")
    captioned = identity(moved)
    assert captioned != before
    media.write(film(60, (64, 32), 1), moved / "wide.mp4", force=True)
    assert identity(moved) not in (before, captioned)


def test_what_cannot_be_used_is_counted_with_its_reason(folder: Path) -> None:
    source = config(folder, limits=Limits(most_cropped=0.4)).build()
    reasons = {reason: len(rows) for reason, rows in source.placement.left_out.items()}
    assert reasons == {"too short for 4 frames at 8 fps": 2, "to be cropped by more than 40%": 2}
    assert sum(reasons.values()) + len(source.rows) == len(source.footage.table) == 5
    with pytest.raises(UserError, match=r"no clip can be cut.*5 too short for 400 frames"):
        config(folder, num_frames=400).build()


def test_a_file_that_breaks_off_costs_itself_alone_and_the_log_says_so(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    content = bytearray((broken / "wide.mp4").read_bytes())
    start = content.index(b"mdat") + 1000
    content[start:-1500] = b"\0" * len(content[start:-1500])
    (broken / "wide.mp4").write_bytes(content)
    source = config(broken).build()
    with caplog.at_level(logging.WARNING):
        clips = [source.clip(index) for index in range(12)]
    assert len(clips) == 12
    assert ["wide.mp4" in message for message in caplog.messages] == [True]
    for index, clip in enumerate(clips):
        assert clip.caption == source.captions(index)[0]


def test_micro_conditions_reach_the_lessons(folder: Path, tmp_path: Path) -> None:
    source = config(folder).build()

    class Halves:
        def encode(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels[..., ::8, ::8]

        def state_dict(self) -> dict[str, torch.Tensor]:
            return {}

    latents = open_cache(tmp_path, source, Halves(), 30)
    batch, pictures = latents.batch(0, 30, 0), latents.batch(0, 30, 0, pictures=1)
    assert set(map(tuple, batch.micro[:, [0, 1, 4, 5]].tolist())) == {(48, 48, 1, 4), (64, 32, 3, 4), (32, 64, 3, 4)}
    assert pictures.micro[:, 5].tolist() == [1] * 30
    crops = {(top > 0, left > 0) for top, left in batch.micro[:, 2:4].tolist()}
    assert crops == {(False, False), (True, False), (False, True)}


def on(folder: Path, **changes: object) -> Run:
    return on_footage(tiny_run(**changes), folder)


def test_a_recipe_on_footage_is_a_value_that_can_be_written_down(folder: Path) -> None:
    run = on(folder)
    assert from_json(json.loads(json.dumps(to_json(run)))) == run
    assert run.model.defaults.footage_size == (48, 48) and run.model.defaults.stride == 3
    assert run.preview_prompts == ("a slow film", "a tall film", "a wide film")
    assert run.name == f"tiny-{folder.name}"


@pytest.mark.parametrize("name", ["laptop:stiv", "laptop:ladder"])
def test_a_text_encoder_that_no_captions_teach_learns_along(name: str) -> None:
    run = resolve(name)
    assert any(isinstance(stage, CaptionStage) for stage in run.stages)
    stages = without_comparisons(run.stages)
    assert len(stages) == len(run.stages) - 1 and not any(isinstance(stage, CaptionStage) for stage in stages)
    assert not any("text.*" in stage.frozen for stage in stages)
    again = run.model_copy(update={"stages": stages})
    assert from_json(to_json(again)) == again  # which checks that each stage begins with an earlier one


def test_a_run_on_footage_is_resumed_bit_for_bit_and_on_nothing_else(folder: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(folder, tmp_path / "mine")
    run = on(mine)
    whole = fit(run, tmp_path / "whole").state_dict()
    dies = run.model_copy(update={"stages": run.stages[:1]})
    fit(dies, tmp_path / "parts")
    (tmp_path / "parts" / "run.json").write_text(json.dumps(to_json(run)))
    again = fit(run, tmp_path / "parts", resume=True).state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert load_model(tmp_path / "parts" / "model").config.defaults.stride == 3
    (mine / "wide.txt").write_text("changed")
    with pytest.raises(UserError, match="no longer what this run was begun with"):
        fit(run, tmp_path / "parts", resume=True)
