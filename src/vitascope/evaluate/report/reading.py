"""Whatever a command that evaluates wrote, read as reports of one kind, so that it can be shown and compared."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitascope import media
from vitascope.evaluate import forms
from vitascope.evaluate.measured import Measured, Report, Shown, report_of
from vitascope.evaluate.metrics.metric import Bootstrap, mean_of
from vitascope.evaluate.vbench import report as suites
from vitascope.evaluate.videos import VideoFile, find_videos
from vitascope.types import UserError

ASKED = ("suite", "version", "split", "kind", "seed", "captions", "task", "num_frames", "size", "fps")
"""What of Toyland's protocol says how was measured; the rest of it says what was, and is free to differ."""


def read_reports(path: Path) -> list[Report]:
    """One report of any command; of the arena, one for each folder that people judged."""
    content = suites.read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"'{path}' is no report; give the file that the --out of a command of `evaluate` named")
    if (form := content.get("form")) is None:  # of an official package
        return [of_suite(suites.read_report(path))]
    if form not in FORMS:
        raise UserError(f"'{path}' is of form '{form}', and known are {', '.join(FORMS)}; evaluate again")
    try:
        return FORMS[form](content, path)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"'{path}' begins like a report and is none ({type(error).__name__}: {error}); evaluate again"
        ) from None


def read_one(path: Path) -> Report:
    """For what compares two: the report of one model."""
    reports = read_reports(path)
    if len(reports) > 1:
        raise UserError(f"'{path}' holds {', '.join(one.made for one in reports)}; give a file that is of one")
    return reports[0]


def videos_told(place: Path, captions: Mapping[str, str] | None = None) -> list[VideoFile]:
    """The videos of a folder, or those that a report shows, each with the caption that it has there."""
    if place.suffix != ".json":
        return find_videos(place, captions)
    told = captions or {}
    found = {
        name: VideoFile(Path(clip.path), name, told.get(name, clip.caption or None))
        for report in read_reports(place)
        for name, clip in report.clips.items()
        if clip.path is not None
    }
    if not found:
        raise UserError(f"the report '{place}' tells of no video that was kept; give the folder of the videos")
    return [*found.values()]


def unfinished(out: Path, *, force: bool, form: str | None = None) -> str | None:
    """What a stopped evaluation left at `out`, to go on with; a finished report there is kept, unless `force`.

    With `form` that of another command is refused.
    """
    if out.is_file() and not force:
        text = out.read_text(encoding="utf-8", errors="replace")
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if isinstance(content, dict) and content.get("complete") is False:
            if form is not None and content.get("form") != form:
                raise UserError(f"'{out}' is a stopped report of another command; pass --force to replace it")
            return text
    media.check_free(out, force=force)
    return None


def clips_folder(out: Path) -> Path:
    """Where the clips of a report lie that a command made itself."""
    return out.with_name(f"{out.stem}_clips")


# One function for each form.


def of_videos(content: Mapping[str, Any], path: Path) -> list[Report]:
    return [report_of(content, path)]


def of_toyland(content: Mapping[str, Any], path: Path) -> list[Report]:
    """Pass rates of one kind, with the tokenizer's ceiling beside."""
    rates = {
        name: {"made": one, "ceiling": content["ceiling"].get(name)} for name, one in content["dimensions"].items()
    }
    return [_of_rates(content, path, rates, "toyland")]


def of_twins(content: Mapping[str, Any], path: Path) -> list[Report]:
    """Dimensions of VBench and categories of CompBench, with what is perfect and what is worthless beside."""
    report = _of_rates(content, path, {**content["dimensions"], **content["compbench"]}, "suites")
    scored = content["scored"]
    totals = [
        Measured(
            name, value, max((one.n for one in report.measured), default=0), _asked(content["protocol"]),
            beside={
                column: one[name] for column, one in scored.items() if column != "made" and one[name] is not None
            },
        )
        for name, value in scored["made"].items()
        if value is not None
    ]  # fmt: skip
    other = {**_asked(content["protocol"]), "suite": "toyland_compbench"}
    measured = (replace(one, protocol=other) if one.metric in content["compbench"] else one for one in report.measured)
    return [replace(report, measured=(*totals, *measured))]


def _of_rates(content: Mapping[str, Any], path: Path, rates: Mapping[str, Mapping[str, Any]], kind: str) -> Report:
    """`rates`: by dimension, then by column, of which "made" is the model's."""
    protocol, told = content["protocol"], content.get("answers", {})
    answers = {number: told[number] for number in sorted(told, key=int)}  # as in every report: resamples are shared
    measured = []
    for name, columns in rates.items():
        made = columns["made"]
        if not made["n"]:
            continue
        beside = {column: one["rate"] for column, one in columns.items() if column != "made" and one and one["n"]}
        passed = {number: one["passed"][name] for number, one in answers.items() if name in one["passed"]}
        interval = (made["interval"][0], made["interval"][1])
        one = Measured(
            name, made["rate"], made["n"], _asked(protocol), _replicates(passed), beside, passed, stated=interval
        )
        measured.append(one)
    folder = clips_folder(path)
    clips = {
        number: Shown(str(file) if (file := folder / f"{number}.mp4").is_file() else None, answer["caption"])
        for number, answer in answers.items()
    }
    made_with = ", ".join(f"{name} {value}" for name, value in protocol.items() if name not in (*ASKED, "num"))
    return Report(
        path.stem, None, protocol["version"], tuple(measured), clips=clips, kind=kind,
        notes=(f"made with {made_with}",) if made_with else (), complete=content.get("complete", True),
    )  # fmt: skip


def _asked(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {name: protocol[name] for name in ASKED if name in protocol}


def of_scores(content: Mapping[str, Any], path: Path) -> list[Report]:
    """Of novel views or classes: what the model made, with other makers beside."""
    protocol, measured = content["protocol"], []
    for name in content["scores"]["made"]:
        if name == "n" or name.endswith("_interval"):
            continue
        made = _score(content["scores"]["made"], name)
        beside = {maker: _score(told, name)[0] for maker, told in content["scores"].items() if maker != "made"}
        measured.append(Measured(name, made[0], made[2], _after_suite(protocol), beside=beside, stated=made[1]))
    return [Report(path.stem, None, protocol["version"], tuple(measured), complete=True, kind=protocol["suite"])]


def _score(told: Mapping[str, Any], name: str) -> tuple[float, tuple[float, float] | None, int]:
    """Value, interval and n of a measure, in either of the two forms."""
    if isinstance(told[name], dict):
        return told[name]["mean"], _pair(told[name]["interval"]), told[name]["n"]
    return told[name], _pair(told[f"{name}_interval"]), told["n"]


def of_makers(content: Mapping[str, Any], path: Path) -> list[Report]:
    """Of long videos: a report for each maker, means over clips of their windows of two seconds."""
    protocol, reports = content["protocol"], []
    for maker, told in content["makers"].items():
        ends = {name: next(filter(_is_told, reversed(curve)), None) for name, curve in told["curves"].items()}
        measured = tuple(
            Measured(
                name,
                one["mean"],
                one["n"],
                _after_suite(protocol),
                beside={"at the end": ends[name]},
                stated=None if one["interval"] is None else tuple(one["interval"]),
            )
            for name, one in told["whole"].items()
            if one is not None
        )
        notes = (f"made with {told['made_with']}",) if told["made_with"] else ()
        called = f"{maker} ({path.stem})"
        reports.append(
            Report(called, None, protocol["version"], measured, (), notes, complete=True, kind=protocol["suite"])
        )
    return reports


def _is_told(value: float | None) -> bool:
    return value is not None


def _after_suite(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked; what stands before the suite says who answered."""
    names = list(protocol)
    return {name: protocol[name] for name in names[names.index("suite") :]}


def of_judged(content: Mapping[str, Any], path: Path) -> list[Report]:
    return [of_suite(suites.SuiteReport.model_validate_json(json.dumps(content)))]


def of_suite(suite: suites.SuiteReport) -> Report:
    """Dimensions of a suite that were measured here, by a judge, or by the official package."""
    names = _names({place for one in suite.dimensions.values() for place in one.videos})
    measured = []
    for dimension, one in suite.dimensions.items():
        protocol = {"suite": suite.suite, **judged_by(suite.protocol, dimension)}
        if one.departures:
            protocol["departures"] = list(one.departures)
        videos = {names[place]: one.videos[place] for place in sorted(one.videos)}
        measured.append(
            Measured(
                dimension, one.value, one.n, protocol, _replicates(videos), videos=videos, stated=one.interval,
                departures=one.departures, lower_is_better=suite.suite == "dsg_video",
            )
        )  # fmt: skip
    return Report(
        suite.model, None, str(suite.protocol.get("version", "not told")), tuple(measured), complete=True,
        notes=tuple(_notes_of(suite.protocol)),
        clips={name: Shown(place) for place, name in names.items()}, kind=suite.suite,
    )  # fmt: skip


def _names(places: Collection[str]) -> dict[str, str]:
    """Of videos by their paths: what `evaluate videos` and the arena call them, their path in the folder of all."""
    if not places:
        return {}
    root = os.path.commonpath([Path(place).parent for place in places])
    return {place: Path(place).relative_to(root).with_suffix("").as_posix() for place in sorted(places)}


def judged_by(protocol: Mapping[str, Any], dimension: str) -> dict[str, Any]:
    """How a dimension was measured: in a report that was joined from several, as its own part says."""
    told = {name: protocol[name] for name in JUDGED if name in protocol}
    if isinstance(told.get("prompts"), dict):
        told["prompts"] = told["prompts"]["sha256"]  # whatever the file is called
    for names, part in protocol.get("parts", {}).items():
        if dimension in names.split():
            told |= judged_by(part, dimension)
    return told


def _notes_of(protocol: Mapping[str, Any], whose: str = "") -> Iterator[str]:
    """The rest of a protocol in words, part by part."""
    for name, value in protocol.items():
        if name == "parts":
            for names, part in value.items():
                whole = ", ".join(one.replace("_", " ") for one in names.split())
                yield from _notes_of(part, f"{whole}: ")
        elif name not in JUDGED and value:
            yield f"{whose}{name.replace('_', ' ')}: {value}"


JUDGED = (
    "judge", "frames", "seeds", "dependencies", "questions", "networks", "quirks", "slow_fast", "prompts", "rewritten",
    "version",
)  # fmt: skip
"""What of a suite's protocol must be shared by numbers that are compared."""


def _replicates(values: Mapping[str, float]) -> list[float]:
    """Means of resampled videos."""
    return [*mean_of("", tuple(values), [*values.values()], {}, Bootstrap(), {}).replicates] if values else []


def of_arena(content: Mapping[str, Any], path: Path) -> list[Report]:
    """What people said, folder by folder; how far metrics agree with them is told beside each."""
    notes = [f"{content['num_votes']} votes of {len(content['raters'])} people, {content['num_skipped']} skipped"]
    if content["agreement"] is not None:
        notes.append(f"raters agree in {content['agreement']['raw']:.0%} of meetings")
    for one in content["correlations"]:
        for what in ("models", "videos"):
            if one[what] is not None and one[what]["value"] is not None:
                notes.append(f"{one['metric']} against people, over {what}: Spearman {one[what]['value']:+.2f}")
    reports = []
    for standing in content["standings"]:
        rate, strength = standing["win_rate"], standing["strength"]
        measured = (
            Measured("win rate (people)", rate["value"], int(rate["n"]), {}, stated=tuple(rate["interval"])),
            Measured("strength (people)", strength["value"], strength["n"], {}, stated=_pair(strength["interval"])),
        )
        reports.append(Report(standing["label"], None, "", measured, notes=tuple(notes), complete=True, kind="arena"))
    return reports


def _pair(interval: list[float] | None) -> tuple[float, float] | None:
    return None if interval is None else (interval[0], interval[1])


FORMS: dict[str, Callable[[Mapping[str, Any], Path], list[Report]]] = {
    forms.VIDEOS: of_videos,
    forms.TOYLAND: of_toyland,
    forms.TWINS: of_twins,
    forms.VIEWS: of_scores,
    forms.CLASSES: of_scores,
    forms.LASTING: of_makers,
    forms.ARENA: of_arena,
    forms.SUITE: of_judged,
}
"""By what each command writes down as the form of its report."""
