"""The evaluation asks, judges and counts; it needs no model."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from vitascope import toyland
from vitascope.evaluate.intervals import Rate
from vitascope.evaluate.questions import KINDS, NUM_SEEDS, SCENES_PER_SEED, asked, said, test_scene
from vitascope.evaluate.toyland import Report, evaluate
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
    with pytest.raises(UserError, match="merge each shard once"):
        parts[0].merge(parts[1]).merge(parts[0])
    with pytest.raises(UserError, match="shard"):
        evaluate(truthful("seen", "two"), shard=(3, 3))


def test_a_stopped_run_goes_on_where_it_was_and_asks_nothing_twice():
    whole = evaluate(truthful("seen", "one"), num=6, batch=2, encode_decode=lambda clip: clip, made_with={"k": (1, 2)})
    written: list[str] = []
    asked_for: list[int] = []

    def generate(requests: Sequence[Request]) -> list[Clip]:
        asked_for.extend(request.seed for request in requests)
        if len(asked_for) == 6:
            raise KeyboardInterrupt
        return [toyland.render(scene_of("seen", "one", request.seed)) for request in requests]

    options = {"num": 6, "batch": 2, "encode_decode": lambda clip: clip, "made_with": {"k": (1, 2)}}
    with pytest.raises(KeyboardInterrupt):
        evaluate(generate, **options, written=lambda report: written.append(report.to_json()))
    assert [json.loads(text)["complete"] for text in written] == [False, False]
    before, asked_for = Report.from_json(written[-1]), []
    kept: list[int] = []
    again = evaluate(
        truthful("seen", "one"), **options, before=before, keep=lambda number, clip: kept.append(number),
        progress=lambda done, total: asked_for.append(done),
    )  # fmt: skip
    assert again == whole and kept == [4, 5] and asked_for == [6]
    assert json.loads(again.to_json())["complete"] and Report.from_json(again.to_json()).to_json() == again.to_json()
    with pytest.raises(UserError, match="made otherwise \\(seed\\)"):
        evaluate(truthful("seen", "one"), **options, seed=1, before=before)


def test_each_seed_has_scenes_of_its_own_however_many_are_judged():
    def scenes(seed: int, num: int) -> frozenset[int]:
        return evaluate(truthful("seen", "one"), seed=seed, num=num).scenes

    assert scenes(0, 4).isdisjoint(scenes(1, 2))
    assert scenes(1, 1) < scenes(1, 2)
    assert scene_of("unseen", "one", NUM_SEEDS * SCENES_PER_SEED - 1)  # the last one that there is


@pytest.mark.parametrize(
    "wrong", [{"num": 0}, {"num": SCENES_PER_SEED + 1}, {"batch": 0}, {"seed": -1}, {"seed": 2_000_000_000}]
)
def test_numbers_out_of_range_name_the_range(wrong: dict[str, int]):
    with pytest.raises(UserError, match="num must be from 1 to 100000, batch at least 1 and seed from 0 to 9999"):
        evaluate(truthful("seen", "one"), **wrong)


def test_the_ceiling_is_the_truth_through_the_tokenizer():
    report = evaluate(truthful("seen", "one"), num=4, encode_decode=lambda clip: replace(clip, pixels=0 * clip.pixels))
    assert report.rates()["all"] == 1.0 and report.ceiling["all"].value == 0.0
    assert report.returned.psnr is None and report.tokenizer.psnr is not None
    shown = printed(report)
    assert "ceiling" in shown and "true clips through the tokenizer" in shown and "first frame" not in shown


def printed(report: Report) -> str:
    console = Console(record=True, width=80, file=io.StringIO())
    report.print(console)
    return console.export_text()


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


@pytest.mark.parametrize(("task", "given"), [("text", set()), ("image", {0})])
def test_requests_say_what_the_protocol_says(task: str, given: set[int]):
    requested = []

    def generate(requests: Sequence[Request]) -> list[Clip]:
        requested.extend(requests)
        return [toyland.render(scene_of("seen", "one", request.seed)) for request in requests]

    protocol = evaluate(generate, task=task, num=3).protocol
    assert len(requested) == 3
    for one in requested:
        assert set(one.frames) == given
        assert one.size is not None
        told = {"num_frames": one.num_frames, "size": list(one.size), "fps": one.fps}
        assert told.items() <= protocol.items()


def test_a_clip_of_another_size_is_not_judged():
    def small(requests: Sequence[Request]) -> list[Clip]:
        return [Clip(torch.zeros(16, 3, 32, 32)) for _ in requests]

    with pytest.raises(UserError, match="64x64, at 8 fps; this model made 16 frames, 32x32"):
        evaluate(small, task="image", num=1)


def test_the_first_frame_returned_is_measured_beside_what_the_tokenizer_alone_would_return():
    def generate(requests: Sequence[Request]) -> list[Clip]:
        clips = [toyland.render(scene_of("seen", "one", request.seed)) for request in requests]
        return [replace(clip, pixels=clip.pixels + 0.1) for clip in clips]

    def encode_decode(clip: Clip) -> Clip:
        off = torch.full((16, 1, 1, 1), 0.1)
        off[0] = 0.01
        return replace(clip, pixels=clip.pixels + off)

    report = evaluate(generate, task="image", num=3, encode_decode=encode_decode)
    assert report.returned.psnr == pytest.approx(20, abs=0.01)
    assert report.returned_best.psnr == pytest.approx(40, abs=0.01)
    assert report.tokenizer.psnr == pytest.approx(-10 * math.log10((15 * 0.1**2 + 0.01**2) / 16), abs=0.01)
    told = json.loads(report.to_json())
    assert told["given_frames_psnr"] == report.returned.psnr
    assert told["given_frames_psnr_of_the_tokenizer"] == report.returned_best.psnr
    assert told["tokenizer_psnr"] == report.tokenizer.psnr
    assert "given frames returned: 20.0 dB (the tokenizer alone: 40.0 dB)" in printed(report)


def test_a_report_carries_its_protocol_and_intervals():
    told = json.loads(evaluate(truthful("seen", "one"), num=4).to_json())
    assert told["protocol"]["kind"] == "one" and told["dimensions"]["all"]["n"] == 4
    low, high = told["dimensions"]["all"]["interval"]
    assert low < told["dimensions"]["all"]["rate"] <= high + 1e-9


def test_reports_of_other_protocols_do_not_merge():
    one, other = (evaluate(truthful("seen", kind), kind=kind, num=1) for kind in ("one", "two"))
    with pytest.raises(UserError, match="kind"):
        one.merge(other)
    fast = evaluate(truthful("seen", "one"), num=1, made_with={"model": "a", "steps": 8})
    slow = evaluate(truthful("seen", "one"), num=1, made_with={"model": "a", "steps": 25})
    for different in (slow, one):
        with pytest.raises(UserError, match=r"differ in (.*, )?steps"):
            fast.merge(different)


def test_unknown_words_name_the_known_ones():
    with pytest.raises(UserError, match="seen, unseen"):
        evaluate(truthful("seen", "one"), split="sene")


def test_captions_are_canonical_or_paraphrased():
    scene = scene_of("seen", "one", 5)
    assert said(scene, "canonical", 1) == toyland.caption(scene)
    assert all(said(scene, "paraphrased", number) != toyland.caption(scene) for number in range(20))
    paraphrased = [said(scene, "both", number) != toyland.caption(scene) for number in range(20)]
    assert paraphrased == [False, True] * 10


@pytest.mark.parametrize(("passed", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634)])
def test_interval_of_a_rate(passed: int, count: int, low: float, high: float):
    """Known values of the Wilson interval."""
    assert Rate(passed, count).interval == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize(
    ("task", "given"),
    [("prediction", [0, 1, 2, 3]), ("interpolation", [0, 15]), ("upsampling", list(range(0, 16, 2)))],
)
def test_each_task_gives_its_frames_of_the_truth_and_tells_the_others_apart(task: str, given: list[int]) -> None:
    def half_right(requests: Sequence[Request]) -> list[Clip]:
        clips = truthful("seen", "one")(requests)
        for one, clip in zip(requests, clips, strict=True):
            assert sorted(one.frames) == given
            assert all(torch.equal(one.frames[n], clip.pixels[n]) for n in given)
        rest = [n for n in range(16) if n not in given]
        off = 0.1 * torch.ones(len(rest), 3, 64, 64)
        return [replace(clip, pixels=clip.pixels.index_add(0, torch.tensor(rest), off)) for clip in clips]

    report = evaluate(half_right, num=3, task=task)
    assert report.returned.psnr == 100
    assert report.made_up.psnr == pytest.approx(20, abs=0.01)
    assert "the other frames, beside the true ones: 20.0 dB" in printed(report)


def test_pictures_are_asked_for_in_words_and_judged_by_what_a_picture_can_show() -> None:
    def drawn(requests: Sequence[Request]) -> list[Clip]:
        assert all(one.num_frames == 1 and not one.frames for one in requests)
        return [toyland.render(scene_of("seen", "one", one.seed), 1) for one in requests]

    report = evaluate(drawn, num=6, task="picture")
    assert report.protocol["num_frames"] == 1
    assert report.rates()["all"] == 1.0
    assert {"shape", "colour", "background"} <= set(report.rates())
    assert "motion" not in report.rates()
