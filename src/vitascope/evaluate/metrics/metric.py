"""Metrics of sets and of single videos: from what readers read to a number with its interval and its protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitascope.evaluate.intervals import resamples
from vitascope.evaluate.measured import Features, Measured
from vitascope.evaluate.metrics import frechet
from vitascope.evaluate.metrics.inception_score import SPLITS, inception_scores, shuffled
from vitascope.evaluate.metrics.kernel import Kernel, kernel_distances
from vitascope.evaluate.metrics.paired import PairReader
from vitascope.evaluate.networks.features import Reader
from vitascope.evaluate.protocol import Protocol
from vitascope.types import UserError

Score = Callable[[Float[Tensor, "n d"], str], float]
"""Of the rows of one video and its caption."""


@dataclass(frozen=True)
class Bootstrap:
    """How many resamples, from which seed."""

    times: int = 200
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SetMetric:
    """A distance between what a network sees in the videos made and in real ones."""

    name: str
    reader: Reader
    distance: Frechet | KernelDistance

    def measure(self, made: Features, real: Features, protocol: Protocol, bootstrap: Bootstrap) -> Measured:
        record = record_of(protocol, self.reader.identity, self.distance.record())
        return between_sets(self.name, self.distance, record, made, real, bootstrap)


@dataclass(frozen=True)
class Frechet:
    """With its extrapolation to endless sets, and its floor: the distance between two parts of the real set.

    `seed`: of the parts.
    """

    divisor: Literal["n", "n-1"] = "n-1"
    seed: int = 0
    least: ClassVar[float | None] = frechet.LEAST

    def record(self) -> dict[str, Any]:
        return {"distance": "frechet", "divisor": self.divisor}

    def __call__(
        self,
        real: Features,
        made: Features,
        real_weights: Float[Tensor, "b n"],
        made_weights: Float[Tensor, "b m"],
    ) -> tuple[float, list[float], dict[str, Any]]:
        ddof = 1 if self.divisor == "n-1" else 0
        value = frechet.distance_of_rows(real.rows, made.rows, ddof)
        replicates = frechet.resampled_distances(real.rows, made.rows, real_weights, made_weights, ddof)
        real_videos = real.of_each()
        beside: dict[str, Any] = {}
        if line := frechet.extrapolated(real_videos, made.of_each(), ddof, self.seed):
            beside["at infinite n"] = line.at_infinity
            beside["at n"] = dict(zip(map(str, line.counts), line.distances, strict=True))
        if floor := frechet.floor_of(real_videos, len(made.names), ddof, self.seed):
            beside["floor"], beside["floor n"] = floor
        return value, replicates, beside


@dataclass(frozen=True)
class KernelDistance:
    kernel: Kernel
    least: ClassVar[float | None] = None  # an unbiased one of equal sets lies below zero half of the time

    def record(self) -> dict[str, Any]:
        return {"distance": "kernel", **vars(self.kernel)}

    def __call__(
        self,
        real: Features,
        made: Features,
        real_weights: Float[Tensor, "b n"],
        made_weights: Float[Tensor, "b m"],
    ) -> tuple[float, list[float], dict[str, Any]]:
        first = torch.cat([torch.ones(1, len(real.rows)), real_weights])
        second = torch.cat([torch.ones(1, len(made.rows)), made_weights])
        value, *replicates = kernel_distances(real.rows, made.rows, self.kernel, first, second).tolist()
        return value, replicates, {}


@dataclass(frozen=True, eq=False)
class VideoMetric:
    """A mean over videos of a score that each has, by itself or with its caption; none weighs more for its length."""

    name: str
    reader: Reader
    score: Score
    convention: str
    needs_caption: bool = False
    beside: Callable[[Features], Mapping[str, Any]] = lambda _: {}

    def measure(self, made: Features, protocol: Protocol, bootstrap: Bootstrap) -> Measured:
        scores = [self.score(rows, caption) for rows, caption in zip(made.of_each(), made.captions, strict=True)]
        record = record_of(protocol, self.reader.identity, {"convention": self.convention})
        return mean_of(self.name, made.names, scores, record, bootstrap, self.beside(made))


@dataclass(frozen=True, eq=False)
class InceptionScore:
    """Of probabilities of classes: the mean over ten splits of the shuffled clips. It looks at no real video."""

    name: str
    reader: Reader

    def measure(self, made: Features, protocol: Protocol, bootstrap: Bootstrap) -> Measured:
        record = record_of(protocol, self.reader.identity, {"splits": SPLITS})
        return of_probabilities(self.name, record, made, bootstrap)


@dataclass(frozen=True, eq=False)
class PairMetric:
    """A mean over pairs of a video made and the real one of the same name."""

    name: str
    reader: PairReader

    def measure(self, made: Features, protocol: Protocol, bootstrap: Bootstrap) -> Measured:
        """`made` holds what the reader read off the pairs: for each clip the score and the worst frame's."""
        scores = [rows[:, 0].double().mean().item() for rows in made.of_each()]
        worst = self.reader.worst(made.rows[:, 1])
        record = record_of(protocol, self.reader.identity, {})
        beside = {"worst frame": worst, "worst frame of": made.names[int(made.video[made.rows[:, 1] == worst][0])]}
        measured = mean_of(self.name, made.names, scores, {**record, "real": made.digest}, bootstrap, beside)
        return replace(measured, lower_is_better=not self.reader.higher_is_better)


# What needs features and what is recorded of how they were read, and no network any more.


def between_sets(
    name: str,
    distance: Frechet | KernelDistance,
    record: Mapping[str, Any],
    made: Features,
    real: Features,
    bootstrap: Bootstrap,
) -> Measured:
    least = 2
    if min(len(made.rows), len(real.rows)) < least:
        raise UserError(f"needs {least} clips of each set at least, got {len(made.rows)} made, {len(real.rows)} real")
    weights = (
        real.spread(resamples(len(real.names), bootstrap.times, bootstrap.seed, "real")),
        made.spread(resamples(len(made.names), bootstrap.times, bootstrap.seed, "made")),
    )
    # A resample of one video only has no covariance.
    usable = torch.stack([(rows > 0).sum(1) > 1 for rows in weights]).all(0)
    value, replicates, beside = distance(real, made, weights[0][usable], weights[1][usable])
    counted = {
        "real": real.digest, "num_real": len(real.names), "num_made": len(made.names),
        "rows_real": len(real.rows), "rows_made": len(made.rows),
    }  # fmt: skip
    return Measured(
        name, value, len(made.names), {**record, **counted}, replicates, beside, least=distance.least,
        lower_is_better=True, departures=of_other_counts(record, made=len(made.names), real=len(real.names)),
    )  # fmt: skip


def distance_of(record: Mapping[str, Any]) -> Frechet | KernelDistance:
    """What `record` of it says."""
    if record["distance"] == "frechet":
        return Frechet(record["divisor"], record["seed"])
    return KernelDistance(Kernel(**{name.name: record[name.name] for name in fields(Kernel)}))


def of_probabilities(name: str, record: Mapping[str, Any], made: Features, bootstrap: Bootstrap) -> Measured:
    """The Inception Score."""
    if len(made.rows) < SPLITS:
        raise UserError(f"needs {SPLITS} clips at least, one for each split, got {len(made.rows)}")
    if not torch.allclose(made.rows.sum(1), torch.ones(len(made.rows)), atol=1e-3):
        raise UserError("needs probabilities of classes, and what the network gives does not sum to 1")
    scores = torch.tensor(inception_scores(made.rows, shuffled(len(made.rows))), dtype=torch.float64)
    weights = made.spread(resamples(len(made.names), bootstrap.times, bootstrap.seed, "made")).long()
    replicates = [_resampled_score(made.rows, row) for row in weights if row.sum() >= SPLITS]
    beside = {"std over splits": scores.std(correction=0).item()}
    counted = {**record, "num_made": len(made.names)}
    departures = of_other_counts(record, made=len(made.names))
    return Measured(name, scores.mean().item(), len(made.names), counted, replicates, beside, departures=departures)


def _resampled_score(rows: Float[Tensor, "n d"], times: Int[Tensor, "n"]) -> float:
    drawn = rows.repeat_interleave(times, 0)
    scores = inception_scores(drawn, shuffled(len(drawn)))
    return sum(scores) / len(scores)


def mean_of(
    name: str,
    names: tuple[str, ...],
    scores: list[float],
    record: Mapping[str, Any],
    bootstrap: Bootstrap,
    beside: Mapping[str, Any],
) -> Measured:
    values = torch.tensor(scores, dtype=torch.float64)
    replicates: list[float] = []
    if len(values) > 1:
        weights = resamples(len(values), bootstrap.times, bootstrap.seed, "made").double()
        replicates = (weights @ values / len(values)).tolist()
    of_each = dict(zip(names, scores, strict=True))
    departures = of_other_counts(record, made=len(values))
    return Measured(name, values.mean().item(), len(values), record, replicates, beside, of_each, departures=departures)


def of_other_counts(record: Mapping[str, Any], **counts: int) -> tuple[str, ...]:
    """In words, where there are fewer videos than the protocol takes, or after merging more."""
    return tuple(
        f"{count} videos {'made' if which == 'made' else 'that are real'}, and the protocol takes {wanted}"
        for which, count in counts.items()
        if (wanted := record.get(f"{which}_count")) is not None and wanted != count
    )


def record_of(protocol: Protocol, identity: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What a number must share with another to be compared with it."""
    taken = protocol.model_dump(mode="json", exclude={"prepare", "divisor"})
    return {**taken, **identity, **more, "vitascope": version("vitascope")}


Metric = SetMetric | VideoMetric | PairMetric | InceptionScore
