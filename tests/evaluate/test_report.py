"""What every command writes is read by one face, compared, and shown on a page that a real browser opens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from browser import browser_here, opened
from vitascope import media, toyland
from vitascope.evaluate.arena.results import summed_up
from vitascope.evaluate.arena.votes import Vote
from vitascope.evaluate.classes import ClassReport
from vitascope.evaluate.compare import compare
from vitascope.evaluate.lasting import Course, LastingReport
from vitascope.evaluate.measured import Measured, Report, Shown, Unusable
from vitascope.evaluate.metrics.metric import Bootstrap, mean_of
from vitascope.evaluate.questions import test_scene
from vitascope.evaluate.report.clips import film, picks
from vitascope.evaluate.report.page import page_of
from vitascope.evaluate.report.reading import clips_folder, read_one, read_reports, unfinished
from vitascope.evaluate.toyland import evaluate
from vitascope.evaluate.vbench.report import Measured as Dimension
from vitascope.evaluate.vbench.report import SuiteReport, merged, over_videos
from vitascope.evaluate.views import ViewsReport
from vitascope.types import Clip, Request, UserError, generator_for

# pytest would take the function for a test of its own
scene_of = test_scene
del test_scene


def half_right(requests: Sequence[Request]) -> list[Clip]:
    """Every second scene as it should be, the others as grey as can be."""
    truths = [toyland.render(scene_of("seen", "one", request.seed)) for request in requests]
    grey = torch.full((16, 3, 64, 64), 0.5)
    return [clip if one.seed % 2 else replace(clip, pixels=grey) for clip, one in zip(truths, requests, strict=True)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of Toyland with its clips, as the command leaves them."""
    out = tmp_path_factory.mktemp("toy") / "mine.json"
    clips_folder(out).mkdir()
    report = evaluate(
        half_right, num=6, batch=2, made_with={"model": "half right"},
        keep=lambda number, clip: media.write(clip, clips_folder(out) / f"{number}.mp4"),
    )  # fmt: skip
    out.write_text(report.to_json())
    return out


def measured(folder: Path, name: str, shift: float = 0.0) -> Path:
    """A report as `evaluate videos` writes it, with clips that are there, one that was unusable, and a metric without
    a value."""
    names = [f"clip {number}" for number in range(9)]
    (folder / name).mkdir(exist_ok=True)
    for number, one in enumerate(names):
        pixels = torch.rand(3, 3, 20, 36, generator=generator_for(number, name))
        media.write(Clip(pixels, caption=f"<b>noise</b> {one}"), folder / name / f"{one}.mp4")
    scores = torch.linspace(0.2, 0.8, 9).tolist()
    protocol = {"frames": 4, "seed": 0}
    one = mean_of("flicker", tuple(names), [score + shift for score in scores], protocol, Bootstrap(50), {})
    other = mean_of("psnr", tuple(names), [30 - 9 * score for score in scores], protocol, Bootstrap(50), {})
    distance = Measured("frechet-random", 3.5 + shift, 9, protocol, (3.0, 4.0, 3.4), {"floor": 1.2, "floor n": 4})
    clips = {one: Shown(str(folder / name / f"{one}.mp4"), f"<b>noise</b> {one}") for one in names}
    report = Report(
        name, "real", "0", (distance, one, other), (Unusable("made", "torn", "all", "'torn' is damaged </script>"),),
        ("2 videos are in both sets",), {"fvd": "no file"}, True, clips,
    )  # fmt: skip
    (folder / f"{name}.json").write_text(report.to_json())
    return folder / f"{name}.json"


def test_every_form_is_read_as_one(toy: Path, tmp_path: Path):
    report = read_one(toy)
    numbers = {one.metric: one for one in report.measured}
    assert numbers["all"].value == 0.5 and numbers["all"].n == 6 and report.complete
    told = json.loads(toy.read_text())["dimensions"]
    assert numbers["all"].interval == tuple(told["all"]["interval"])
    assert numbers["all"].videos == {str(number): float(number % 2) for number in range(6)}
    shown = report.clips["3"]
    assert shown.caption and shown.path is not None and Path(shown.path).is_file()

    again = read_one(measured(tmp_path, "one"))
    assert again.measured[1].videos["clip 8"] == pytest.approx(0.8) and again.clips["clip 0"].caption.startswith("<b>")

    suite = SuiteReport(
        suite="dsg", model="mine", protocol={"judge": "m", "skipped": ["a.mp4: torn"]},
        dimensions={"dsg": over_videos([1.0, 0.5, 0.0], [1, 1, 1], ("frames",), ["v/a.mp4", "v/b.mp4", "v/c.mp4"])},
    )  # fmt: skip
    (tmp_path / "dsg.json").write_text(suite.model_dump_json())
    dsg = read_one(tmp_path / "dsg.json")
    assert dsg.measured[0].videos == {"a": 1.0, "b": 0.5, "c": 0.0} and dsg.measured[0].departures == ("frames",)
    assert dsg.clips["b"].path == "v/b.mp4" and dsg.measured[0].protocol["departures"] == ["frames"]
    assert "skipped: ['a.mp4: torn']" in dsg.notes and dsg.measured[0].protocol["judge"] == "m"


def test_views_classes_and_long_videos_are_read_too(tmp_path: Path):
    asked = {"steps": 4, "suite": "views", "version": "0", "num": 2, "seed": 0}
    views = ViewsReport(asked, {"made": {"psnr": (20.0, 30.0)}, "held": {"psnr": (10.0, 12.0)}})
    (tmp_path / "views.json").write_text(views.to_json())
    (one,) = read_one(tmp_path / "views.json").measured
    assert (one.value, one.n, one.beside) == (25, 2, {"held": 11}) and one.interval is not None
    assert "steps" not in one.protocol and one.protocol["num"] == 2  # how it was made may differ

    sure, other = torch.eye(3)[[0, 1, 2, 0]], torch.eye(3)[[0, 1, 2, 1]]
    classes = ClassReport({**asked, "suite": "classes", "attribute": "colour"}, other, sure, (0, 1, 2, 0))
    (tmp_path / "classes.json").write_text(classes.to_json())
    numbers = {number.metric: number for number in read_one(tmp_path / "classes.json").measured}
    assert numbers["right"].value == 0.75 and numbers["right"].beside == {"true clips": 1.0}

    clips = ({"permanence": 1.0}, {"permanence": 0.0}), ({"permanence": 0.0}, {})
    long = LastingReport({**asked, "suite": "lasting", "seconds": 4}, (Course("a", {}, clips), Course("b", {}, clips)))
    (tmp_path / "long.json").write_text(long.to_json())
    first, second = read_reports(tmp_path / "long.json")
    (permanence,) = second.measured
    assert first.made == "a (long)" and permanence.beside == {"at the end": 0}
    assert (permanence.value, permanence.n) == (0.25, 2) and permanence.stated is not None
    assert page_of([(tmp_path, report) for report in (first, second)])


def test_joined_reports_keep_how_each_part_was_measured(tmp_path: Path):
    def joined(**own: object) -> Report:
        protocol = {"version": "1", "networks": {"dino": {"sha256": "a"}}, "prompts": {"file": "f", "sha256": "s"}}
        numbers = {"subject_consistency": over_videos([0.5, 0.6], [1, 1], (), ["v/a.mp4", "v/b.mp4"])}
        first = SuiteReport(suite="vbench", model="m", dimensions=numbers, protocol={**protocol, **own})
        second = SuiteReport(suite="vbench", model="m", dimensions={"scene": Dimension(value=0.5)}, protocol={})
        (tmp_path / "joined.json").write_text(merged([first, second]).model_dump_json())
        return read_one(tmp_path / "joined.json")

    assert compare(joined(), joined())[0].value == 0
    assert compare(joined(), joined(prompts={"file": "other name", "sha256": "s"}))[0].value == 0
    others = {"networks": {"dino": {"sha256": "b"}}, "rewritten": True, "prompts": {"file": "f", "sha256": "t"}}
    for name, other in others.items():
        with pytest.raises(UserError, match=name):
            compare(joined(), joined(**{name: other}))
    assert joined(skipped=["torn.mp4: damaged"]).notes == ("subject consistency: skipped: ['torn.mp4: damaged']",)
    rewritten = SuiteReport(suite="vbench", model="m", dimensions={}, protocol={"rewritten": True})
    plain = SuiteReport(suite="vbench", model="m", dimensions={}, protocol={"rewritten": False})
    assert merged([plain, rewritten]).is_rewritten and not merged([plain]).is_rewritten


def test_what_people_said_is_one_report_for_each_folder(tmp_path: Path):
    votes = [
        Vote("ann", str(number), "one", "two", "one" if number % 2 else "two", choice, "now", "a", "b")
        for number, choice in enumerate(["left", "right", "left", "same"])
    ]
    (tmp_path / "people.json").write_text(summed_up(votes, times=20).to_json())
    reports = read_reports(tmp_path / "people.json")
    assert {report.made for report in reports} == {"one", "two"}
    assert sum(report.measured[0].value for report in reports) == pytest.approx(1)
    with pytest.raises(UserError, match="give a file that is of one"):
        read_one(tmp_path / "people.json")


def test_reports_of_toyland_compare_scene_by_scene(toy: Path, tmp_path: Path):
    worse = evaluate(lambda some: [replace(clip, pixels=0 * clip.pixels) for clip in half_right(some)], num=6)
    (tmp_path / "worse.json").write_text(worse.to_json())
    found = {one.metric: one for one in compare(read_one(toy), read_one(tmp_path / "worse.json"))}
    assert found["all"].paired and found["all"].value == -0.5 and found["all"].is_significant
    other = evaluate(half_right, num=6, captions="canonical")
    (tmp_path / "other.json").write_text(other.to_json())
    with pytest.raises(UserError, match="captions both and canonical"):
        compare(read_one(toy), read_one(tmp_path / "other.json"))


def test_people_and_the_oracle_are_held_against_each_other(toy: Path, tmp_path: Path):
    """People who always prefer what the oracle passes agree with it in full."""
    worse = evaluate(lambda some: [replace(clip, pixels=0 * clip.pixels) for clip in half_right(some)], num=6)
    (tmp_path / "worse.json").write_text(worse.to_json())
    votes = [
        Vote(
            "ann",
            str(number),
            "mine_clips",
            "worse_clips",
            "mine_clips",
            "left" if number % 2 else "same",
            "",
            "a",
            "b",
        )
        for number in range(6)
    ]
    results = summed_up(votes, [read_one(toy), read_one(tmp_path / "worse.json")], times=20)
    found = {one.metric: one.videos for one in results.correlations}
    assert found["all"] is not None and found["all"].value == pytest.approx(1) and found["all"].n == 6


def test_only_a_stopped_report_is_gone_on_with(toy: Path, tmp_path: Path):
    stopped = tmp_path / "stopped.json"
    stopped.write_text(json.dumps({"complete": False}))
    assert unfinished(stopped, force=False) == stopped.read_text()
    assert unfinished(stopped, force=True) is None and unfinished(tmp_path / "new.json", force=False) is None
    with pytest.raises(UserError, match="--force"):
        unfinished(toy, force=False)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("[]", "is no report"),
        ('{"form": "videos", "measured": [{}], "unusable": []}', "is no report"),
        ('{"form": "toyland", "dimensions": {"all": {}}, "ceiling": {}, "protocol": {}}', "begins like a report"),
        ('{"form": "suite", "dimensions": {}}', "begins like a report"),
        ('{"form": "film", "measured": []}', "is of form 'film', and known are videos, toyland"),
        ('{"unknown": 0.3}', "one suite"),
        ("{", "is no JSON"),
    ],
)
def test_what_is_no_report_says_so(content: str, part: str, tmp_path: Path):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(UserError, match=part):
        read_reports(tmp_path / "bad.json")


def test_best_and_worst_are_apart_and_never_too_many():
    values = {f"{number:03d}": number / 100 for number in range(100)}
    up, down = Measured("up", 0.5, 100, {}, videos=values), Measured("down", 0.5, 100, {}, videos=values)
    down = replace(down, lower_is_better=True)
    chosen = picks([up, down], 2)
    assert chosen["up"] == {"best": ["099", "098"], "worst": ["000", "001"]}
    assert chosen["down"] == {"best": ["000", "001"], "worst": ["099", "098"]}
    few = Measured("few", 0.5, 3, {}, videos={"a": 1.0, "b": 0.0, "c": 0.5})
    assert picks([few], 2)["few"] == {"best": ["a", "c"], "worst": ["b"]}
    many = [
        Measured(str(k), 0.5, 50, {}, videos={f"{k} {number}": float(number) for number in range(50)}) for k in range(9)
    ]
    assert len(picks(many, 4)) == 7  # eight clips of each, and sixty are the most


def test_a_film_that_is_gone_or_broken_is_none(tmp_path: Path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    assert film("bad.mp4", tmp_path) is None and film("absent.mp4", tmp_path) is None and film(None, tmp_path) is None
    media.write(Clip(torch.rand(70, 3, 34, 301)), tmp_path / "wide.mp4")
    address = film("wide.mp4", tmp_path)
    assert address is not None and len(address) < 400_000


def test_the_page_tells_all_and_refuses_what_cannot_be_compared(tmp_path: Path):
    paths = [measured(tmp_path, "one"), measured(tmp_path, "two", 0.05)]
    page = page_of([(path, read_one(path)) for path in paths])
    assert "significant</b>" in page and "is damaged &lt;/script&gt;" in page and "no value: no file" in page
    told = json.loads(paths[1].read_text())
    told["measured"][0]["protocol"]["frames"] = 5
    paths[1].write_text(json.dumps(told))
    assert "not comparable (1)</summary>frames 4 and 5" in page_of([(path, read_one(path)) for path in paths])
    with pytest.raises(UserError, match="given twice"):
        page_of([(paths[0], read_one(paths[0]))] * 2)


def test_clips_of_one_name_and_other_captions_are_another_test(tmp_path: Path):
    one, other = (read_one(measured(tmp_path, name)) for name in ("one", "two"))
    assert compare(one, other)
    mute = replace(other, clips={name: replace(clip, caption="") for name, clip in other.clips.items()})
    elsewhere = replace(other, clips={f"x {name}": replace(clip, caption="a dog") for name, clip in one.clips.items()})
    assert compare(one, mute) and compare(one, elsewhere)
    asked = replace(other, clips={**other.clips, "clip 3": replace(other.clips["clip 3"], caption="a dog")})
    with pytest.raises(UserError, match=r"captions of 1 of 9 clips of one name, such as clip 3: .*'a dog'"):
        compare(one, asked)
    assert "not comparable (1)</summary>captions of 1 of 9" in page_of([(tmp_path / "a", one), (tmp_path / "b", asked)])


@pytest.mark.skipif(browser_here() is None, reason="no Chromium here")
def test_the_page_plays_draws_and_asks_nobody(toy: Path, tmp_path: Path):
    paths = [toy, measured(tmp_path, "one"), measured(tmp_path, "two", 0.05)]
    (tmp_path / "index.html").write_text(page_of([(path, read_one(path)) for path in paths]))
    with opened(tmp_path / "profile") as page:
        page.resize(1200, 900)
        page.open((tmp_path / "index.html").as_uri())
        assert page.run("document.querySelectorAll('#dimensions polygon').length") > 4
        assert page.run("document.querySelectorAll('#numbers tbody').length") > 5
        page.wait("[...document.querySelectorAll('video')].length > 0")
        page.wait("[...document.querySelectorAll('video')].every(v => v.readyState >= 2 && !v.error)")
        assert (
            page.run("document.querySelectorAll('#clips figure b').length") == 6
        )  # of six the best four, the worst two
        assert "failed" in page.run("document.querySelector('#clips').textContent")

        found = "const s = document.getElementById(id); s.value = name"
        choose = f"(id, name) => {{ {found}; s.dispatchEvent(new Event('change')); }}"
        for name in ("spread-metric", "against-x", "clips-metric"):
            page.run(f"({choose})('{name}', 'flicker (videos)')")  # the oracle has a flicker of its own
        page.run(f"({choose})('against-y', 'psnr')")
        assert "Spearman -1.00 over 9 clips" in page.run("document.getElementById('against-told').textContent")
        assert page.run("document.querySelectorAll('#against-plot circle').length") == 18
        shown = page.run("document.querySelector('#clips-shown figcaption').textContent")
        assert "<b>noise</b> clip 8" in shown and shown.startswith("0.8")  # as it was written, never as markup
        assert page.run("document.querySelectorAll('#spread-plot rect').length") > 10

        page.resize(390, 800, "dark")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert not page.errors
        assert all(address.startswith(("file:", "data:")) for address in page.asked)
