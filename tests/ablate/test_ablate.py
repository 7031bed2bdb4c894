"""Laws of ablations: what an interval says of a claim, whose a folder is, and a whole table of two rows."""

from __future__ import annotations

import fcntl
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny import StripesConfig, save_tiny, tiny_model
from vitascope.ablate.folder import LOCKS, read_results, settle, taken, write_result
from vitascope.ablate.measures import Floor, GuidedLength, HeldOutError, Sampled, held_out, same_noisiness
from vitascope.ablate.report import findings, publish
from vitascope.ablate.run import Budget, Place, ablate, settings_of
from vitascope.ablate.table import BASE, Claim, Guard, Row, Side, Table, begun_with
from vitascope.ablate.tables import TABLES, table_named
from vitascope.ablate.verdict import PRINTED, find, mean_interval, second_look, student
from vitascope.card import load_model, read_card
from vitascope.config import Config, from_json, to_json
from vitascope.errors import NonFinite, UserError
from vitascope.noise import Cosine, ScaledLinear, Straight, log_snr_half
from vitascope.sample.loading import bundled
from vitascope.system import Rules, VideoModel
from vitascope.train.initialise import Origin
from vitascope.train.loop import fit
from vitascope.train.stages import Run, VideoStage
from vitascope.types import generator_for

DATA = StripesConfig()
ERROR = HeldOutError(data=DATA, num=4, batch=2, levels=(0.3, 0.7))
OF = {"measures": 2, "base": "0123456789ab", "budget": Budget().model_dump()}


def row(name: str, **stage: Any) -> Row:
    model = tiny_model()
    latents = {"begins": (Origin(of=BASE, weights=("tokenizer.*",)),), "fresh": ("text.*", "backbone.*")}
    usual = {"name": "videos", "steps": 3, "batch": 2, "warmup_steps": 1, "num_clips": 4, **latents}
    run = Run(name=name, model=model, data=DATA, stages=(VideoStage.model_validate({**usual, **stage}),))
    return Row(name=name, says=f"the row {name}", measures=(ERROR,), run=run)


def claim(expected: str = "lower", margin: float = 0.0, **sides: str) -> Claim:
    left, right = (Side(row=sides.get(side, side), metric="error") for side in ("left", "right"))
    told = {"number": "1", "says": "so it is", "evidence": "none", "left": left, "right": right}
    return Claim.model_validate({**told, "expected": expected, "margin": margin})


def table(*rows: Row, **changes: Any) -> Table:
    told = {"name": "two", "title": "Two rows", "notes": ("A note.",), "shown": ("error",), "claims": ()}
    return Table.model_validate({**told, "rows": rows, **changes})


def results(**rows: list[float]) -> dict[tuple[str, int], dict[str, float]]:
    return {(name, seed): {"error": value} for name, values in rows.items() for seed, value in enumerate(values)}


@pytest.mark.parametrize(
    ("expected", "left", "verdict"),
    [
        ("lower", [1.0, 1.1, 0.9], "holds"),
        ("lower", [3.0, 3.1, 2.9], "does not hold"),
        ("lower", [1.0, 3.0, 2.0], "cannot be told"),
        ("higher", [3.0, 3.1, 2.9], "holds"),
        ("higher", [1.0, 1.1, 0.9], "does not hold"),
        ("same", [2.0, 2.01, 1.99], "holds"),
        ("same", [3.0, 3.1, 2.9], "does not hold"),
        ("same", [2.0, 3.0, 1.0], "cannot be told"),
        ("no higher", [1.0, 1.1, 0.9], "holds"),
        ("no higher", [2.0, 2.01, 1.99], "holds"),
        ("no higher", [3.0, 3.1, 2.9], "does not hold"),
        ("no higher", [2.0, 3.0, 1.0], "cannot be told"),
        ("lower", [1.0], "cannot be told"),  # one seed says nothing of others
        ("lower", [], "cannot be told"),
    ],
)
def test_a_claim_holds_where_its_whole_interval_lies(expected: str, left: list[float], verdict: str) -> None:
    found = find(
        claim(expected, margin=0.1 if expected in ("same", "no higher") else 0.0), results(left=left, right=[2.0] * 3)
    )
    assert found.verdict == verdict
    assert len(found.differences) == len(left)


@pytest.mark.parametrize("expected", ["lower", "higher", "same", "no higher"])
def test_what_never_happened_on_either_side_tells_nothing(expected: str) -> None:
    """Such as a training that diverged."""
    never = find(claim(expected), results(left=[0.0] * 3, right=[0.0] * 3))
    assert never.differences == (0.0,) * 3 and never.verdict == "cannot be told"
    always = find(claim("lower"), results(left=[0.0] * 3, right=[1.0] * 3))
    assert always.verdict == "holds"
    once = find(claim("no higher"), results(left=[0.0] * 3, right=[0.0, 1.0, 0.0]))
    assert not once.eventless and once.verdict == "cannot be told"  # of three seeds


def test_what_seeds_share_cancels_and_what_is_not_measured_is_left_out() -> None:
    found = find(claim(), results(left=[1.0, 11.0, 101.0, math.nan], right=[2.0, 12.0, 102.0, 5.0]))
    assert found.differences == (-1.0, -1.0, -1.0) and found.verdict == "holds"


def test_the_interval_of_a_mean_covers_it_nineteen_times_of_twenty() -> None:
    draws = torch.randn(1500, 3, generator=generator_for(0, "student"), dtype=torch.float64).tolist()
    covered = statistics.fmean(low <= 0 <= high for low, high in map(mean_interval, draws))
    assert covered == pytest.approx(0.95, abs=0.02)


def test_student_falls_to_the_normal_and_joins_what_is_printed() -> None:
    values = [student(freedom) for freedom in range(1, 200)]
    assert values == sorted(values, reverse=True)
    assert student(11) == pytest.approx(2.2010, abs=2e-4) and student(30) == pytest.approx(2.0423, abs=1e-4)
    assert student(10) == PRINTED[-1] and student(10**6) == pytest.approx(1.95996, abs=1e-4)


def test_a_table_of_two_rows_from_nothing_to_its_page(tmp_path: Path) -> None:
    base, place = save_tiny(tmp_path / "base"), Place(tmp_path / "work", tmp_path / "base")
    two = table(row("one"), row("slow", learning_rate=1e-6), claims=(claim(left="one", right="slow"),))
    said: list[str] = []
    done = ablate(two, place, 2, Budget(), say=said.append)
    assert {*done} == {("one", 0), ("one", 1), ("slow", 0), ("slow", 1)}
    assert said == ["two: one, seed 0", "two: slow, seed 0", "two: one, seed 1", "two: slow, seed 1"]
    assert len({result["metrics"]["error"] for result in done.values()}) == 4  # rows and seeds differ

    again: list[str] = []
    assert ablate(two, place, 2, Budget(), say=again.append) == done and not again  # nothing is done twice
    page = publish(two, done, OF, tmp_path / "pages", "vitascope ablate two", "a base").read_text()
    assert findings(two, done)[0].startswith("1")
    assert "| `slow` |" in page and "![what was measured](two.png)" in page and "2 of 2 rows, 2 seeds" in page
    assert "The base: a base." in page
    assert (tmp_path / "pages" / "two.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((tmp_path / "pages" / "two.json").read_text())
    assert {(one["row"], one["seed"]): one["metrics"] for one in told["results"]} == {
        k: v["metrics"] for k, v in done.items()
    }

    trained = load_model(tmp_path / "work" / "runs" / "one.1" / "model")
    kept = load_model(base).tokenizer.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in trained.tokenizer.state_dict().items())
    assert ERROR.measure(trained, 1)["error"] == done["one", 1]["metrics"]["error"]


def test_one_row_alone_and_rows_that_come_later(tmp_path: Path) -> None:
    save_tiny(tmp_path / "base")
    place, two = Place(tmp_path / "work", tmp_path / "base"), table(row("one"), row("other"))
    assert {*ablate(two, place, 1, Budget(), only=("other",), say=str)} == {("other", 0)}
    with pytest.raises(UserError, match=r"no row 'othr'; did you mean 'other'\?"):
        ablate(two, place, 1, Budget(), only=("othr",), say=str)
    three = table(*two.rows, row("third"))
    assert {*ablate(three, place, 1, Budget(), only=("third",), say=str)} == {("other", 0), ("third", 0)}


def test_a_folder_of_other_settings_is_refused_with_the_difference(tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "base")
    one = table(row("one"))
    settle(tmp_path / "work", settings_of(one, base, Budget()))
    settle(tmp_path / "work", settings_of(one, base, Budget()))
    faster = table(row("one", learning_rate=0.5))
    with pytest.raises(UserError, match=r"rows\.one\.run\.stages\.videos\.learning_rate was 0\.001 and is 0\.5"):
        settle(tmp_path / "work", settings_of(faster, base, Budget()))
    with pytest.raises(UserError, match=r"budget\.times was 1\.0 and is 2\.0"):
        settle(tmp_path / "work", settings_of(one, base, Budget(times=2.0)))
    with pytest.raises(UserError, match="holds table two, not three; choose another --out"):
        settle(tmp_path / "work", settings_of(table(row("one"), name="three"), base, Budget()))
    with pytest.raises(UserError, match=r"other settings: base was"):
        settle(tmp_path / "work", settings_of(one, save_tiny(tmp_path / "another", seed=1), Budget()))
    for name, revision, said in (("older", {"measures": 1}, "1"), ("oldest", {"measures": None}, "unknown")):
        settle(tmp_path / name, settings_of(one, base, Budget()) | revision)
        with pytest.raises(UserError, match=rf"{name}' are of .*\(revision {said}, now 3\).*choose another --out"):
            settle(tmp_path / name, settings_of(one, base, Budget()))


def test_a_row_that_another_is_at_work_on_is_left_to_it(tmp_path: Path) -> None:
    save_tiny(tmp_path / "base")
    place, one = Place(tmp_path / "work", tmp_path / "base"), table(row("one"))
    settle(place.folder, settings_of(one, place.base, Budget()))
    said: list[str] = []
    with open(place.folder / LOCKS / "one.0", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not ablate(one, place, 1, Budget(), say=said.append)
        assert said == ["others are at work on one (0); the same command tells when they are done"]
    with taken(place.folder, "one", 0) as mine:  # a process that ends lets go, however it ends
        assert mine
        with taken(place.folder, "one", 0) as twice:
            assert not twice
        write_result(place.folder, "one", 0, {"metrics": {}, "seconds": 1})
    with taken(place.folder, "one", 0) as mine:
        assert not mine
    assert {*read_results(place.folder, ["one"])} == {("one", 0)} and not read_results(place.folder, ["on"])


def stop(*_: object) -> dict[str, float]:
    raise KeyboardInterrupt


def test_a_row_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    save_tiny(tmp_path / "base")
    place, long = Place(tmp_path / "work", tmp_path / "base"), table(row("one", steps=6))
    whole = ablate(long, Place(tmp_path / "whole", place.base), 1, Budget(), say=str)
    run = long.rows[0].run
    assert run is not None
    begun = begun_with(run, str(place.base.resolve()))
    folder = place.folder / "runs" / "one.0"
    seen = begun.model_copy(update={"preview_steps": 3, "checkpoint_seconds": 0.0})
    with pytest.raises(KeyboardInterrupt):
        fit(seen, folder, cache_root=place.folder / "cache", watch=stop)
    (folder / "run.json").write_text(json.dumps(to_json(begun)))
    settle(place.folder, settings_of(long, place.base, Budget()))
    before = (folder / "log.jsonl").read_text()
    went_on = ablate(long, place, 1, Budget(), say=str)
    assert (folder / "log.jsonl").read_text().startswith(before)  # the first steps were not taken again
    steps = [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert went_on["one", 0]["metrics"].keys() == whole["one", 0]["metrics"].keys()


class StoppedAtFirst(Config):
    """A measure that somebody stops once."""

    mark: str

    def measure(self, model: VideoModel, seed: int) -> dict[str, float]:
        if not (mark := Path(self.mark)).exists():
            mark.touch()
            raise KeyboardInterrupt
        return {"error": 1.0}


def test_a_training_whose_measuring_was_stopped_is_not_trained_again(tmp_path: Path) -> None:
    save_tiny(tmp_path / "base")
    place = Place(tmp_path / "work", tmp_path / "base")
    one = table(row("one").model_copy(update={"measures": (StoppedAtFirst(mark=str(tmp_path / "mark")),)}))
    with pytest.raises(KeyboardInterrupt):
        ablate(one, place, 1, Budget(), say=str)
    log = place.folder / "runs" / "one.0" / "log.jsonl"
    before = log.read_text()
    assert ablate(one, place, 1, Budget(), say=str)["one", 0]["metrics"]["error"] == 1.0
    assert log.read_text() == before
    assert not (log.parent / "checkpoints").exists()  # what served the training alone


class Broken(Config):
    """A measure whose samples are no numbers."""

    def measure(self, model: VideoModel, seed: int) -> dict[str, float]:
        raise NonFinite("the video stopped being finite in step 3 of 10")


def test_samples_that_are_not_finite_are_a_result(tmp_path: Path) -> None:
    save_tiny(tmp_path / "base")
    one = table(row("one").model_copy(update={"measures": (Broken(),)}))
    done = ablate(one, Place(tmp_path / "work", tmp_path / "base"), 1, Budget(), say=str)
    assert done["one", 0]["metrics"] == {"diverged": 1.0}


def test_a_guard_leaves_out_seeds_in_which_the_comparison_means_nothing() -> None:
    told = {"number": "1", "says": "", "evidence": "", "expected": "higher"}
    sides = {name: Side(row=name, metric="motion") for name in ("left", "right")}
    claim = Claim.model_validate({**told, **sides, "guard": Guard(metric="motion", most=2.0)})
    both = {("left", seed): {"motion": value} for seed, value in enumerate((1.5, 1.6, 7.0, 1.0))}
    both |= {("right", seed): {"motion": value} for seed, value in enumerate((1.0, 1.2, 1.0))}
    assert find(claim, both).differences == pytest.approx((0.5, 0.4))


def test_a_training_that_diverges_is_a_result(tmp_path: Path) -> None:
    save_tiny(tmp_path / "base")
    wild = table(row("wild", learning_rate=1e30, steps=20, warmup_steps=0, clip_norm=1e30))
    done = ablate(wild, Place(tmp_path / "work", tmp_path / "base"), 1, Budget(), say=str)
    assert done["wild", 0]["metrics"] == {"diverged": 1.0}
    assert "(1 of 1 diverged)" in publish(wild, done, OF, tmp_path, "x", "y").read_text()


def test_budgets_are_of_steps_or_of_minutes() -> None:
    run = row("one").run
    assert run is not None
    assert Budget(times=2.5).of(run).stages[0].steps == 8
    timed = Budget(minutes=2.0).of(run)
    assert timed.minutes == 2.0 and timed.stages[0].steps > 10**6
    short, long = run.stages[0], run.stages[0].model_copy(update={"name": "long", "steps": 9})
    timed = Budget(minutes=2.0).of(run.model_copy(update={"stages": (short, long)}))
    assert timed.stages[1].share / timed.stages[0].share == 9 / short.steps  # time is shared out as steps were


def test_what_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    save_tiny(tmp_path / "base")
    place, untrained = Place(tmp_path / "work", tmp_path / "base"), row("one").model_copy(update={"run": None})
    with pytest.raises(UserError, match="--seeds must be at least 1, got 0"):
        ablate(table(untrained), place, 0, Budget())
    with pytest.raises(UserError, match="trains nothing"):
        ablate(table(untrained), place, 1, Budget(minutes=1.0))
    with pytest.raises(ValueError, match="about 'two', which is no row"):
        table(untrained, claims=(claim(left="one", right="two"),))
    with pytest.raises(ValueError, match="a name of its own"):
        table(untrained, untrained)
    with pytest.raises(UserError, match=r"no table 't2'; did you mean"):
        table_named("t2", tiny_model())


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_values_whose_claims_are_about_what_is_measured(name: str) -> None:
    made = table_named(name, read_card(bundled()).config)
    assert from_json(json.loads(json.dumps(to_json(made)))) == made
    for one in made.claims:
        for side in (one.left, one.right):
            measures = made.row(side.row).measures
            trained = {"diverged"} if made.row(side.row).run else set()
            assert any(side.metric in told_by(measure) | trained for measure in measures), side
    for curve in made.curves:
        assert len(curve.metrics) == len(curve.places)
    for trade in made.trades:
        for name in (name for line in trade.lines for name in line):
            assert all({trade.paid, trade.got} <= told_by(measure) for measure in made.row(name).measures)


def told_by(measure: Config) -> set[str]:
    """Names of the numbers that a measure gives."""
    if isinstance(measure, HeldOutError):
        return {measure.name, *(f"{measure.name} at {level:g}" for level in measure.levels)}
    if isinstance(measure, GuidedLength):
        return {f"{what} at {level:g}" for what in ("guided length", "plain length", "gap") for level in measure.levels}
    if isinstance(measure, Floor):
        return told_by(measure.of) - {f"{measure.of.name} network evaluations".strip()}
    assert isinstance(measure, Sampled)
    names = {
        "energy distance",
        "toyland distance",
        "frechet distance",
        "contrast",
        "oracle all",
        "oracle mean",
        "oracle colour",
    }
    names |= {"network evaluations"}
    if not measure.images:
        names |= {"motion energy", "dynamic degree", "smoothness"}
        names |= {"error of pixels"} if measure.task != "text" else set()
    return {f"{measure.name} {name}".strip() for name in names}


@pytest.mark.parametrize("path", [Straight(), Cosine(), ScaledLinear(0.00085, 0.012, 1000.0)])
def test_models_are_asked_where_their_paths_are_as_noisy(path: Any) -> None:
    for level in (0.1, 0.5, 0.9):
        own = torch.full((1, 1), same_noisiness(path, level), dtype=torch.float64)
        wanted = log_snr_half(Straight(), torch.full((1, 1), level, dtype=torch.float64))
        torch.testing.assert_close(log_snr_half(path, own), wanted)


def test_a_path_that_is_never_so_noisy_is_refused() -> None:
    with pytest.raises(UserError, match=r"never gets as noisy as the straight one at level 0\.99"):
        same_noisiness(ScaledLinear(0.00085, 0.012, 1000.0), 0.99)


def test_the_error_of_a_model_that_knows_is_nothing_and_only_what_is_made_counts(tmp_path: Path) -> None:
    model = load_model(save_tiny(tmp_path / "base"))
    asked = ERROR.model_copy(update={"task": "prediction", "given": 2})
    estimate = model.estimate
    truth = held_out(model, DATA, 4, 0, "prediction", 2, images=False, silent=False).clean
    wrong = asked.measure(model, 0)
    assert wrong["error"] == pytest.approx((wrong["error at 0.3"] + wrong["error at 0.7"]) / 2)
    truths = iter(truth.split(2) * 2)

    def exact(z: torch.Tensor, level: torch.Tensor, cond: Any) -> Any:
        ends = estimate(z, level, cond)
        known = cond.known[:, :, None, None, None]
        return type(ends)(torch.where(known, ends.clean, next(truths)), ends.noise)

    model.estimate = exact  # type: ignore[method-assign]
    assert asked.measure(model, 0)["error"] == 0 < wrong["error"]


def test_guided_lengths_are_those_of_the_two_passes(tmp_path: Path) -> None:
    model = load_model(save_tiny(tmp_path / "base"))
    asked = GuidedLength(data=DATA, num=2, levels=(0.5,), scale=3.0)
    told, doubled = asked.measure(model, 0), asked.model_copy(update={"scale": 5.0}).measure(model, 0)
    assert told["gap at 0.5"] == pytest.approx(doubled["gap at 0.5"], rel=1e-3)
    assert told["plain length at 0.5"] == pytest.approx(doubled["plain length at 0.5"], rel=1e-4)
    excess = abs(told["guided length at 0.5"] - told["plain length at 0.5"])
    assert excess <= 2 * told["gap at 0.5"] * (1 + 1e-4)  # the triangle


@pytest.mark.parametrize("images", [False, True])
def test_sampled_clips_are_measured_in_every_way(tmp_path: Path, images: bool) -> None:
    model = load_model(save_tiny(tmp_path / "base", size=(64, 64), num_frames=16))
    asked = Sampled(num=3, task="text" if images else "image", images=images, steps=1, solver="euler", name="here")
    told = asked.measure(model, 0)
    assert told_by(asked) - {"here oracle colour"} <= {*told} and all(map(math.isfinite, told.values()))
    assert told == asked.measure(model, 0)
    assert told != asked.measure(model, 1)


@pytest.mark.parametrize(
    ("solver", "guidance", "rules", "evaluations"),
    [
        ("euler", 1.0, {}, 4),
        ("euler", 3.0, {}, 8),
        ("heun", 1.0, {}, 7),  # the last step ends at no noise, where nothing is left to ask
        ("euler", 3.0, {"guidance_interval": (0.5, 1.0)}, 7),  # of the levels 1, 0.75, 0.5, 0.25 the last is not guided
        # Of one frame of sixteen four candidates, judged in eight passes each.
        ("euler", 1.0, {"image_first": True, "picture_candidates": 4}, 4 + 4 * (4 + 8) / 16),
    ],
)
def test_evaluations_are_counted(
    tmp_path: Path, solver: str, guidance: float, rules: dict[str, object], evaluations: float
) -> None:
    model = load_model(save_tiny(tmp_path / "base", size=(64, 64), num_frames=16))
    told = Rules.model_validate(rules)
    asked = Sampled(num=2, steps=4, solver=solver, guidance=guidance, rules=told)
    assert asked.measure(model, 0)["network evaluations"] == evaluations


def test_a_page_draws_what_is_paid_against_what_is_got(tmp_path: Path) -> None:
    base, sampled = save_tiny(tmp_path / "base", size=(64, 64), num_frames=16), Sampled(num=2, solver="euler")
    rows = [
        Row(name=f"euler-{steps}", says="so many steps", measures=(sampled.model_copy(update={"steps": steps}),))
        for steps in (1, 2)
    ]
    trade = {"title": "Steps", "paid": "network evaluations", "got": "oracle mean", "lines": (("euler-1", "euler-2"),)}
    two = table(*rows, shown=("oracle mean",), trades=(trade,))
    done = ablate(two, Place(tmp_path / "work", base), 2, Budget(), say=str)
    publish(two, done, OF, tmp_path / "pages", "vitascope ablate two", "a base")
    assert (tmp_path / "pages" / "two.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="about 'heun-1', which is no row"):
        table(*rows, trades=({**trade, "lines": (("heun-1",),)},))


def test_a_claim_is_looked_at_again_where_both_rows_have_the_other_number(tmp_path: Path) -> None:
    one, other = row("left"), row("right")
    told = {("left", seed): {"error": 1.0 + seed / 9, "toyland distance": 3.0 + seed / 9} for seed in range(3)}
    told |= {("right", seed): {"error": 2.0 + seed / 9, "toyland distance": 2.0 + seed / 7} for seed in range(3)}
    asked = claim("lower")
    look = second_look(asked, told)
    assert look is not None and find(asked, told).verdict == "holds" and look.verdict == "does not hold"
    assert second_look(asked, results(left=[1.0], right=[2.0])) is None
    near = second_look(claim("no higher", margin=0.5).model_copy(update={"relative": True}), told)
    assert near is not None and near.claim.margin == pytest.approx(0.5 * statistics.fmean((2, 2 + 1 / 7, 2 + 2 / 7)))
    done = {key: {"metrics": metrics, "seconds": 1.0, "training_seconds": 60.0} for key, metrics in told.items()}
    two = table(one, other, claims=(asked, asked.model_copy(update={"number": "2"})), caution="Beware.")
    page = publish(two, done, OF, tmp_path, "x", "y").read_text()
    assert "contradict each other in 1, 2;" in page and "of the 1 different ones" in page
    assert "trainings of 1.0 to 1.0 minutes" in page and "Beware." in page


def test_what_a_guard_leaves_out_is_told_all_the_same(tmp_path: Path) -> None:
    guarded = claim().model_copy(update={"guard": Guard(metric="motion", most=2.0)})
    told = {("left", seed): {"error": 1.0 + seed / 9, "motion": 7.0} for seed in range(3)}
    told |= {("right", seed): {"error": 2.0 + seed / 9, "motion": 1.0} for seed in range(3)}
    done = {key: {"metrics": metrics, "seconds": 1.0} for key, metrics in told.items()}
    page = publish(table(row("left"), row("right"), claims=(guarded,)), done, OF, tmp_path, "x", "y").read_text()
    assert "| -1 (-1 to -1), but motion above 2 in every seed | 0 | **cannot be told** |" in page


def test_rows_spend_what_their_group_is_said_to_spend() -> None:
    """A stage's share is what a step of it costs."""
    spent: dict[str, set[float]] = {}
    for one in table_named("init", read_card(bundled()).config).rows:
        assert one.run is not None
        units = sum(stage.steps * stage.share for stage in one.run.stages)
        spent.setdefault(one.name.partition("-")[0], set()).add(units)
    assert spent == {"large": {1600}, "more": {560}, "ti2v": {400, 640}}
