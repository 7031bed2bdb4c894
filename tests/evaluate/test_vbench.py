"""The aggregation of VBench and its relatives: known answers from published tables, and laws."""

from __future__ import annotations

import csv

import pytest

from beside import SHARED, needs
from vitascope.errors import UserError
from vitascope.evaluate.vbench.aggregate import (
    SUITES,
    VBENCH,
    VBENCH_2,
    VBENCH_I2V,
    Scale,
    Suite,
    aggregate,
    long_video,
    rounding_bound,
    slow_fast,
)
from vitascope.evaluate.vbench.leaderboard import AGGREGATES, misprints, published, recomputed

MISPRINTED = {"VideoCrafter", "CogVideoX-5B", "M-256", "CogVideo"}


def test_the_consistent_rows_recompute_and_the_misprinted_ones_are_found():
    assert {row.model for row in published() if misprints(row)} == MISPRINTED
    assert len(published()) == 25
    off = {name: [] for name in AGGREGATES}
    for row in published():
        if row.model not in MISPRINTED and row.printed is not None:
            for name, value in recomputed(row).items():
                off[name].append(abs(value - row.printed[name]))
    assert {name: round(sum(values) / 21, 3) for name, values in off.items()} == {
        "quality": 0.033,
        "semantic": 0.034,
        "total": 0.026,
    }
    assert {name: round(max(values), 3) for name, values in off.items()} == {
        "quality": 0.063,
        "semantic": 0.072,
        "total": 0.067,
    }


def test_rounding_alone_explains_so_much():
    bound = rounding_bound(VBENCH, 0.1)
    assert bound.groups == pytest.approx({"quality": 0.136, "semantic": 0.135}, abs=5e-4)
    assert bound.total == pytest.approx(0.136, abs=5e-4)


@needs(SHARED / "vbench")
def test_the_rows_in_the_package_are_those_of_the_paper():
    with open(SHARED / "vbench" / "leaderboard.csv", encoding="utf-8") as file:
        rows = {
            line.pop("model"): {name: float(value) for name, value in line.items()} for line in csv.DictReader(file)
        }
    assert rows == {row.model: {**row.dimensions, **row.printed} for row in published()}
    with open(SHARED / "vbench" / "leaderboard_check.csv", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            (row,) = (row for row in published() if row.model == line["model"])
            for name in AGGREGATES:
                assert recomputed(row)[name] == pytest.approx(float(line[f"{name}_recomputed"]), abs=0.006)
            assert bool(misprints(row)) == (line["within_rounding_bound"] == "False")


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_the_best_raw_values_score_one_and_the_lowest_nothing(suite: Suite):
    ends = [
        aggregate(
            suite, {name: getattr(scale, end) for group in suite.groups.values() for name, scale in group.items()}
        )
        for end in ("high", "low")
    ]
    assert (ends[0].total, ends[1].total) == pytest.approx((1, 0))
    assert list(ends[0].groups.values()) == pytest.approx([1] * len(suite.groups))


def test_weights_are_those_of_the_official_code():
    """What one point more in one dimension adds to the total."""

    def gain(suite: Suite, name: str) -> float:
        raw = dict.fromkeys(suite.dimensions, 0.5)
        return aggregate(suite, {**raw, name: 0.6}).total - aggregate(suite, raw).total

    assert gain(VBENCH, "dynamic_degree") == pytest.approx(0.1 * 0.5 / 6.5 * 4 / 5)
    assert gain(VBENCH, "motion_smoothness") == pytest.approx(0.1 / (0.9975 - 0.706) / 6.5 * 4 / 5)
    assert gain(VBENCH, "scene") == pytest.approx(0.1 / 0.8222 / 9 / 5)
    assert gain(VBENCH_I2V, "camera_motion") == pytest.approx(0.1 * 0.1 / 2.1 / 2)
    assert gain(VBENCH_I2V, "aesthetic_quality") == pytest.approx(0.1 / 5.5 / 2)
    assert gain(VBENCH_2, "diversity") == pytest.approx(0.1 / 2 / 5)
    assert gain(VBENCH_2, "camera_motion") == pytest.approx(0.1 / 7 / 5)
    assert len(VBENCH.dimensions) == 16 and len(VBENCH_2.dimensions) == 18


def test_a_missing_dimension_leaves_its_group_open_or_counts_as_nothing():
    raw = dict.fromkeys(VBENCH.dimensions, 0.9)
    del raw["subject_consistency"]
    scores = aggregate(VBENCH, raw)
    assert scores.groups["quality"] is None and scores.total is None and scores.missing == ("subject_consistency",)
    assert scores.groups["semantic"] is not None
    official = aggregate(VBENCH, raw, missing_as_zero=True)
    assert official.total == aggregate(VBENCH, {**raw, "subject_consistency": 0.0}).total
    assert Scale(0.1462)(0.0) < 0


def test_unknown_and_unmeasured_dimensions_are_refused():
    with pytest.raises(UserError, match="did you mean 'color'"):
        aggregate(VBENCH, {"colour": 0.5})
    with pytest.raises(UserError, match="leave out"):
        aggregate(VBENCH, {"color": float("nan")})


def test_long_videos_count_alike():
    assert long_video([1.0, 0.5]) == 0.75


KNOTS = {0.0: 0.0, 0.5: 0.9, 1.0: 1.0}


def test_slow_and_fast_are_fused_on_one_scale():
    assert slow_fast(0.8, 0.75, KNOTS) == 0.8  # the official default
    assert slow_fast(0.8, 0.75, KNOTS, (0.5, 0.5)) == pytest.approx(0.5 * 0.8 + 0.5 * 0.95)
    assert slow_fast(0.8, None, KNOTS, (0.5, 0.5)) == 0.8
    for knot, value in KNOTS.items():
        assert slow_fast(0.0, knot, KNOTS, (0.0, 1.0)) == value
    assert slow_fast(0.0, 1.2, KNOTS, (0.0, 1.0)) == 1.0
