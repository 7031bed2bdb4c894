"""Laws of beginnings: what a stage takes from where, and that nothing is taken or left in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tiny import save_tiny, tiny_model, tiny_run
from vitascope.backbones.stiv import StivConfig
from vitascope.card import load_model
from vitascope.conditions import micro_conditions
from vitascope.config import override
from vitascope.nn.positions import Turns
from vitascope.recipes import resolve
from vitascope.recipes.toyland import ToylandConfig
from vitascope.system import ModelConfig, VideoModel
from vitascope.train.beginning import refuse_replaced, started
from vitascope.train.initialise import Origin, gathered, inherit, initialised
from vitascope.train.loop import fit
from vitascope.train.stages import Run, TokenizerStage, VideoStage
from vitascope.types import Framing, UserError, generator_for

TIME = "backbone.blocks.*.time.*"


def test_first_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one, other = initialised(tiny_model(), 5).state_dict(), initialised(tiny_model(), 6).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    again = initialised(tiny_model(), 5).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["backbone.enter.weight"], other["backbone.enter.weight"])


def test_first_weights_touch_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are built on the CPU; whoever works on a GPU keeps the course of its generator."""
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    initialised(tiny_model(), 5)
    assert not seeds


def learned(config: ModelConfig, seed: int) -> VideoModel:
    """A model that has moved away from its first weights, so that no branch is silent."""
    model, rng = initialised(config, seed), generator_for(seed, "learned")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=0.1)
    return model.eval()


def backbone(**changes: object) -> ModelConfig:
    model = tiny_model()
    return model.model_copy(update={"backbone": model.backbone.model_copy(update=changes)})


def answer(model: VideoModel, z: Tensor) -> Tensor:
    """The velocity of each frame; all videos are told the same."""
    b, t = z.shape[:2]
    known, level = torch.zeros(b, t, dtype=torch.bool), torch.full((b, t), 0.5)
    cond = model.conditions(["a"] * b, known, z, micro_conditions([Framing((16, 16))] * b, 1))
    with torch.no_grad():
        return model.backbone(z, level, cond)


@pytest.mark.parametrize("patch", [1, 2])
def test_at_first_a_video_model_answers_each_cube_of_still_frames_as_its_image_model_does(patch: int) -> None:
    """T2V from T2I: temporal attention is new and silent, the cube embedding is inflated. Between the frames of a cube
    of two an image model knows no difference, so there the law is for frames that are alike."""
    image = learned(backbone(patch=(1, 1), temporal=False), 1)
    video = initialised(backbone(patch=(patch, 1)), 2)
    inherit(video, [(Origin(of="t2i"), image.state_dict())], (TIME,))
    frames = torch.randn(2, 2, 4, 2, 2, generator=generator_for(0, "frames"))
    alone = answer(image, frames.flatten(0, 1)[:, None]).unflatten(0, (2, 2))[:, :, 0]
    together = answer(video, frames.repeat_interleave(patch, 1))
    torch.testing.assert_close(together, alone.repeat_interleave(patch, 1), rtol=1e-4, atol=1e-5)


def test_an_image_to_video_model_begins_as_the_video_model_that_it_comes_from() -> None:
    """TI2V from T2V: all weights, and so the same answer where no frame is known."""
    ti2v = {stage.name: stage for stage in resolve("laptop:stiv").stages}["ti2v"]
    assert ti2v.begins == ti2v.fresh == ()  # all of what the stage before has learned
    video, other = learned(tiny_model(), 1), initialised(tiny_model(), 2)
    inherit(other, [(Origin(of="t2v"), video.state_dict())], ti2v.fresh)
    z = torch.randn(2, 4, 4, 2, 2, generator=generator_for(0, "frames"))
    assert torch.equal(answer(other, z), answer(video, z))


def turned(config: ModelConfig, frames: int, side: int) -> tuple[Turns, Turns]:
    """Of the tokens of a frame, by row and column, and of the frames, as the model of these settings has them."""
    assert isinstance(config.backbone, StivConfig)
    space, time = config.backbone.build().places(frames, side, side, torch.device("cpu"))
    assert space is not None and time is not None
    return space.unflatten(0, (side, side)), time


def test_a_model_of_more_pixels_begins_with_the_positions_of_one_of_fewer_at_its_even_places() -> None:
    """High resolution from low: the same weights, and a grid that is squeezed into the trained one."""
    small, large = learned(tiny_model(), 1), initialised(tiny_model(), 2)
    inherit(large, [(Origin(of="t2v_64"), small.state_dict())], ())
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in large.state_dict().items())
    (low, before), (high, after) = turned(tiny_model(), 2, 2), turned(tiny_model(), 2, 4)
    assert torch.equal(high[::2, ::2], low) and torch.equal(after, before)
    assert not torch.allclose(high[1, 0], high[0, 0]) and not torch.allclose(high[1, 0], high[2, 0])


def test_more_frames_have_the_positions_of_few_between_them_or_beyond() -> None:
    """32 frames from 16, in cubes: interpolated at the even ones, extrapolated at the first ones; weights are kept."""
    usual, stretched = backbone(grid=(8, 2)), backbone(grid=(8, 2), interpolate_positions=False)
    (space, few), (same, many), (_, beyond) = turned(usual, 8, 2), turned(usual, 16, 2), turned(stretched, 16, 2)
    assert torch.equal(same, space) and torch.equal(many[::2], few) and torch.equal(beyond[:8], few)
    assert not any(torch.allclose(place, old) for place in beyond[8:] for old in few)
    model, longer = learned(usual, 1), initialised(stretched, 2)
    inherit(longer, [(Origin(of="few"), model.state_dict())], ())
    z = torch.randn(1, 16, 4, 2, 2, generator=generator_for(0, "frames"))
    assert torch.equal(answer(longer, z), answer(model, z))  # eight cubes, as trained
    twice = torch.cat([z, z], 1)
    assert not torch.allclose(answer(longer, twice), answer(model, twice), atol=1e-4)


def test_frames_at_twice_the_stride_are_every_second_one_of_the_longer_clip_and_at_their_positions() -> None:
    """The 2x-stride variant: what was learned at 4 frames a second lies where it was when as many come between."""
    stages = {stage.name: stage for stage in resolve("laptop:stride2").stages}
    wide, longer = (stages[name] for name in ("stride2", "frames32"))
    assert isinstance(wide.data, ToylandConfig) and isinstance(longer.data, ToylandConfig)
    few, many = (data.model_copy(update={"size": 16}).build() for data in (wide.data, longer.data))
    for number in range(3):
        slow, whole = few.clip(number), many.clip(number)
        assert torch.equal(slow.pixels, whole.pixels[::2]) and few.captions(number) == many.captions(number)
        assert slow.framing is not None and whole.framing is not None
        assert (slow.framing.stride, whole.framing.stride) == (2, 1)
    assert longer.begins == longer.fresh == ()
    usual = backbone(grid=(8, 2))
    assert torch.equal(turned(usual, 16, 2)[1][::2], turned(usual, 8, 2)[1])


def test_what_is_fresh_stays_by_chance_and_all_else_comes_from_the_origin() -> None:
    old, new = learned(tiny_model(), 1), initialised(tiny_model(), 5)
    first = {name: value.clone() for name, value in new.state_dict().items()}
    inherit(new, [(Origin(of="t2i"), old.state_dict())], (TIME,))
    for name, value in new.state_dict().items():
        assert torch.equal(value, (first if ".time." in name else old.state_dict())[name]), name


def test_of_two_origins_the_later_gives_what_its_patterns_match() -> None:
    """High-resolution T2V from both: temporal attention from low-resolution T2V, the rest from high-resolution T2I."""
    sharp, moving, both = learned(tiny_model(), 1), learned(tiny_model(), 2), initialised(tiny_model(), 3)
    origins = (Origin(of="t2i-128"), sharp.state_dict()), (Origin(of="t2v-64", weights=(TIME,)), moving.state_dict())
    inherit(both, origins, ())
    for name, value in both.state_dict().items():
        assert torch.equal(value, (moving if ".time." in name else sharp).state_dict()[name]), name


def test_every_weight_without_partner_is_named_and_nothing_is_loaded() -> None:
    deep, shallow = learned(backbone(depth=2), 1), initialised(tiny_model(), 2)
    before = {name: value.clone() for name, value in shallow.state_dict().items()}
    surplus = [name for name in deep.state_dict() if name.startswith("backbone.blocks.1.")]
    with pytest.raises(UserError, match=f"has {len(surplus)} weights that this model does not have") as caught:
        inherit(shallow, [(Origin(of="t2i"), deep.state_dict())], ())
    assert all(name in str(caught.value) for name in surplus)
    with pytest.raises(UserError, match=f"lacks {len(surplus)} of the weights") as caught:
        inherit(initialised(backbone(depth=2), 2), [(Origin(of="t2i"), shallow.state_dict())], ())
    assert all(name in str(caught.value) for name in surplus)
    wide = learned(override(tiny_run(), "model.backbone.width", "64").model, 1)
    with pytest.raises(UserError, match=r"another shape .* backbone\.enter\.weight \(64x8 in 't2i', 32x8 here\)"):
        inherit(shallow, [(Origin(of="t2i"), wide.state_dict())], ())
    both = learned(override(tiny_run(), "model.backbone.width", "64").model, 1).state_dict()
    foreign = {name: value for name, value in both.items() if name != "backbone.enter.bias"} | {"extra": torch.ones(1)}
    with pytest.raises(UserError, match=r"lacks 1 of .*enter\.bias.* another shape .*enter\.weight.* not have: extra"):
        inherit(shallow, [(Origin(of="t2i"), foreign)], ())  # all of it at once
    assert all(torch.equal(value, before[name]) for name, value in shallow.state_dict().items())


def test_a_pattern_without_weights_hides_no_other_mistake() -> None:
    wide = learned(override(tiny_run(), "model.backbone.width", "64").model, 1).state_dict()
    given = {name: value for name, value in wide.items() if name != "backbone.enter.bias"} | {"extra": torch.ones(1)}
    origins = [(Origin(of="t2i"), given), (Origin(of="t2v", weights=("backbone.tme.*", "txt.*")), given)]
    with pytest.raises(UserError) as caught:
        inherit(initialised(tiny_model(), 2), origins, ("backbone.layers.*", "backbone.lost.*"))
    said = str(caught.value)
    for pattern, whose in (
        ("backbone.layers.*", "this model"),
        ("backbone.lost.*", "this model"),
        ("backbone.tme.*", "'t2v'"),
        ("txt.*", "'t2v'"),
    ):
        assert f"the pattern '{pattern}' matches no weight of {whose}" in said
    assert "lacks 1 of" in said and "another shape" in said and "not have: extra" in said


@pytest.mark.parametrize("theirs", [{"patch": (1, 1), "channels": 4}, {"patch": (1, 2), "channels": 1}])
def test_only_time_is_inflated(theirs: dict[str, object]) -> None:
    """Cubes of fewer channels or of smaller squares have weights of another shape, whatever divides what."""
    wanted = StivConfig(channels=8, patch=(1, 2), width=32, heads=2, depth=1, text_width=32)
    other = wanted.model_copy(update=theirs).build().state_dict()
    given = wanted.build().inflate(other)
    assert all(torch.equal(given[name], other[name]) for name in other)


def ladder() -> Run:
    """Pictures with cubes of one frame, videos with cubes of two, then the same with the text encoder held still."""
    short = backbone(patch=(1, 1), temporal=False)
    return tiny_run(
        VideoStage(name="pictures", steps=3, batch=2, num_clips=8, images=True, model=short),
        VideoStage(name="videos", steps=3, batch=2, num_clips=8, fresh=(TIME,)),
        VideoStage(name="still", steps=3, batch=2, num_clips=8, frozen=("text.*", TIME)),
        preview_steps=100,
    )


def test_a_ladder_of_stages_is_climbed_at_once_or_one_by_one(tmp_path: Path, cache: Path) -> None:
    fit(ladder(), tmp_path / "at once", cache_root=cache)
    with pytest.raises(UserError, match=r"begins with what stage pictures has learned.*--stage pictures"):
        fit(ladder(), tmp_path / "single", only="videos", cache_root=cache)
    assert not (tmp_path / "single").exists()
    for number, stage in enumerate(ladder().stages):
        fit(ladder(), tmp_path / "single", only=stage.name, resume=number > 0, cache_root=cache)
    one, other = (load_model(tmp_path / name / "model").state_dict() for name in ("at once", "single"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_frozen_weights_stay_and_the_others_learn(tmp_path: Path, cache: Path) -> None:
    fit(ladder(), tmp_path, cache_root=cache)
    before, after = (load_model(tmp_path / "stages" / name).state_dict() for name in ("videos", "still"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "backbone.blocks.0.space.leave.weight" in moved
    assert not [name for name in moved if name.startswith(("text.", "tokenizer.")) or ".time." in name]


def test_a_decoder_learns_while_its_encoder_stays(tmp_path: Path) -> None:
    stages = (
        TokenizerStage(name="whole", steps=2, batch=2),
        TokenizerStage(name="decoder", steps=2, batch=2, frozen=("tokenizer.encoder.*",)),
    )
    fit(tiny_run(*stages, preview_steps=100), tmp_path)
    before, after = (load_model(tmp_path / "stages" / stage.name).tokenizer for stage in stages)
    assert all(torch.equal(one, other) for one, other in pairs_of(before.encoder, after.encoder))
    assert not any(torch.equal(one, other) for one, other in pairs_of(before.decoder, after.decoder))


def pairs_of(one: nn.Module, other: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(one.parameters(), other.parameters(), strict=True)


def test_names_of_blocks_are_gathered_and_none_is_lost() -> None:
    names = [f"blocks.{number}.{end}" for end in ("time.leave.bias", "mlp.0.weight") for number in range(3)]
    said = gathered([*names, "leave.weight", "blocks.7.own", "far.1.x", "far.3.x"])
    assert said == "blocks.{0-2}.time.leave.bias, blocks.{0-2}.mlp.0.weight, leave.weight, blocks.7.own, far.{1,3}.x"


@pytest.mark.parametrize("place", ["given", "given/model"])
def test_a_stage_can_begin_with_the_folder_of_a_model_or_of_its_run(tmp_path: Path, cache: Path, place: str) -> None:
    given, origin = save_tiny(tmp_path / place), Origin(of=str(tmp_path / "given"))
    stage = VideoStage(name="videos", steps=1, batch=2, num_clips=8, begins=(origin,), learning_rate=1e-12)
    trained = fit(tiny_run(stage, preview_steps=100), tmp_path / "run", cache_root=cache).state_dict()
    for name, value in load_model(given).state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=0, atol=1e-8)


def test_an_origin_that_is_neither_an_earlier_stage_nor_a_folder_is_refused() -> None:
    with pytest.raises(UserError, match=r"stage videos begins with 'later', which is no stage before it"):
        override(tiny_run(), "stages.videos.begins", '[{"of": "later"}]')


def test_the_command_begins_a_stage_with_a_model_of_other_sizes_than_the_recipe(tmp_path: Path) -> None:
    given = save_tiny(tmp_path / "given")
    wider = override(tiny_run(), "model.backbone.width", "64")
    run = started(wider, given, "videos")
    assert run.model.backbone == tiny_model().backbone
    assert run.model.objective == wider.model.objective
    assert [stage.begins for stage in run.stages] == [(), (Origin(of=str(given)),)]
    refuse_replaced(wider, run, ["stages.videos.batch=2", "model.objective.mean=1", "stages.1.batch=2"])
    with pytest.raises(UserError, match=r"which --set cannot change: model\.backbone\.width was 64 and is 32"):
        refuse_replaced(wider, run, ["stages.videos.batch=2", "model.backbone.width=64"])
    with pytest.raises(UserError, match=r"stages\.videos\.begins was"):
        refuse_replaced(wider, run, ["stages.1.begins=[]"])
    with pytest.raises(UserError, match="no stage 'vidos'"):
        started(wider, given, "vidos")
