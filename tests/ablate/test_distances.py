"""Laws of distances between few clips: none in the mean between true ones, however they hang together."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tiny import save_tiny
from vitascope.ablate.distances import distances, energy_distance, stilled
from vitascope.ablate.measures import Floor, Sampled
from vitascope.card import load_model
from vitascope.types import generator_for


def test_sets_of_one_law_are_at_no_distance_and_others_apart() -> None:
    one, other = torch.randn(2, 200, 5, generator=generator_for(0, "sets"))
    assert abs(energy_distance(one, other)) < 0.05
    far = [energy_distance(one, other + shift) for shift in (0.5, 1.0, 2.0)]
    assert far == sorted(far) and far[0] > 0.05


@pytest.mark.parametrize("alike", [0.0, 0.9, 1.0])
def test_few_rows_of_one_law_are_at_no_distance_in_the_mean_however_alike_those_of_one_scene_are(alike: float) -> None:
    """Two draws of each scene, from sets as small as those of the tables. At 1 one is a copy of the other."""
    scenes, first, second = torch.randn(3, 4000, 8, 5, generator=generator_for(1, "pairs"))
    sides = (alike * scenes + math.sqrt(1 - alike**2) * own for own in (first, second))
    found = torch.tensor([energy_distance(*pair) for pair in zip(*sides, strict=True)], dtype=torch.float64)
    assert abs(found.mean()) <= 4 * found.std() / math.sqrt(len(found))


@pytest.mark.parametrize("images", [False, True])
def test_true_clips_are_at_no_distance_and_wrong_ones_beyond_them(tmp_path: Path, images: bool) -> None:
    model = load_model(save_tiny(tmp_path / "base", size=(64, 64), num_frames=16))
    asked = Sampled(num=6, images=images)
    copied, again = (Floor(of=asked, copied=copied).measure(model, 0) for copied in (True, False))
    truths = [one.truth for one in asked.questions(0)]
    if images:
        truths = [stilled(truth) for truth in truths]
    noise = generator_for(0, "noise")
    wrong = [replace(one, pixels=torch.rand(one.pixels.shape, generator=noise)) for one in truths]
    far = distances(model, wrong, truths, "one", images)
    assert copied["energy distance"] == copied["toyland distance"] == 0
    assert again["contrast"] != copied["contrast"] == 1  # other clips
    for name, value in far.items():
        assert abs(again[name] - copied[name]) < 0.5 * (value - copied[name]), name
    other = Floor(of=asked, copied=False)
    assert other.measure(model, 0) == again != other.measure(model, 1)
