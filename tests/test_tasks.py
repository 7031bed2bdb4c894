"""Laws of the tasks: which frames are known, and how often."""

from __future__ import annotations

import pytest
import torch

from vitascope.tasks import (
    MASKS,
    TaskMix,
    image_to_video,
    interpolation,
    prediction,
    text_to_video,
    upsampling,
)
from vitascope.types import UserError, generator_for

ALL = {"text": 1.0, "image": 1.0, "prediction": 1.0, "interpolation": 1.0, "upsampling": 1.0}
POSSIBLE = {
    "text": [text_to_video(8)],
    "image": [image_to_video(8)],
    "prediction": [prediction(8, given) for given in (2, 3, 4)],
    "interpolation": [interpolation(8)],
    "upsampling": [upsampling(8)],
}


@pytest.mark.parametrize("num_frames", [1, 2, 5, 16])
def test_each_task_knows_the_frames_of_its_name(num_frames):
    last = num_frames - 1
    assert numbers(text_to_video(num_frames)) == []
    assert numbers(image_to_video(num_frames)) == [0]
    assert numbers(interpolation(num_frames)) == sorted({0, last})
    assert numbers(upsampling(num_frames, every=3)) == list(range(0, num_frames, 3))
    for given in (0, 1, num_frames):
        assert numbers(prediction(num_frames, given)) == list(range(given))


def numbers(mask: torch.Tensor) -> list[int]:
    return mask.nonzero()[:, 0].tolist()


def test_tasks_are_special_cases_of_each_other():
    assert torch.equal(prediction(9, 0), text_to_video(9))
    assert torch.equal(prediction(9, 1), image_to_video(9))
    assert torch.equal(upsampling(9, every=8), interpolation(9))
    assert torch.equal(upsampling(9, every=9), image_to_video(9))
    assert upsampling(9, every=1).all()


@pytest.mark.parametrize("task", list(ALL))
def test_a_task_of_weight_zero_is_never_drawn_and_the_only_one_always(task):
    only = TaskMix(**{name: float(name == task) for name in ALL}).draw(50, 8, generator_for(0, task))
    others = TaskMix(**(ALL | {task: 0.0})).draw(300, 8, generator_for(1, task))
    assert all(any(torch.equal(mask, one) for one in POSSIBLE[task]) for mask in only)
    assert not any(torch.equal(mask, one) for mask in others for one in POSSIBLE[task])


def test_tasks_are_drawn_as_often_as_their_weights_say():
    masks = TaskMix(text=1.0, image=3.0).draw(1500, 4, generator_for(2))
    assert masks[:, 0].float().mean().item() == pytest.approx(0.75, abs=0.04)
    assert not masks[:, 1:].any()


def test_only_the_ratio_of_weights_matters():
    small, large = (TaskMix(text=factor, image=2 * factor).draw(64, 8, generator_for(3)) for factor in (0.25, 4.0))
    assert torch.equal(small, large)


@pytest.mark.parametrize("num_frames", [3, 4, 5, 16])
def test_every_clip_has_a_frame_left_to_make(num_frames):
    masks = TaskMix(**ALL).draw(500, num_frames, generator_for(4))
    assert masks.shape == (500, num_frames)
    assert not masks.all(dim=1).any()


def test_the_same_generator_draws_the_same_and_another_one_does_not():
    draws = [TaskMix(**ALL).draw(64, 8, generator_for(seed)) for seed in (5, 5, 6)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_every_task_has_a_weight_and_every_weight_a_task():
    assert set(MASKS) == set(TaskMix.model_fields) - {"given"}


def test_a_prediction_may_be_given_the_same_number_each_time():
    masks = TaskMix(text=0.0, prediction=1.0, given=4).draw(20, 16, generator_for(8))
    assert all(torch.equal(mask, prediction(16, 4)) for mask in masks)
    with pytest.raises(UserError, match="no task has a weight"):
        TaskMix(text=0.0, prediction=1.0, given=4).draw(2, 4, generator_for(8))


TRAINING = TaskMix(text=0.5, image=0.25, prediction=0.1, interpolation=0.1, upsampling=0.05)


@pytest.mark.parametrize(
    ("mix", "num_frames", "name", "known"),
    [
        (
            TRAINING,
            16,
            "training",
            "0 0 aaaa 0 0 8000 8001 8001 0 f800 8000 8000 0 8001 8001 0 8000 0 8001 8001 0 0 0 f000",
        ),
        (TaskMix(**ALL), 8, "even", "e0 80 81 80 f0 80 0 80 c0 0 80 e0"),
        (TaskMix(**ALL), 2, "two frames", "0 2 2 2 2 0 0 2 0 2 2 2"),
    ],
)
def test_draws_stay_what_they_are(mix, num_frames, name, known):
    """A run that a newer version resumes must see the lessons that it would have seen. Known frames as hex numbers."""
    wanted = [int(word, 16) for word in known.split()]
    masks = mix.draw(len(wanted), num_frames, generator_for(0, "lesson", name))
    assert [sum(2 ** (num_frames - 1 - number) for number in numbers(mask)) for mask in masks] == wanted


def test_images_are_made_from_text_alone():
    assert not TaskMix(text=0.0, image=1.0).draw(20, 1, generator_for(7)).any()
