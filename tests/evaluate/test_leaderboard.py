"""Models in their places, and what cannot be compared is marked."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from vitascope.errors import UserError
from vitascope.evaluate.vbench.aggregate import VBENCH, aggregate
from vitascope.evaluate.vbench.leaderboard import Row, board, place_by, places, print_board, published, row_of
from vitascope.evaluate.vbench.leaderboard_plot import labels, picture
from vitascope.evaluate.vbench.report import read_report


def report_of(row: Row, **changes: Any) -> dict[str, Any]:
    dimensions = {name: {"value": value / 100} for name, value in row.dimensions.items()}
    return {"suite": "vbench", "model": "mine", "dimensions": {**dimensions, **changes}}


def added(tmp_path: Path, content: Any, **told: str) -> Row:
    path = tmp_path / "mine_eval_results.json"
    path.write_text(json.dumps(content))
    return row_of(read_report(path, **told))


def gen3() -> Row:
    return next(row for row in published() if row.model == "Gen-3")


def printed(rows: list[Row], width: int = 150) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    print_board(rows, console)
    return console.export_text()


def test_the_same_values_take_the_same_place(tmp_path: Path):
    mine = added(tmp_path, report_of(gen3()))
    rows = board([mine])
    assert abs(places(rows)["mine"] - places(rows)["Gen-3"]) == 1
    assert all(place_by(name, mine) == place_by(name, gen3()) for name in VBENCH.dimensions)
    assert "Gen-3" in printed(rows) and "recomputed minus printed" in printed(rows)


def test_an_interval_gives_a_range_of_places(tmp_path: Path):
    wide = {"value": 0.95, "interval": [0.0, 1.0]}
    mine = added(tmp_path, report_of(gen3(), subject_consistency=wide))
    assert place_by("subject_consistency", mine) == (1, 26)


def test_what_was_measured_otherwise_is_marked_and_takes_no_place(tmp_path: Path):
    mine = added(tmp_path, report_of(gen3(), motion_smoothness={"value": 0.99, "departures": ["another interpolator"]}))
    rows = board([mine])
    assert places(rows)["mine"] is None and place_by("motion_smoothness", mine) is None
    assert place_by("color", mine) is not None
    # Nobody else's place moves.
    assert {name: place for name, place in places(rows).items() if name != "mine"} == places(board())
    shown = printed(rows)
    assert "99.0*" in shown and "not comparable" in shown and "another interpolator" in shown


def test_a_row_of_rewritten_prompts_says_so_beside_its_name(tmp_path: Path):
    content = report_of(gen3())
    plain, mine = added(tmp_path, content), added(tmp_path, {**content, "protocol": {"rewritten": True}})
    assert " mine ‡ " in printed(board([mine])) and "‡ videos of rewritten prompts" in printed(board([mine]))
    assert "‡" not in printed(board([plain]))
    assert any(label.startswith("mine ‡") for label in labels(board([mine])))


def test_official_files_are_read_and_incomplete_ones_have_no_total(tmp_path: Path):
    mine = added(tmp_path, {"subject consistency": [0.95, [{}] * 3], "dynamic_degree": 0.5}, model="short")
    assert mine.model == "short" and mine.aggregates() == {"quality": None, "semantic": None, "total": None}
    rows = board([mine])
    assert rows[-1] is mine and "not measured" in printed(rows)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"subject_consistency": 95.0}, "divide percents by 100"),
        ({"subject_consistencies": 0.95}, "did you mean 'subject_consistency'"),
        ({"subject_consistency": "good"}, "must be a number"),
        ({"subject_consistency": 0.9, "human_anatomy": 0.9}, "different suites"),
        ([], "values by the name"),
        ({"form": "videos", "measured": []}, "is a report of 'videos'"),
        ({"suite": "toyland_vbench", "model": "a", "dimensions": {}}, "another test"),
        ({"suite": "vbench", "dimensions": {}}, "is no report"),
        ({"diversity": 0.5}, "cannot stand beside"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: Any, told: str):
    with pytest.raises(UserError, match=told):
        added(tmp_path, content)


def test_names_stay_apart(tmp_path: Path):
    mine = added(tmp_path, report_of(gen3()), model="Gen-3")
    with pytest.raises(UserError, match="--name"):
        board([mine])


def test_what_is_missing_counts_as_a_raw_zero_where_that_is_wanted_and_takes_no_place(tmp_path: Path):
    content = {name: value / 100 for name, value in gen3().dimensions.items() if name != "scene"}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    report = read_report(path)
    assert row_of(report).aggregates()["total"] is None
    asked = report.model_copy(update={"protocol": {"parts": {"color": {"missing_as_zero": True}}}})
    for row in (row_of(report, missing_as_zero=True), row_of(asked)):
        total = aggregate(VBENCH, {**content, "scene": 0.0}).total
        assert row.aggregates()["total"] == pytest.approx(100 * total) and not row.comparable
        shown = printed(board([row]))
        assert f"{100 * total:.1f}*" in shown and "counted as a raw 0, as the official script does: scene" in shown


def test_narrow_terminals_get_two_tables(tmp_path: Path):
    shown = printed(board(), 80)
    assert "imag" in shown and "…" not in shown and max(map(len, shown.splitlines())) <= 80


def test_the_picture_is_one(tmp_path: Path):
    mine = added(tmp_path, report_of(gen3(), color={"value": 0.9, "departures": ["other detector"]}))
    with Image.open(io.BytesIO(picture(board([mine]), Path("a.png")))) as image:
        assert image.width > 1000 and len(image.convert("RGB").getcolors(1 << 24)) > 20
    with pytest.raises(UserError, match="png, svg or pdf"):
        picture(board(), Path("a.gif"))
