"""What votes say, against answers that are known."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy.stats import spearmanr

from vitascope import cli
from vitascope.evaluate.arena.ranking import agreement, bradley_terry, by_video, krippendorff, records, spearman
from vitascope.evaluate.arena.results import summed_up
from vitascope.evaluate.arena.votes import Vote, Votes
from vitascope.evaluate.measured import Measured, Report
from vitascope.types import UserError, generator_for


def vote(rater: str, name: str, first: str, second: str, choice: str) -> Vote:
    return Vote(rater, name, first, second, first, choice, "2026-01-01T00:00:00+00:00", "1", "2")


def turned(one: Vote) -> Vote:
    """The same opinion of a rater who saw the sides the other way."""
    choice = {"left": "right", "right": "left"}.get(one.choice, one.choice)
    return replace(one, left=one.second, choice=choice)


def drawn_votes(strength: dict[str, float], num: int) -> list[Vote]:
    """Of raters who follow Bradley and Terry's model."""
    rng = generator_for(0, "raters")
    labels = sorted(strength)
    votes = []
    for number in range(num):
        for at, first in enumerate(labels):
            for second in labels[at + 1 :]:
                likes = torch.rand((), generator=rng) < 1 / (1 + math.exp(strength[second] - strength[first]))
                votes.append(vote(f"rater {number % 3}", f"{number // 3}", first, second, "left" if likes else "right"))
    return votes


def test_two_players_differ_by_the_log_odds():
    strength = bradley_terry(torch.tensor([[0.0, 3.0], [1.0, 0.0]]), ghost=0.0)
    assert (strength[0] - strength[1]).item() == pytest.approx(math.log(3)) and strength.sum().item() == pytest.approx(
        0
    )


def test_expected_counts_give_back_their_strengths():
    true = torch.tensor([1.2, 0.3, -0.4, -1.1], dtype=torch.float64)
    games = torch.tensor([[0, 5, 9, 0], [5, 0, 2, 7], [9, 2, 0, 4], [0, 7, 4, 0]])  # two never met
    wins = games * torch.sigmoid(true[:, None] - true[None, :])
    torch.testing.assert_close(bradley_terry(wins, ghost=0.0), true - true.mean(), atol=1e-6, rtol=0)
    both = bradley_terry(torch.stack([wins, wins.mT]), ghost=0.0)
    torch.testing.assert_close(both[0], -both[1], atol=1e-6, rtol=0)


def test_who_never_lost_is_strong_but_not_infinitely():
    strength = bradley_terry(torch.tensor([[0.0, 10.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert strength.isfinite().all() and strength[0] > strength[2] > strength[1]


def test_krippendorff_of_published_examples():
    """Krippendorff (2011), nominal data of four observers: 0.743; three coders of fifteen units: 0.691."""
    four = ["111", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "555", "11", "3"]
    assert krippendorff(four) == pytest.approx(0.743, abs=5e-4)
    three = ["1", "", "22", "11", "33", "334", "444", "13", "22", "11", "11", "33", "33", "", "34"]
    assert krippendorff(three) == pytest.approx(0.691, abs=5e-4)
    assert math.isnan(krippendorff(["1", "2"])) and krippendorff(["11", "22"]) == 1


def test_agreement_does_not_depend_on_which_is_called_first():
    votes = drawn_votes({"a": 1.0, "b": 0.0, "c": -1.0}, 60)
    swapped = [replace(one, first=one.second, second=one.first) for one in votes]
    one, other = agreement(votes, 50, 0), agreement(swapped, 50, 0)
    assert one is not None and other is not None
    assert one.alpha.value == pytest.approx(other.alpha.value) and one.raw == other.raw
    assert one.alpha.interval is not None and one.alpha.interval[0] < one.alpha.value < one.alpha.interval[1]
    alike = [vote(rater, name, "a", "b", "left") for rater in "xy" for name in "12"]
    same = agreement(alike, 0, 0)
    assert same is not None and same.raw == same.alpha.value == 1
    assert agreement(alike[:2], 0, 0) is None


def test_spearman_is_scipys_and_ties_share_their_ranks():
    one, other = torch.randint(6, (2, 40), generator=generator_for(0)).double().tolist()
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert math.isnan(spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))


def test_results_know_the_strong_from_the_weak_and_not_the_sides():
    true = {"a": 1.0, "b": 0.0, "c": -1.0}
    votes = drawn_votes(true, 300)
    results = summed_up(votes, times=100)
    assert [one.label for one in results.standings] == ["a", "b", "c"]
    for one in results.standings:
        low, high = one.strength.interval or (math.nan, math.nan)
        assert low < true[one.label] < high and one.record.rate.interval[0] < one.record.rate.value
    again = summed_up([turned(one) for one in votes], times=100)
    assert again.standings == results.standings and again.agreement == results.agreement
    assert again.left.value == pytest.approx(1 - results.left.value)


def test_ties_are_half_a_win_and_skips_nothing():
    votes = [vote("x", str(number), "a", "b", choice) for number, choice in enumerate(["left", "same", "same", "skip"])]
    told = records(votes)
    assert (told["a"].wins, told["a"].ties, told["a"].losses) == (1, 2, 0) and told["a"].rate.value == 2 / 3
    assert told["a"].rate.value + told["b"].rate.value == 1
    with pytest.raises(UserError, match="nothing to sum up"):
        summed_up(votes[3:])


def measured(folder: str, values: dict[str, float], **protocol: int) -> Report:
    one = Measured(
        "sharpness", sum(values.values()) / len(values), len(values), {"frames": 16, **protocol}, videos=values
    )
    return Report(f"somewhere/{folder}", None, "0", (one,), complete=True)


def test_a_metric_that_knows_what_people_prefer_has_correlation_one():
    votes, values = [], {"a": {}, "b": {}, "c": {}}
    for number in range(12):
        for place, label in enumerate("abc"):
            values[label][str(number)] = float(number - place)  # a metric of its own scale on each prompt
        for first, second in ("ab", "ac", "bc"):
            votes.append(vote("x", str(number), first, second, "left"))
    results = summed_up(votes, [measured(label, one) for label, one in values.items()], times=50)
    (one,) = results.correlations
    assert one.models is not None and one.models.value == pytest.approx(1) and one.models.n == 3
    assert one.videos is not None and one.videos.n == 36 and one.videos.value > 0.8
    opposite = {label: {name: -value for name, value in told.items()} for label, told in values.items()}
    assert by_video(votes, opposite, 0, 0).value == pytest.approx(-one.videos.value)
    low = [measured(label, told) for label, told in opposite.items()]
    low = [replace(report, measured=(replace(report.measured[0], lower_is_better=True),)) for report in low]
    (right,) = summed_up(votes, low, times=50).correlations
    assert right.lower_is_better and (right.models, right.videos) == (one.models, one.videos)
    unlike = summed_up(votes, [measured("a", values["a"]), measured("b", values["b"], frames=8)], times=10)
    assert not unlike.correlations and "frames 16 and 8" in unlike.left_out["sharpness"]
    two = summed_up(votes, [measured(label, values[label]) for label in "ab"], times=10)
    assert two.correlations[0].models is None
    with pytest.raises(UserError, match="somewhere/other"):
        summed_up(votes, [measured("other", values["a"])])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    kept = Votes(tmp_path / "votes.sqlite")
    votes = drawn_votes({"a": 1.0, "b": 0.0}, 30)
    for one in votes:
        kept.put(one)
    kept.close()
    (tmp_path / "a.json").write_text(measured("a", {"0": 1.0}).to_json())

    def run(text: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vitascope", "evaluate", "arena-results", *text.split()])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    line = "votes.sqlite --report a.json --resamples 20 --out out.json --export"
    code, out, err = run(f"{line} votes.csv")
    assert code == 0 and "Krippendorff" in out and "sharpness" in out, err
    assert json.loads((tmp_path / "out.json").read_text())["num_votes"] == 30
    assert len((tmp_path / "votes.csv").read_text().splitlines()) == 31
    assert run(f"{line} votes.json --force")[0] == 0
    assert [Vote(**one) for one in json.loads((tmp_path / "votes.json").read_text())] == votes
    for text, part in [
        ("absent.sqlite", "does not exist"),
        (f"{line} votes.txt --force", ".csv or .json"),
        (f"{line} votes.csv", "exists already"),
        ("votes.sqlite --report out.json", "give a file that is of one"),
        ("votes.sqlite --resamples -1", "--resamples"),
        ("a.json", "not a database"),
    ]:
        code, _, err = run(text)
        assert code == 2 and part in err and "Traceback" not in err
