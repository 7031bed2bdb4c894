"""Laws of a stage that reads clips as it goes: resumed bit for bit, in every aspect, at one cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tiny import tiny_run
from vitascope import media
from vitascope.config import from_json, override, to_json
from vitascope.data.buckets import BucketsConfig
from vitascope.data.loader import LoaderConfig, MixedConfig
from vitascope.data.source import FootageConfig
from vitascope.train.check import refuse_what_does_not_fit
from vitascope.train.initialise import initialised
from vitascope.train.loop import fit
from vitascope.train.stages import Run
from vitascope.train.streaming import StreamStage
from vitascope.types import Clip, UserError, generator_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    for number, (width, height) in enumerate([(32, 16), (16, 32), (32, 16), (16, 16)]):
        pixels = torch.rand(9, 3, height, width, generator=generator_for(number, "film"))
        media.write(Clip(pixels), folder / f"{number}.mp4")
        (folder / f"{number}.txt").write_text(f"noise {number}")
    return folder


def run_on(folder: Path, steps: int) -> Run:
    loader = LoaderConfig(
        sources=(MixedConfig(path=str(folder)),), buckets=BucketsConfig(area=16 * 32, lengths=(1, 4)), mirror=True
    )
    stage = StreamStage(name="stream", steps=steps, batch=2, warmup_steps=2, loader=loader, workers=2)
    data = FootageConfig(path=str(folder), size=(16, 16), num_frames=4)
    return tiny_run(stage).model_copy(update={"data": data})


def test_a_stream_is_resumed_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    whole = fit(run_on(folder, 6), tmp_path / "whole").state_dict()
    fit(run_on(folder, 3), tmp_path / "half")
    run = run_on(folder, 6)
    course = run.stages[0].begin(run, initialised(run.model, 0), tmp_path, lambda items, _: iter(items))
    forth = [course.loss(step).total.item() for step in (0, 1, 2, 3)]
    assert [course.loss(step).total.item() for step in (2, 3, 0)] == [forth[2], forth[3], forth[0]]
    again = fit(run_on(folder, 6), tmp_path / "again").state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_batches_take_the_aspects_of_their_clips_at_one_cost(folder: Path) -> None:
    run = run_on(folder, 6)
    stage, model = run.stages[0], initialised(run.model, 0)
    assert isinstance(stage, StreamStage)
    loader, buckets = stage.open(model), stage.buckets(model)
    shapes = {loader.batch(number).pixels.shape[1:] for number in range(12)}
    assert {(16, 32), (32, 16)} <= {tuple(shape[-2:]) for shape in shapes}
    for bucket in loader.buckets:
        each = buckets.tokens(bucket.size, bucket.num_frames)
        assert buckets.batch_tokens - each < each * bucket.batch <= buckets.batch_tokens


def test_a_stage_with_a_loader_can_be_written_down(folder: Path) -> None:
    run = run_on(folder, 6)
    assert from_json(to_json(run)) == run


@pytest.mark.parametrize("setting", ["images", "pictures", "pictures_beside", "first_frames", "num_clips"])
def test_what_is_for_cached_latents_is_no_setting_of_a_stream(folder: Path, setting: str) -> None:
    with pytest.raises(UserError, match=f"StreamStage has no setting '{setting}'"):
        override(run_on(folder, 6), f"stages.stream.{setting}", "1")


def test_a_stream_is_checked_by_the_lengths_that_it_shows(folder: Path) -> None:
    """And not by that of the run's data, of which it shows no clip. The model's cubes have two frames."""
    run = run_on(folder, 6)
    refuse_what_does_not_fit(override(run, "data.num_frames", "3"), "cpu")
    odd = override(run, "stages.stream.loader.buckets.lengths", "[1, 3]")
    with pytest.raises(UserError, match=r"stage stream: the clips have 3 frames .* cubes 2; make the clips 2 or 4"):
        refuse_what_does_not_fit(odd, "cpu")
    refuse_what_does_not_fit(override(odd, "stages.stream.part_cubes", "true"), "cpu")


@pytest.mark.parametrize(("lengths", "unit"), [("[1]", "pictures"), ("[1, 4]", "clips")])
def test_a_stream_of_length_one_is_of_pictures(folder: Path, tmp_path: Path, lengths: str, unit: str) -> None:
    run = override(run_on(folder, 6), "stages.stream.loader.buckets.lengths", lengths)
    course = run.stages[0].begin(run, initialised(run.model, 0), tmp_path, lambda items, _: iter(items))
    assert course.unit == unit
