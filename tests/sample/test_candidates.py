"""Laws of choosing between candidates: the first is what would be made of one alone, the judge is the model itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vitascope import toyland
from vitascope.noise import Estimate
from vitascope.sample.candidates import best_of, passes_of_judging, text_evidence
from vitascope.sample.latents import sample_latents
from vitascope.sample.legal import Legal, legalise
from vitascope.sample.loading import load_own
from vitascope.sample.model import Model
from vitascope.system import VideoModel
from vitascope.types import Request, UserError

SHAPES = ("a large red circle", "a large blue star", "a large green square", "a large yellow heart")


def pictures_of(model: VideoModel, words: list[str]) -> list[Legal]:
    return [legalise(model, Request(text, num_frames=1, seed=seed)) for seed, text in enumerate(words)]


def test_one_candidate_is_no_choice_and_the_first_of_many_is_that_one(model: Model) -> None:
    wanted = pictures_of(model.system, ["x", "y"])
    alone = sample_latents(model.system, wanted)
    assert torch.equal(best_of(model.system, wanted, 1), alone)
    first = [replace(one, candidate=number) for one in wanted for number in range(3)]
    torch.testing.assert_close(sample_latents(model.system, first)[::3], alone, atol=1e-5, rtol=0)


def test_the_best_is_one_of_the_candidates_and_no_other_shows_its_words_more_clearly(model: Model) -> None:
    wanted = pictures_of(model.system, ["x", "y"])
    kept = best_of(model.system, wanted, 5)
    for one, best in zip(wanted, kept, strict=True):
        candidates = [replace(one, candidate=number) for number in range(5)]
        made = sample_latents(model.system, candidates)
        assert any(torch.allclose(best, other, atol=1e-5) for other in made)
        told = text_evidence(model.system, [one] * 6, torch.cat([made, best[None]]))
        assert told[-1] == pytest.approx(told.max().item(), abs=1e-4)
        assert len({round(value, 6) for value in told[:-1].tolist()}) == 5


def test_a_choice_does_not_depend_on_the_batch(model: Model) -> None:
    rules = {"picture_candidates": 4, "image_first": True}
    wanted = [Request("x", seed=seed, num_frames=4, rules=rules) for seed in (1, 2)]
    for one, clip in zip(wanted, model.batch(wanted), strict=True):
        torch.testing.assert_close(model.fulfil(one).pixels, clip.pixels, atol=1e-4, rtol=0)
        first = replace(one, num_frames=1)
        torch.testing.assert_close(model.fulfil(first).pixels, clip.pixels[:1], atol=1e-5, rtol=0)


def test_without_words_nothing_is_told_and_the_first_is_kept(model: Model) -> None:
    silent = [replace(one, request=replace(one.request, prompt="")) for one in pictures_of(model.system, ["x", "y"])]
    latents = torch.randn(2, 1, 4, 2, 2)
    assert torch.equal(text_evidence(model.system, silent, latents), torch.zeros(2))
    alone = sample_latents(model.system, silent)
    torch.testing.assert_close(best_of(model.system, silent, 3), alone, atol=1e-5, rtol=0)


def test_frames_that_were_given_are_not_judged(model: Model) -> None:
    picture = torch.rand(3, 16, 16)
    one = legalise(model.system, Request("x", frames={0: picture}, num_frames=4))
    made = sample_latents(model.system, [one])
    spoiled = made.clone()
    spoiled[:, 0] += 5
    torch.testing.assert_close(text_evidence(model.system, [one], spoiled), text_evidence(model.system, [one], made))


def test_the_bundled_model_tells_which_picture_its_words_mean() -> None:
    model = load_own(None, "cpu").system
    said = [f"{thing} stays still on a black background" for thing in SHAPES]
    true = model.tokenizer.encode(torch.stack([drawn(text) for text in said]))
    table = torch.stack([text_evidence(model, pictures_of(model, [text] * len(said)), true) for text in said])
    assert table.argmax(1).tolist() == list(range(len(said)))


def drawn(text: str) -> Tensor:
    return toyland.render(toyland.parse(text)).pixels[:1]


@pytest.mark.parametrize("count", [0, -1, 65, 1.5])
def test_a_number_of_candidates_that_cannot_be_is_refused(model: Model, count: float) -> None:
    with pytest.raises(UserError, match="picture_candidates"):
        model.fulfil(Request("x", rules={"picture_candidates": count}))


def test_progress_passes_through_all_candidates_and_ends_with_the_one_that_is_kept(model: Model) -> None:
    shares: list[float] = []
    request = Request("x", num_frames=4, steps=8, rules={"image_first": True, "picture_candidates": 4})
    model.fulfil(request, progress=lambda done, steps, z: shares.append(done / steps))
    assert shares == sorted(shares) and shares[-1] == 1 and 4 / 8 in shares

    heard: list[Tensor] = []
    (wanted,) = pictures_of(model.system, ["x"])
    kept = best_of(model.system, [wanted], 6, progress=lambda done, steps, z: heard.append(z))
    assert torch.equal(heard[-1], kept)


def test_the_backbone_is_asked_as_often_as_is_reckoned(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    estimate = model.system.estimate

    def counted(z: Tensor, *others: object) -> Estimate:
        rows.append(len(z))
        return estimate(z, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(model.system, "estimate", counted)
    (wanted,) = pictures_of(model.system, ["x"])
    best_of(model.system, [wanted], 1)
    alone = sum(rows)
    rows.clear()
    best_of(model.system, [wanted], 5)
    assert sum(rows) == 5 * (alone + passes_of_judging(5))
    assert passes_of_judging(1) == 0
