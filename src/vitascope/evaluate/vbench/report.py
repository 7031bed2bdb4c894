"""What was measured of a model on a suite, as a file: values with intervals, and what departs from the official way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch

from vitascope.checksums import sha256_of
from vitascope.config import Config, CountOrZero, first_mistake, nearest
from vitascope.errors import UserError
from vitascope.evaluate import forms
from vitascope.evaluate.intervals import bootstrap_interval, resamples
from vitascope.evaluate.vbench.aggregate import SUITES, VBENCH, VBENCH_LONG, Suite, official_name

RESAMPLES = 2000
SAME = 1e-6  # between a score and the mean of its videos, as the official files round them
AGGREGATES = ("quality_score", "semantic_score", "total_score")


class Measured(Config):
    """One dimension. `departures` say in words what differs from the official measurement; none: it is comparable."""

    value: float
    n: CountOrZero = 0  # videos; 0: not known
    interval: tuple[float, float] | None = None
    departures: tuple[str, ...] = ()
    videos: dict[str, float] = pydantic.Field(default_factory=dict)  # of each, by its path


def over_videos(
    totals: Sequence[float], counts: Sequence[int], departures: tuple[str, ...] = (), names: Sequence[str] = ()
) -> Measured:
    """The ratio of sums over videos, each with a total and a count, with the interval of resampled videos."""
    value, interval = sum(totals) / sum(counts), None
    if len(totals) > 1:
        drawn = resamples(len(totals), RESAMPLES, 0, "videos").double()
        ratios = drawn @ torch.tensor(totals).double() / (drawn @ torch.tensor(counts).double())
        low, high = bootstrap_interval(value, ratios.tolist()) or (value, value)
        interval = max(low, 0.0), min(high, 1.0)
    each = {name: total / count for name, total, count in zip(names, totals, counts, strict=False)}
    return Measured(value=value, n=len(totals), interval=interval, departures=departures, videos=each)


class SuiteReport(Config):
    """Raw values from 0 to 1 by dimension, under the name of the suite that they belong to."""

    form: Literal["suite"] = forms.SUITE
    suite: str
    model: str
    dimensions: dict[str, Measured]
    protocol: dict[str, Any] = pydantic.Field(default_factory=dict)

    @property
    def raw(self) -> dict[str, float]:
        return {name: measured.value for name, measured in self.dimensions.items()}

    @property
    def is_rewritten(self) -> bool:
        """Whether any part of it is of videos of rewritten prompts."""
        return _says(self.protocol, "rewritten")

    @property
    def missing_as_zero(self) -> bool:
        """Whether its groups and total are to count what was not measured as the official script does."""
        return _says(self.protocol, "missing_as_zero")

    @property
    def departures(self) -> list[str]:
        return [
            f"{name}: {departure}" for name, measured in self.dimensions.items() for departure in measured.departures
        ]


def _says(protocol: Mapping[str, Any], what: str) -> bool:
    return bool(protocol.get(what)) or any(_says(part, what) for part in protocol.get("parts", {}).values())


def of_prompts(report: SuiteReport, prompts: Path, *, rewritten: bool) -> SuiteReport:
    """The report that says of which file of prompts its videos are, and whether those were rewritten first."""
    told = {"prompts": {"file": prompts.name, "sha256": sha256_of(prompts)}, "rewritten": rewritten}
    return report.model_copy(update={"protocol": {**report.protocol, **told}})


def merged(parts: Sequence[SuiteReport]) -> SuiteReport:
    """One report of several dimensions of one model on one suite; each part keeps its own protocol."""
    first = parts[0]
    dimensions = {name: measured for part in parts for name, measured in part.dimensions.items()}
    for part in parts:
        if (part.suite, part.model) != (first.suite, first.model):
            raise UserError(
                f"reports of {first.model} on {first.suite} and of {part.model} on {part.suite} are not one"
            )
    if len(dimensions) < sum(len(part.dimensions) for part in parts):
        raise UserError("a dimension is in several of these reports; give each once")
    protocol = {"parts": {" ".join(part.dimensions): part.protocol for part in parts}}
    return first.model_copy(update={"dimensions": dimensions, "protocol": protocol})


def read_report(path: Path, model: str | None = None, suite: str | None = None) -> SuiteReport:
    """A report as vitascope writes it, or the JSON of the official packages; `model` is what to call it.

    Official files do not name their suite: it is told from the dimensions. Those of VBench-Long are VBench's, so there
    `suite` has to say it.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise UserError(f"'{path}' must hold values by the name of their dimension, got {str(content)[:40]!r}")
    if "suite" in content and "dimensions" in content:
        if content["suite"] not in SUITES:
            raise UserError(
                f"'{path}' is a report of '{content['suite']}', which is another test than {', '.join(SUITES)}: "
                "its numbers cannot stand beside theirs, even where dimensions have the same name"
            )
        try:
            report = SuiteReport.model_validate_json(json.dumps(content))
        except pydantic.ValidationError as error:
            raise UserError(f"'{path}' is no report: {first_mistake(error)}") from None
        return report if model is None else report.model_copy(update={"model": model})
    if "form" in content:
        raise UserError(
            f"'{path}' is a report of '{content['form']}'; give one of vitascope evaluate vbench, or of the official "
            "package"
        )
    return from_official(content, path, model, suite)


def from_official(
    content: Mapping[str, Any], path: Path, model: str | None = None, suite: str | None = None
) -> SuiteReport:
    """`{dimension: [score, videos]}` of a run, or `{dimension: score}` of a submission."""
    measured: dict[str, Measured] = {}
    for name, value in content.items():
        if official_name(name) in AGGREGATES:
            continue  # computed anew
        score, *more = value if isinstance(value, list) and value else [value]
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise UserError(f"'{path}': '{name}' must be a number or [number, videos], got {str(value)[:60]!r}")
        if not 0 <= score <= 1:
            raise UserError(f"'{path}': '{name}' must be a raw value from 0 to 1, got {score}; divide percents by 100")
        measured[official_name(name)] = with_videos(float(score), more)
    return SuiteReport(
        suite=one_suite(suite) if suite else suite_of(list(measured), path).name,
        model=model or path.stem.removesuffix("_eval_results"),
        dimensions=measured,
        protocol={"source": f"official package, {path.name}"},
    )


def with_videos(score: float, more: Sequence[Any]) -> Measured:
    """The last list after a score is of its videos. Where their mean is the score, they give an interval too.

    Some dimensions average frames, or leave videos out; imaging quality lists its videos in percent.
    """
    listed = next((part for part in reversed(more) if isinstance(part, list)), [])
    videos = [one for one in listed if not (isinstance(one, dict) and "long_video_cnt" in one)]
    values = [one.get("video_results") for one in videos if isinstance(one, dict)]
    numbers = [float(one) for one in values if isinstance(one, int | float)]
    names = [str(one.get("video_path", "")) for one in videos if isinstance(one, dict)]
    if len(numbers) == len(videos) > 1:
        for unit in (1.0, 100.0):
            whole = over_videos([one / unit for one in numbers], [1] * len(numbers), names=names if all(names) else ())
            if abs(whole.value - score) < SAME:
                return whole.model_copy(update={"value": score})
    return Measured(value=score, n=len(videos))


def one_suite(name: str) -> str:
    if name not in SUITES:
        raise UserError(f"there is no suite '{name}'; {nearest(name, list(SUITES))}")
    return name


def suite_of(names: list[str], path: Path) -> Suite:
    """The only suite that has all these dimensions; VBench where several do."""
    fitting = [suite for suite in SUITES.values() if set(names) <= set(suite.dimensions) and suite is not VBENCH_LONG]
    if not fitting:
        known = [name for suite in SUITES.values() for name in suite.dimensions]
        strange = [name for name in names if name not in known]
        told = f"'{strange[0]}' is none; {nearest(strange[0], known)}" if strange else "they belong to different suites"
        raise UserError(f"'{path}' must hold dimensions of one suite, but {told}")
    return VBENCH if VBENCH in fitting else fitting[0]


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:
        raise UserError(f"'{path}' is no JSON ({error}); give the file as it was written") from None
