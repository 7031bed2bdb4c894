"""The evaluation asks, judges and counts; it needs no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from vitascope import toyland
from vitascope.evaluate.intervals import Rate
from vitascope.evaluate.toyland import evaluate, said, test_scene
from vitascope.types import Clip, Request, UserError

# pytest would take the function for a test of its own
scene_of = test_scene
del test_scene


def truthful(split: str, kind: str) -> object:
    """A generator that knows the truth: what any model is measured against."""

    def generate(requests: Sequence[Request]) -> list[Clip]:
        return [toyland.render(scene_of(split, kind, request.seed)) for request in requests]

    return generate


def test_truth_passes_everything():
    report = evaluate(truthful("unseen", "one"), split="unseen", kind="one", num=12, batch=5)
    assert report.rates()["all"] == 1.0


def test_grey_fails_nearly_everything():
    def grey(requests: Sequence[Request]) -> list[Clip]:
        return [Clip(torch.full((16, 3, 64, 64), 0.5)) for _ in requests]

    assert evaluate(grey, num=8).rates()["all"] == 0.0


def test_two_shards_are_one_run():
    whole = evaluate(truthful("seen", "two"), kind="two", num=6, batch=6)
    assert evaluate(truthful("seen", "two"), kind="two", num=6, batch=2) == whole


def test_an_image_is_given_and_measured():
    asked = []

    def generate(requests: Sequence[Request]) -> list[Clip]:
        asked.extend(requests)
        return [replace(toyland.render(scene_of("seen", "one", request.seed))) for request in requests]

    report = evaluate(generate, task="image", num=3)
    assert all(set(request.frames) == {0} for request in asked)
    assert report.psnr is not None and report.psnr > 90


def test_a_report_carries_its_protocol_and_intervals():
    told = json.loads(evaluate(truthful("seen", "one"), num=4).to_json())
    assert told["protocol"]["kind"] == "one" and told["dimensions"]["all"]["n"] == 4
    low, high = told["dimensions"]["all"]["interval"]
    assert low < told["dimensions"]["all"]["rate"] <= high + 1e-9


def test_reports_of_other_protocols_do_not_merge():
    one, other = (evaluate(truthful("seen", kind), kind=kind, num=1) for kind in ("one", "two"))
    with pytest.raises(UserError, match="kind"):
        one.merge(other)


def test_unknown_words_name_the_known_ones():
    with pytest.raises(UserError, match="seen, unseen"):
        evaluate(truthful("seen", "one"), split="sene")


def test_captions_are_canonical_or_paraphrased():
    scene = scene_of("seen", "one", 5)
    assert said(scene, "canonical", 1) == toyland.caption(scene)
    assert any(said(scene, "paraphrased", number) != toyland.caption(scene) for number in range(8))


@pytest.mark.parametrize(("passed", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634)])
def test_interval_of_a_rate(passed: int, count: int, low: float, high: float):
    """Known values of the Wilson interval."""
    assert Rate(passed, count).interval == pytest.approx((low, high), abs=1e-3)
