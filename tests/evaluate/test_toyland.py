"""The evaluation asks, judges and counts; it needs no model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from vitascope import toyland
from vitascope.evaluate.intervals import Rate
from vitascope.evaluate.toyland import KINDS, asked, evaluate, said, test_scene
from vitascope.toyland import scene as toyland_scene
from vitascope.toyland.paraphrases import SYNONYMS
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


def test_truth_passes_what_a_paraphrase_asks_for():
    report = evaluate(truthful("unseen", "one"), split="unseen", captions="paraphrased", num=16)
    assert report.rates()["all"] == 1.0
    assert report.made["size"].count < report.made["all"].count  # some captions leave it out


def test_shards_are_one_run_and_batches_do_not_matter():
    whole = evaluate(truthful("seen", "two"), kind="two", num=7, batch=7)
    parts = [evaluate(truthful("seen", "two"), kind="two", num=7, batch=2, shard=(n, 3)) for n in range(3)]
    assert parts[0].merge(parts[1]).merge(parts[2]) == whole
    with pytest.raises(UserError, match="shard"):
        evaluate(truthful("seen", "two"), shard=(3, 3))


def test_the_ceiling_is_the_truth_through_the_tokenizer():
    report = evaluate(truthful("seen", "one"), num=4, encode_decode=lambda clip: replace(clip, pixels=0 * clip.pixels))
    assert report.rates()["all"] == 1.0 and report.ceiling["all"].value == 0.0
    console = Console(record=True, width=120)
    report.print(console)
    assert "ceiling" in console.export_text()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_caption_leaves_out_is_not_asked(kind: str):
    for number in range(20):
        scene = scene_of("seen", kind, number)
        assert asked(scene, toyland.caption(scene)) == scene
        text = said(scene, "paraphrased", number)
        told = asked(scene, text)
        sizes = Counter(thing.size for thing in told.things if thing.size)
        for size in toyland_scene.SIZES:
            times = sum(text.split().count(word) for word in set(SYNONYMS[size]))
            assert times == (sizes[size] > 0 if kind in ("count", "change") else sizes[size])
        assert told.background in (scene.background, "")


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
