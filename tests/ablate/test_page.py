"""Laws of pages: what heads the verdicts, what never happened, and which page is not replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shell import Shell
from tiny import StripesConfig, save_tiny, tiny_run
from vitascope.ablate.measures import HeldOutError
from vitascope.ablate.report import publish, refuse_to_replace
from vitascope.ablate.run import Budget, made_of
from vitascope.ablate.table import Claim, Row, Side, Table
from vitascope.ablate.tables import TABLES
from vitascope.errors import UserError

PAGES = Path(__file__).parents[2] / "docs" / "ablations"
OF = {"measures": 2, "base": "0123456789ab", "budget": Budget().model_dump()}
MEASURES = (HeldOutError(data=StripesConfig()),)


def table(*claims: Claim) -> Table:
    """Two rows that are trained, and two that are the base."""
    rows = [Row(name=name, says="a row", measures=MEASURES, run=tiny_run()) for name in ("one", "other")]
    rows += [Row(name=name, says="the base", measures=MEASURES) for name in ("still", "quiet")]
    told = {"name": "two", "title": "Two", "notes": ("A note.",), "shown": ("error",), "caution": "Beware."}
    return Table.model_validate({**told, "rows": tuple(rows), "claims": claims})


def claim(number: str, left: str, right: str, metric: str = "error") -> Claim:
    sides = {"left": Side(row=left, metric=metric), "right": Side(row=right, metric=metric)}
    return Claim.model_validate({"number": number, "says": "so", "evidence": "none", "expected": "no higher", **sides})


def done(*rows: str, **metrics: float) -> dict[tuple[str, int], dict[str, Any]]:
    trained = {"seconds": 90.0, "training_seconds": 60.0}
    return {(row, seed): {"metrics": {"error": 1.0, **metrics}, **trained} for row in rows for seed in range(3)}


def written(made: Table, results: dict[tuple[str, int], dict[str, Any]], folder: Path) -> str:
    return publish(made, results, OF, folder, "vitascope ablate two", "a base").read_text()


def test_the_length_of_trainings_is_said_of_the_verdicts_that_rest_on_one(tmp_path: Path) -> None:
    every = done("one", "other", "still", "quiet")
    trained, mixed, bare = claim("1", "one", "other"), claim("2", "one", "still"), claim("3", "quiet", "still")
    page = written(table(trained, mixed, bare), every, tmp_path)
    assert "**The verdicts of 1, 2 are of trainings of 1.0 to 1.0 minutes" in page and "Beware." in page
    assert "nothing is trained for them" in page
    page = written(table(trained, mixed), every, tmp_path)
    assert "**These verdicts are of trainings of" in page and "nothing is trained" not in page


def test_no_length_of_trainings_is_said_where_no_verdict_rests_on_one(tmp_path: Path) -> None:
    page = written(table(claim("3", "quiet", "still")), done("one", "quiet", "still"), tmp_path)
    assert "trainings of" not in page and "Beware." not in page


def test_a_page_says_that_what_it_counts_never_happened(tmp_path: Path) -> None:
    page = written(table(claim("1", "one", "other", "diverged")), done("one", "other", diverged=0.0), tmp_path)
    assert "| 0 (0 to 0), but zero on both sides in every seed | 3 | **cannot be told** |" in page


def test_a_page_is_not_replaced_by_one_of_fewer_results(tmp_path: Path) -> None:
    two, few = table(), done("one")
    refuse_to_replace(two, few, OF, tmp_path)  # there is none
    written(two, done("one", "other"), tmp_path)
    with pytest.raises(UserError, match=r"tells of 6 results, 3 of which would be missing.*--force"):
        refuse_to_replace(two, few, OF, tmp_path)
    refuse_to_replace(two, done("one", "other", "still"), OF, tmp_path)
    narrower = two.model_copy(update={"rows": tuple(row for row in two.rows if row.name != "other")})
    refuse_to_replace(narrower, few, OF, tmp_path)  # a row that the table no longer has is not missed


def test_a_page_is_not_replaced_by_one_of_another_budget(tmp_path: Path) -> None:
    two, every = table(), done("one", "other")
    written(two, every, tmp_path)
    refuse_to_replace(two, every, OF, tmp_path)
    refuse_to_replace(two, every, {**OF, "base": "ba9876543210", "measures": 3}, tmp_path)
    for budget, said in (
        (Budget(times=0.01), r"budget\.times was 1\.0 and is 0\.01"),
        (Budget(minutes=6), r"budget\.minutes was null and is 6\.0"),
    ):
        with pytest.raises(UserError, match=rf"two\.md' has another budget: {said}; .*--force"):
            refuse_to_replace(two, every, {**OF, "budget": budget.model_dump()}, tmp_path)
    with pytest.raises(UserError, match=r"another budget: .* It also tells of 6 results, 3 of which would be missing"):
        refuse_to_replace(two, done("one"), {**OF, "budget": Budget(minutes=6).model_dump()}, tmp_path)
    base = save_tiny(tmp_path / "base"), save_tiny(tmp_path / "another", seed=1)
    first, second = (made_of(folder, Budget()) for folder in base)
    assert first != second and first.keys() == OF.keys()


def test_a_file_that_is_no_page_of_ours_is_replaced(tmp_path: Path) -> None:
    for content in ("{", "3", "[]", '{"results": 3}', '{"results": []}'):
        (tmp_path / "two.json").write_text(content)
        refuse_to_replace(table(), done("one", "other"), OF, tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_the_pages_of_the_docs_tell_of_what_they_are_made(name: str) -> None:
    told = json.loads((PAGES / f"{name}.json").read_text())
    assert told.keys() == {*OF, "results"} and told["budget"] == OF["budget"]
    assert f"sha256 {told['base']}" in (PAGES / f"{name}.md").read_text()


def test_the_command_leaves_a_page_of_another_budget_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = (PAGES / "t2v.json").read_bytes()
    (tmp_path / "t2v.json").write_bytes(numbers)
    said = Shell(monkeypatch, capsys).refused("ablate", "t2v", "--times", "0.01", "--out", "other", "--pages", ".")
    assert "budget.times was 1.0 and is 0.01" in said and "--force" in said
    assert (tmp_path / "t2v.json").read_bytes() == numbers and not (tmp_path / "other").exists()
