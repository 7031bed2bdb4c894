"""VBench and CompBench in Toyland: the truth passes everything, and what is worthless fails what it should."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from rich.console import Console

from vitascope.errors import UserError
from vitascope.evaluate.intervals import Rate
from vitascope.evaluate.questions import KINDS, question
from vitascope.evaluate.report.page import page_of
from vitascope.evaluate.report.reading import read_one
from vitascope.evaluate.vbench.aggregate import VBENCH
from vitascope.evaluate.vbench.report import read_report
from vitascope.evaluate.vbench.twin_questions import CATEGORIES, DIMENSIONS
from vitascope.evaluate.vbench.twins import (
    SPOILT,
    TWIN,
    TwinReport,
    evaluate_suites,
    judged_by_all,
)
from vitascope.recipes.laptop import stiv
from vitascope.sample.generate import generate
from vitascope.system import VideoModel
from vitascope.train.initialise import initialised
from vitascope.types import Clip, Request

NUM = 1


def truthful(requests: Sequence[Request]) -> list[Clip]:
    """A generator that finds the truth by the wording, whichever kind was asked for."""
    found = []
    for request in requests:
        of_kinds = [question("seen", kind, request.seed, "canonical", "text") for kind in KINDS]
        found.append(next(one.truth for one in of_kinds if one.request.prompt == request.prompt))
    return found


@cache
def drawn() -> VideoModel:
    return initialised(stiv().model, seed=0).eval().requires_grad_(False)


def untrained(requests: Sequence[Request]) -> list[Clip]:
    """The network that the command hands in."""
    return generate(drawn(), [replace(one, steps=1, guidance=1.0) for one in requests])


@pytest.fixture(scope="module")
def report() -> TwinReport:
    return evaluate_suites(truthful, num=NUM, captions="canonical", batch=7, untrained=untrained)


def test_every_dimension_has_a_twin():
    assert tuple(DIMENSIONS) == VBENCH.dimensions == TWIN.dimensions and len(CATEGORIES) == 7
    assert TWIN.weights == VBENCH.weights
    assert TWIN.groups["quality"]["dynamic_degree"].weight == 0.5


def test_the_truth_passes_everything(report: TwinReport):
    assert report.columns["made"] == report.columns["truth"]
    rates = {name: rate for name, rate in report.columns["truth"].items() if rate.count}
    assert len(rates) >= 18 and all(rate.value == 1 for rate in rates.values())


def test_what_is_worthless_fails_what_it_should(report: TwinReport):
    def rate(column: str, name: str) -> float:
        return report.columns[column][name].value

    for column in ("untrained", *SPOILT):
        assert rate(column, "overall_consistency") < 0.5
    for name in ("human_action", "aesthetic_quality", "imaging_quality"):
        assert rate("untrained", name) < 0.5
    for name in ("dynamic_degree", "object_interactions", "dynamic_attribute_binding"):
        assert rate("still", name) == 0
    assert rate("still", "temporal_flickering") == rate("still", "motion_smoothness") == 1
    assert rate("shuffled", "subject_consistency") < 1 and rate("shuffled", "object_class") == 1
    assert rate("wrong caption", "object_class") < 1 and rate("wrong caption", "imaging_quality") == 1


def test_an_empty_picture_fails_what_its_scene_asks(report: TwinReport):
    """The untrained network shows no thing that could jerk; that is no reason to leave smoothness out."""
    for column in report.columns:
        for name, rate in report.columns["truth"].items():
            assert report.columns[column][name].count >= rate.count, (column, name)
    assert report.columns["untrained"]["motion_smoothness"].value == 0
    assert None not in (report.scores("untrained").groups["quality"], report.scores("untrained").total)


def test_shards_are_one_run(report: TwinReport):
    parts = [
        evaluate_suites(truthful, num=NUM, captions="canonical", shard=(n, 2), untrained=untrained) for n in range(2)
    ]
    assert parts[0].merge(parts[1]) == report
    with pytest.raises(UserError, match="merge each shard once"):
        parts[0].merge(parts[0])
    with pytest.raises(UserError, match=f"of {len(KINDS)} scenes none is left for shard {len(KINDS)}/16"):
        evaluate_suites(truthful, num=NUM, shard=(len(KINDS), 16))


def test_a_stopped_run_goes_on(report: TwinReport):
    part = evaluate_suites(truthful, num=NUM, captions="canonical", shard=(0, 2), untrained=untrained)
    told = part.to_json()
    assert json.loads(told)["complete"] is False
    kept: list[int] = []
    again = evaluate_suites(
        truthful, num=NUM, captions="canonical", before=TwinReport.from_json(told),
        keep=lambda number, clip: kept.append(number), untrained=untrained,
    )  # fmt: skip
    assert again == report and not set(kept) & part.scenes and json.loads(again.to_json())["complete"]


def test_the_report_says_what_it_is_and_is_not(report: TwinReport, tmp_path: Path):
    told = json.loads(report.to_json())
    assert told["suite"] == "toyland_vbench" and told["protocol"]["num"] == NUM
    console = Console(record=True, width=150, file=io.StringIO())
    report.print(console)
    shown = console.export_text()
    assert "quality" in shown and "it has none" in shown and "shuffled" in shown and "caption" in shown
    path = tmp_path / "report.json"
    path.write_text(report.to_json())
    with pytest.raises(UserError, match="another test"):
        read_report(path)
    one = read_one(path)
    numbers = {number.metric: number for number in one.measured}
    assert numbers["total"].value == told["scored"]["made"]["total"] and one.complete
    assert numbers["human_action"].beside["untrained"] == told["dimensions"]["human_action"]["untrained"]["rate"]
    assert set(numbers["human_action"].videos) <= set(one.clips)
    assert numbers["object_interactions"].protocol["suite"] == "toyland_compbench"
    assert page_of([(path, one)]).count("<figure>") == 2  # a star for each suite


def test_what_does_not_apply_is_not_counted():
    one = question("seen", "one", 0, "canonical", "text")
    rates = judged_by_all(one.truth, one.wanted)
    assert rates["spatial_relationship"] == rates["object_interactions"] == Rate()
    empty = TwinReport({}, {"made": rates})
    assert empty.scores("made").total is None and empty.mean_of_categories("made") is None
