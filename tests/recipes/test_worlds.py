"""Laws of the other looks at Toyland, and of the stages that learn from them."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pydantic
import pytest
import torch

from shell import Shell
from vitascope import media, toyland
from vitascope.card import load_model
from vitascope.cli.train import changed
from vitascope.config import override
from vitascope.recipes import extensions, laptop, resolve
from vitascope.recipes.extensions import KEYFRAME_STRIDE
from vitascope.recipes.toyland import KindMix, ToylandConfig
from vitascope.recipes.worlds import LabelledConfig, PacedConfig, SolidsConfig, TwinsConfig
from vitascope.sample.loading import bundled, load, load_own
from vitascope.toyland.scene import COLOURS, LASTING
from vitascope.train.beginning import started
from vitascope.train.loop import fit
from vitascope.train.stages import Run, Stage, VideoStage
from vitascope.types import Request, UserError

RECIPE_OF = {"frames32": "stride2"}  # of a stage; the others are named as their recipes
STAGES = ("sft", "v2v", "tup", "stride2", "frames32", "long", "views", "classes")
SOURCES = [
    SolidsConfig(size=16),
    PacedConfig(size=16, num_frames=2, paces=(16.0, 32.0), latest_seconds=1.0),
    PacedConfig(size=16, num_frames=2, motions=LASTING),
    LabelledConfig(size=16, num_frames=2),
    TwinsConfig(size=16, num_frames=2),
]


@pytest.mark.parametrize("config", SOURCES)
def test_a_source_gives_clips_that_depend_on_their_number_alone(config) -> None:
    source, again = config.build(), config.build()
    assert source.identity == again.identity
    assert len({one.build().identity for one in SOURCES}) == len(SOURCES)
    clip = source.clip(3)
    assert (clip.num_frames, clip.size) == (config.num_frames, (16, 16))
    assert torch.equal(clip.pixels, again.clip(3).pixels)
    assert not torch.equal(clip.pixels, source.clip(4).pixels)
    assert source.captions(3) == again.captions(3)


def test_of_two_scenes_in_a_row_the_second_has_the_words_of_the_first_where_things_can_exchange_some() -> None:
    source = TwinsConfig(size=16, num_frames=2, kinds=KindMix(one=0.5, two=0.5)).build()
    pairs = [(source.scene(index), source.scene(index + 1)) for index in range(0, 60, 2)]
    twins = [(toyland.caption(one), toyland.caption(other)) for one, other in pairs if len(one.things) == 2]
    alike = [sorted(one.split()) == sorted(other.split()) for one, other in twins]
    assert len(twins) > 10 and sum(alike) > 0.8 * len(twins)
    assert all(one != other for one, other in twins)
    assert all(toyland.split_of(scene) == "seen" for pair in pairs for scene in pair)


def test_a_clip_tells_its_pace_and_the_paces_are_drawn_alike_often() -> None:
    source = PacedConfig(size=8, num_frames=2, paces=(16.0, 32.0)).build()
    clips = [source.clip(index) for index in range(40)]
    assert {clip.fps for clip in clips} == {16.0, 32.0}
    for clip in clips:
        assert clip.framing is not None and clip.framing.stride == 8.0 / clip.fps
    assert 8 < sum(clip.fps == 16.0 for clip in clips) < 32


@pytest.mark.parametrize("fps", [4.0, 8.0, 16.0])
def test_whatever_shows_toyland_at_a_pace_tells_the_same_stride(fps: float) -> None:
    usual = ToylandConfig(size=16, num_frames=2, fps=fps).build().clip(0)
    paced = PacedConfig(size=16, num_frames=2, paces=(fps,)).build().clip(0)
    assert usual.framing == paced.framing and usual.framing is not None and usual.framing.stride == 8 / fps


@pytest.mark.parametrize("wrong", [{"paces": ()}, {"motions": ("fly",)}])
def test_a_pace_or_motion_that_is_none_is_refused(wrong: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(pydantic.ValidationError):
        PacedConfig.model_validate(wrong)


def test_of_motions_only_the_wanted_ones_are_shown() -> None:
    source = PacedConfig(motions=LASTING).build()
    assert {source.scene(index).things[0].motion for index in range(60)} == set(LASTING)


def test_clips_of_a_class_are_said_by_it() -> None:
    source = LabelledConfig(attribute="colour").build()
    for index in range(20):
        assert source.captions(index) == (source.scene(index).things[0].colour,)


def test_a_round_has_seven_views() -> None:
    with pytest.raises(UserError, match="7 views"):
        SolidsConfig(num_frames=8).build()


def shortened(run: Run, stage: Stage, batch: int) -> Run:
    """The run with a stage of two steps."""
    assert isinstance(stage, VideoStage)
    small = {"steps": 2, "batch": batch, "num_clips": 2, "pictures_beside": min(stage.pictures_beside, 1)}
    for setting, value in small.items():
        run = override(run, f"stages.{stage.name}.{setting}", str(value))
    return run


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_goes_on_with_the_bundled_model_and_does_its_task(name: str, tmp_path: Path) -> None:
    run = started(resolve(f"laptop:{RECIPE_OF.get(name, name)}"), bundled(), name)
    (stage,) = (stage for stage in run.stages if stage.name == name)
    run = shortened(run, stage, batch=1)
    fit(run, tmp_path / "run", only=name)
    model = load(tmp_path / "run" / "model")
    picture = torch.rand(3, 64, 64)
    asked = {
        "sft": Request("a red circle", steps=1),
        "v2v": Request("a red circle", frames=dict.fromkeys(range(4), picture), steps=1),
        "tup": Request("", frames=dict.fromkeys(range(0, 20, 2), picture), num_frames=20, steps=1),
        "stride2": Request("a red circle", steps=1),
        "frames32": Request("a red circle", steps=1),
        "long": Request("a red circle spins", num_frames=40, steps=1),
        "views": Request("", frames={0: picture}, steps=1),
        "classes": Request("red", steps=1),
    }
    clip = model.fulfil(asked[name])
    lengths = {"tup": 20, "frames32": 32, "long": 40, "views": 7}
    assert clip.num_frames == lengths.get(name, 16)
    assert clip.fps == {"tup": 16.0, "stride2": 4.0, "views": 2.0}.get(name, 8.0)
    assert clip.pixels.isfinite().all()


def test_the_fine_tuning_that_hides_tokens_runs_as_the_docs_say_it(tmp_path: Path) -> None:
    """From T2I on, on a small backbone: what comes before has no part in the settings that are named."""
    text = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()
    (told,) = re.findall(r"vitascope train laptop:sft((?: --set \S+?)+)`", text)
    run = changed("laptop:sft", told.split(" --set ")[1:])
    for path in ("model", "stages.t2i.model", "stages.t2v.model"):
        run = override(override(run, f"{path}.backbone.width", "32"), f"{path}.backbone.depth", "1")
    first = [stage.name for stage in run.stages].index("t2i")
    run = run.model_copy(update={"stages": run.stages[first:], "preview_prompts": ()})
    for stage in run.stages:
        run = shortened(run, stage, batch=2)
    fit(run, tmp_path / "run")
    marks = {
        stage.name: load_model(tmp_path / "run" / "stages" / stage.name).state_dict()["backbone.mask_token"]
        for stage in run.stages
    }
    assert torch.equal(marks["t2i"], marks["t2v"]) and torch.equal(marks["t2v"], marks["ti2v"])
    assert not torch.equal(marks["ti2v"], marks["sft"])  # it stands for the hidden tokens, which only this stage has


def test_what_was_judged_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By any model of ours: whether it can is not asked here."""
    shell = Shell(monkeypatch, capsys)
    views, classes = tmp_path / "views.png", tmp_path / "classes.png"
    asked = ["--num", "2", "--steps", "1", "--model", str(bundled())]
    shell.done("evaluate", "views", *asked, "--sheet", views)
    assert media.read_image(views).shape == (3, 2 * 64 + 1, 2 * 7 * 65 - 2 + 4)
    shell.done("evaluate", "classes", *asked, "--sheet", classes)
    assert media.read_image(classes).shape[2] == 2 * 4 * 65 - 2 + 4
    assert "and is kept" in shell.refused("evaluate", "views", *asked, "--sheet", views)
    assert "must end in .png" in shell.refused("evaluate", "classes", *asked, "--sheet", tmp_path / "x.mp4")


def test_classes_keep_their_own_text_and_backbone_and_take_the_autoencoder() -> None:
    run = started(resolve("laptop:classes"), bundled(), "classes")
    stage = run.stages[-1]
    assert run.at(stage).model.text == resolve("laptop:classes").model.text
    assert run.at(stage).model.text.names == tuple(COLOURS)  # type: ignore[attr-defined]
    assert run.at(stage).model.tokenizer == load_own().system.config.tokenizer
    (origin,) = stage.begins
    assert origin.weights == ("tokenizer.*",)


def test_a_gap_between_keyframes_is_a_window() -> None:
    defaults = resolve("laptop:long").at(resolve("laptop:long").stages[-1]).model.defaults
    assert defaults.num_frames == KEYFRAME_STRIDE + 1


def test_every_extension_is_trained_by_some_test() -> None:
    assert {RECIPE_OF.get(name, name) for name in STAGES} == {*extensions.recipes(laptop.stiv)}


def test_kinds_of_scenes_come_as_often_as_is_said() -> None:
    none = dict.fromkeys(KindMix.model_fields, 0.0)
    source = ToylandConfig(kinds=KindMix.model_validate({**none, "one": 3.0, "count": 1.0})).build()
    kinds = Counter(source.scene(index).kind for index in range(200))
    assert set(kinds) == {"one", "count"} and 120 < kinds["one"] < 180
    usual = ToylandConfig().build()
    drawn = (toyland.sample(random.Random(toyland.train_seed(index)), None, "seen") for index in range(40))
    assert [usual.scene(index) for index in range(40)] == list(drawn)
    with pytest.raises(pydantic.ValidationError, match="one kind of scene must have a weight above zero"):
        KindMix.model_validate(none)


def test_scenes_with_weighed_words_come_as_often_as_is_said() -> None:
    ones = KindMix.model_validate({**dict.fromkeys(KindMix.model_fields, 0.0), "one": 1.0})
    plain, chosen = (ToylandConfig(kinds=ones, word_weights=words) for words in ((), (("spins", 4.0), ("small", 2.0))))
    usual, wanted = (
        Counter(
            (scene.things[0].motion == "spins", scene.things[0].size) for scene in map(one.build().scene, range(900))
        )
        for one in (plain, chosen)
    )
    weights = {key: usual[key] * (4 if key[0] else 1) * (2 if key[1] == "small" else 1) for key in usual}
    for key, weight in weights.items():
        assert wanted[key] / 900 == pytest.approx(weight / sum(weights.values()), abs=0.06)
    assert plain.build().scene(5) == ToylandConfig(kinds=ones, word_weights=(("snow", 1.0),)).build().scene(5)


def test_a_weight_of_a_word_that_toyland_does_not_have_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="no scene of Toyland has 'spin'; did you mean 'spins'"):
        ToylandConfig(word_weights=(("spin", 2.0),))
    with pytest.raises(pydantic.ValidationError, match="'star' is given 2 weights; give it one"):
        ToylandConfig(word_weights=(("star", 2.0), ("star", 3.0)))
    with pytest.raises(UserError, match="did you mean 'spins'"):
        override(laptop.stiv(), "data.word_weights", '[["spin", 2.0]]')
    changed_run = override(laptop.stiv(), "data.word_weights", '[["spins", 2.0]]')
    assert isinstance(changed_run.data, ToylandConfig) and changed_run.data.word_weights == (("spins", 2.0),)
