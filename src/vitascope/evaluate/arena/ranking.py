"""What votes on pairs say: who wins how often, how strong each is, how far people agree, what a metric knows of it.

Intervals of everything but single rates are bootstraps over the names of videos: the votes of several people on
one prompt are not independent, so they are drawn together.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from vitascope.evaluate.arena.votes import Pair, Vote
from vitascope.evaluate.intervals import Rate, bootstrap_interval, resamples

GHOST = 1.0
"""Games against an imagined opponent of average strength, half won: one who never lost is strong, not infinitely so."""


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, and of how many things it is."""

    value: float
    interval: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Record:
    """Votes on one against all others."""

    wins: int = 0
    ties: int = 0
    losses: int = 0

    @property
    def rate(self) -> Rate:
        """A tie is half a win. The interval takes votes as independent."""
        return Rate(self.wins + self.ties / 2, self.wins + self.ties + self.losses)


def records(votes: Sequence[Vote]) -> dict[str, Record]:
    """Of each folder that was judged; what was skipped counts for nobody."""
    counts: Counter[tuple[str, int]] = Counter()
    for vote in votes:
        if vote.score is not None:
            counts.update([(vote.first, vote.score), (vote.second, -vote.score)])
    labels = sorted({label for label, _ in counts})
    return {label: Record(counts[label, 1], counts[label, 0], counts[label, -1]) for label in labels}


def left_rate(votes: Sequence[Vote]) -> Rate:
    """How often the left one was preferred, of the votes that prefer one: far from half, people favour a side."""
    sides = Counter(vote.choice for vote in votes)
    return Rate(sides["left"], sides["left"] + sides["right"])


def bradley_terry(wins: Float[Tensor, "*b m m"], ghost: float = GHOST) -> Float[Tensor, "*b m"]:
    """Strengths s of mean 0 such that i beats j with probability 1 / (1 + exp(s_j - s_i)), by maximum likelihood.

    `wins[i, j]` counts the wins of i over j, a tie half to each. Minorisation and maximisation (Hunter 2004): slower
    than Newton's method, but no step can overshoot.
    """
    wins = wins.double()
    games = wins + wins.mT
    won = wins.sum(-1) + ghost / 2
    power = torch.ones_like(won)
    for _ in range(MOST_STEPS):
        expected = (games / (power[..., :, None] + power[..., None, :])).sum(-1) + ghost / (power + 1)
        fresh = torch.where(expected > 0, won / expected, 1.0)
        if ghost == 0:  # without one only ratios are known
            fresh = fresh / fresh.clamp_min(TINY).log().mean(-1, keepdim=True).exp()
        step = (fresh.clamp_min(TINY).log() - power.clamp_min(TINY).log()).abs().max()
        power = fresh
        if step < 1e-9:
            break
    strength = power.clamp_min(TINY).log()
    return strength - strength.mean(-1, keepdim=True)


MOST_STEPS, TINY = 10_000, 1e-300


def win_counts(votes: Sequence[Vote], labels: Sequence[str], names: Sequence[str]) -> Float[Tensor, "v m m"]:
    """Wins by name of video, so that names can be weighed."""
    place, row = {label: at for at, label in enumerate(labels)}, {name: at for at, name in enumerate(names)}
    wins = torch.zeros(len(names), len(labels), len(labels), dtype=torch.float64)
    for vote in votes:
        if vote.score is not None:
            first, second = place[vote.first], place[vote.second]
            wins[row[vote.name], first, second] += (1 + vote.score) / 2
            wins[row[vote.name], second, first] += (1 - vote.score) / 2
    return wins


def strengths(
    votes: Sequence[Vote], labels: Sequence[str], times: int, seed: int
) -> tuple[Float[Tensor, "m"], Float[Tensor, "b m"]]:
    """Bradley-Terry strengths, and those of resampled names."""
    names = sorted({vote.name for vote in votes if vote.score is not None})
    wins = win_counts(votes, labels, names)
    weights = resamples(len(names), times if len(names) > 1 else 0, seed, "votes").double()
    return bradley_terry(wins.sum(0)), bradley_terry(torch.einsum("bv,vij->bij", weights, wins))


def krippendorff(units: Sequence[Sequence[Hashable]]) -> float:
    """Krippendorff's alpha for nominal values: 1 where raters agree, 0 where no more than by chance.

    One unit holds what its raters said of it; those of a single rater say nothing on agreement. NaN if none is left.
    """
    told = [unit for unit in units if len(unit) > 1]
    totals = Counter(value for unit in told for value in unit)
    n = sum(totals.values())
    expected = n * n - sum(count * count for count in totals.values())
    observed = sum((len(unit) ** 2 - sum(c * c for c in Counter(unit).values())) / (len(unit) - 1) for unit in told)
    return 1 - (n - 1) * observed / expected if expected else math.nan


@dataclass(frozen=True)
class Agreement:
    """`raw`: how often two raters of one pair said the same, over all such meetings; `alpha`: beyond chance."""

    raw: float
    alpha: Estimate


def agreement(votes: Sequence[Vote], times: int, seed: int) -> Agreement | None:
    """None where no two people judged the same pair.

    Each pair enters alpha a second time turned over, for which of the two is called first is arbitrary.
    """
    told: dict[Pair, list[int]] = defaultdict(list)
    for vote in votes:
        if vote.score is not None:
            told[vote.pair].append(vote.score)
    shared = {pair: scores for pair, scores in told.items() if len(scores) > 1}
    if not shared:
        return None
    meetings = [one == other for scores in shared.values() for one, other in permutations(scores, 2)]
    by_name: dict[str, list[list[int]]] = defaultdict(list)
    for pair, scores in shared.items():
        by_name[pair.name] += [scores, [-score for score in scores]]
    names = sorted(by_name)
    alpha = krippendorff([unit for name in names for unit in by_name[name]])
    weights = resamples(len(names), times if len(names) > 1 else 0, seed, "agreement").int().tolist()
    drawn = [
        krippendorff([unit for name, times in zip(names, row, strict=True) for unit in by_name[name] * times])
        for row in weights
    ]
    interval = bootstrap_interval(alpha, [value for value in drawn if math.isfinite(value)])
    return Agreement(sum(meetings) / len(meetings), Estimate(alpha, interval, len(shared)))


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Rank correlation; NaN where either does not vary."""
    if len(one) < 2:
        return math.nan
    ranks = torch.stack([torch.from_numpy(rankdata(values)) for values in (one, other)])
    ranks = ranks - ranks.mean(1, keepdim=True)
    norm = ranks.norm(dim=1).prod().item()
    return (ranks[0] @ ranks[1]).item() / norm if norm else math.nan


def by_video(votes: Sequence[Vote], values: Mapping[str, Mapping[str, float]], times: int, seed: int) -> Estimate:
    """Spearman between a metric's difference of two videos and people's mean preference between them.

    `values`: the metric by folder and name. Each pair enters in both orders, for the order is arbitrary.
    """
    told: dict[Pair, list[int]] = defaultdict(list)
    for vote in votes:
        known = all(vote.name in values.get(label, {}) for label in (vote.first, vote.second))
        if vote.score is not None and known:
            told[vote.pair].append(vote.score)
    by_name: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for pair, scores in told.items():
        difference = values[pair.first][pair.name] - values[pair.second][pair.name]
        by_name[pair.name].append((difference, sum(scores) / len(scores)))
    names = sorted(by_name)

    def of(counts: Sequence[int]) -> float:
        drawn = [point for name, count in zip(names, counts, strict=True) for point in by_name[name] * count]
        both = [*drawn, *((-one, -other) for one, other in drawn)]
        return spearman([one for one, _ in both], [other for _, other in both])

    value = of([1] * len(names))
    weights = resamples(len(names), times, seed, "by video").int().tolist() if len(names) > 1 else []
    drawn = [one for one in map(of, weights) if math.isfinite(one)]
    return Estimate(value, _within(bootstrap_interval(value, drawn)), len(told))


def by_model(values: Sequence[float], strength: Float[Tensor, "m"], drawn: Float[Tensor, "b m"]) -> Estimate | None:
    """Spearman between a metric's values of the models and their strengths; None below three models.

    The interval is of the votes alone: these models, and the metric as it was measured.
    """
    if len(values) < 3:
        return None
    value = spearman(values, strength.tolist())
    replicates = [spearman(values, row) for row in drawn.tolist()]
    interval = bootstrap_interval(value, [one for one in replicates if math.isfinite(one)])
    return Estimate(value, _within(interval), len(values))


def _within(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (max(interval[0], -1.0), min(interval[1], 1.0))
