"""Laws of stages: what begins anew, what depends on the seed alone, and which settings are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tiny import tiny_model, tiny_run
from vitascope.config import from_json, override, to_json
from vitascope.objectives.reconstruction import ReconstructionConfig
from vitascope.recipes.toyland import ToylandConfig
from vitascope.train.initialise import initialised
from vitascope.train.stages import CaptionStage, Run, Stage, TokenizerStage, VideoStage, is_folder
from vitascope.types import UserError


@pytest.mark.parametrize(
    "stage",
    [
        TokenizerStage(name="a", steps=4, batch=2, reconstruction=ReconstructionConfig(adversarial=0.1)),
        VideoStage(name="b", steps=4, batch=2, num_clips=8),
        VideoStage(name="c", steps=4, batch=2, num_clips=8, images=True),
        VideoStage(name="e", steps=4, batch=2, num_clips=8, pictures_beside=4, pictures=2, first_frames=0.5),
        CaptionStage(name="d", steps=4, batch=8, data=ToylandConfig()),
    ],
)
def test_a_lesson_is_a_function_of_its_step(stage: Stage, cache: Path) -> None:
    run = tiny_run(stage).at(stage)

    def lessons(steps: tuple[int, ...]) -> dict[int, float]:
        torch.manual_seed(len(steps))
        course = stage.begin(run, initialised(run.model, 0), cache, lambda items, _: iter(items))
        return {step: course.loss(step).total.item() for step in steps}

    forth, back = lessons((0, 1, 2)), lessons((2, 1, 0, 2))
    assert forth == back
    assert len(set(forth.values())) == 3


def test_pictures_beside_clips_have_a_loss_of_their_own_which_joins_theirs(cache: Path) -> None:
    clips, joint = (
        VideoStage(name="a", steps=4, batch=2, num_clips=8, pictures_beside=beside, pictures=2) for beside in (0, 4)
    )
    losses = []
    for stage in (clips, joint):
        run = tiny_run(stage).at(stage)
        losses.append(stage.begin(run, initialised(run.model, 0), cache, lambda items, _: iter(items)).loss(0))
    course = joint.begin(run, initialised(run.model, 0), cache, lambda items, _: iter(items))
    shown, beside = course.batches(0)
    assert (shown.clean.shape[0], beside.clean.shape[:2]) == (2, (4, 1)) and shown.clean.shape[1] > 1
    assert beside.captions[0] == beside.captions[1] and beside.captions[2] == beside.captions[3]
    assert (beside.micro == shown.micro[[0, 0, 1, 1]]).all(1).tolist() == [False] * 4
    firsts = joint.model_copy(update={"first_frames": 1.0})
    shown, beside = firsts.begin(run, initialised(run.model, 0), cache, lambda items, _: iter(items)).batches(0)
    assert torch.equal(beside.micro, shown.micro[[0, 0, 1, 1]])
    assert torch.equal(beside.clean, shown.clean[[0, 0, 1, 1], :1])
    alone, together = losses
    assert together.parts["velocity"] == alone.parts["velocity"]
    assert together.total.item() == pytest.approx(alone.total.item() + together.parts["pictures"])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("stages.videos.steps", "0"),
        ("stages.videos.batch", "-1"),
        ("stages.videos.learning_rate", "0"),
        ("stages.videos.decay_share", "1.5"),
        ("stages.videos.share", "-2"),
        ("stages.videos.name", "a/b"),
        ("stages.videos.name", "autoencoder"),
        ("preview_steps", "0"),
        ("precision", "fp8"),
        ("stages", "[]"),
        ("stages.videos.optimizer.beta1", "1"),
        ("stages.videos.lesson.tasks.image", "-1"),
        ("stages.videos.first_frames", "0.5"),  # of no pictures
        ("stages.autoencoder.reconstruction.kl", "-1"),
        ("model.tokenizer.widths", "[8, 0]"),
        ("model.tokenizer.decoder_blocks", "[0, -1]"),
        ("model.text.depth", "-1"),
        ("model.text.max_tokens", "0"),
        ("model.backbone.patch", "[1, 0]"),
        ("model.backbone.tail_blocks", "-1"),
        ("model.objective.spread", "0"),
        ("model.defaults.size", "[0, 16]"),
        ("model.defaults.fps", "0"),
        ("model.defaults.guidance_interval", "[0, 2]"),
        ("model.defaults.guidance_interval", "[0.8, 0.2]"),
        ("minutes", "0"),
        ("name", ".."),
        ("name", "a/b"),
        ("name", ""),
    ],
)
def test_settings_that_mean_nothing_are_refused(path: str, text: str) -> None:
    with pytest.raises(UserError, match=path):
        override(tiny_run(), path, text)


def test_settings_of_which_no_model_can_be_built_are_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="heads"):
        initialised(override(tiny_run(), "model.backbone.heads", "5").model, 0)


def test_a_run_survives_json() -> None:
    run = Run(name="tiny", model=tiny_model(), data=tiny_model().text, stages=tiny_run().stages)
    assert from_json(to_json(run)) == run


def test_a_contrast_of_captions_needs_two_of_each_clip(cache: Path) -> None:
    stage = CaptionStage(name="captions", steps=1, batch=2, data=ToylandConfig(num_captions=1))
    run = tiny_run(stage).at(stage)
    with pytest.raises(UserError, match="clip 0 has 1"):
        stage.rehearse(run, initialised(run.model, 0))


def test_a_folder_is_known_by_the_separator_of_its_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_folder("runs/mine") and not is_folder("t2i")
    with monkeypatch.context() as patch:
        patch.setattr(os, "sep", "\\")
        assert is_folder("runs/mine") and is_folder("runs\\mine") and not is_folder("t2i")
