"""Laws of beginnings: what a stage takes from where, and that nothing is taken or left in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tiny import save_tiny, tiny_model, tiny_run
from vitascope.backbones.stiv import StivConfig
from vitascope.cli.train import started
from vitascope.conditions import micro_conditions
from vitascope.config import override
from vitascope.system import ModelConfig, VideoModel, load_model
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


def test_a_stage_can_begin_with_the_folder_of_a_model(tmp_path: Path, cache: Path) -> None:
    given = save_tiny(tmp_path / "given")
    stage = VideoStage(
        name="videos", steps=1, batch=2, num_clips=8, begins=(Origin(of=str(given)),), learning_rate=1e-12
    )
    trained = fit(tiny_run(stage, preview_steps=100), tmp_path / "run", cache_root=cache).state_dict()
    for name, value in load_model(given).state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=0, atol=1e-8)


def test_an_origin_that_is_neither_an_earlier_stage_nor_a_folder_is_refused() -> None:
    with pytest.raises(UserError, match=r"stage videos begins with 'later', which is no stage before it"):
        override(tiny_run(), "stages.videos.begins", '[{"of": "later"}]')


def test_the_command_begins_a_stage_with_a_model_of_other_sizes_than_the_recipe(tmp_path: Path) -> None:
    given = save_tiny(tmp_path / "given")
    wider = override(tiny_run(), "model.backbone.width", "64")
    run = started(wider, str(given), "videos")
    assert run.model.backbone == tiny_model().backbone
    assert run.model.objective == wider.model.objective
    assert [stage.begins for stage in run.stages] == [(), (Origin(of=str(given)),)]
    with pytest.raises(UserError, match="no stage 'vidos'"):
        started(wider, str(given), "vidos")
