"""VBench and its relatives: how dimensions become Quality, Semantic and Total, with the official constants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vitascope.config import nearest
from vitascope.errors import UserError


@dataclass(frozen=True)
class Scale:
    """From the raw value of a dimension to what is averaged. Not clipped: values below `low` count negative."""

    low: float = 0.0
    high: float = 1.0
    weight: float = 1.0

    def __call__(self, raw: float) -> float:
        return (raw - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Suite:
    """A benchmark: groups of dimensions, and how much each group counts in the total. Raw values are from 0 to 1."""

    name: str
    groups: Mapping[str, Mapping[str, Scale]]
    weights: Mapping[str, float]

    @property
    def dimensions(self) -> tuple[str, ...]:
        return tuple(name for group in self.groups.values() for name in group)


@dataclass(frozen=True)
class Scores:
    """What a suite makes of its dimensions; None where something is missing."""

    groups: Mapping[str, float | None]
    total: float | None
    missing: tuple[str, ...] = ()


def aggregate(suite: Suite, raw: Mapping[str, float], *, missing_as_zero: bool = False) -> Scores:
    """Weighted means of the scaled dimensions by group, and of the groups.

    The official script counts a missing dimension as a raw 0, which is below 0 once scaled: `missing_as_zero` does so
    too. Otherwise a group that misses one has no value, and with it the total.
    """
    for name, value in raw.items():
        if name not in suite.dimensions:
            raise UserError(f"{suite.name} has no dimension '{name}'; {nearest(name, list(suite.dimensions))}")
        if not math.isfinite(value):
            raise UserError(f"{name} must be a finite number, got {value}; leave out what could not be measured")
    missing = tuple(name for name in suite.dimensions if name not in raw)
    groups: dict[str, float | None] = {}
    for group, scales in suite.groups.items():
        if missing_as_zero or not set(scales) & set(missing):
            pairs = [(scale(raw.get(name, 0.0)), scale.weight) for name, scale in scales.items()]
            groups[group] = weighted_mean(pairs)
        else:
            groups[group] = None
    known = [(value, suite.weights[name]) for name, value in groups.items() if value is not None]
    total = weighted_mean(known) if len(known) == len(groups) else None
    return Scores(groups, total, missing)


def weighted_mean(pairs: Sequence[tuple[float, float]]) -> float:
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)


def rounding_bound(suite: Suite, step: float) -> Scores:
    """By how much aggregates may differ from what is printed when everything was rounded to multiples of `step`."""
    half = step / 2
    spread = {
        group: weighted_mean([(half / (scale.high - scale.low), scale.weight) for scale in scales.values()])
        for group, scales in suite.groups.items()
    }
    total = weighted_mean([(spread[group], weight) for group, weight in suite.weights.items()])
    return Scores({group: value + half for group, value in spread.items()}, total + half)


def official_name(name: str) -> str:
    """A dimension as the official files spell it, whichever of their spellings this is: 'Multi-View Consistency'."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


# VBench-Long: one score of many clips.


def long_video(clips: Sequence[float]) -> float:
    """A long video's value in any dimension: the mean over its clips. Videos count alike, however long."""
    return sum(clips) / len(clips)


def slow_fast(
    in_clip: float,
    clip_to_clip: float | None,
    knots: Mapping[float, float],
    weights: tuple[float, float] = (1.0, 0.0),
) -> float:
    """Subject or background consistency of a long video, within its clips (fast) and from clip to clip (slow).

    `knots` map a score from clip to clip to the scale of those within clips, linearly in between: the official table.
    The official default leaves the slow part out; its `dev_flag` weighs both (0.5, 0.5). A video of one clip has none.
    """
    if clip_to_clip is None:
        return in_clip
    below = max((knot for knot in knots if knot <= clip_to_clip), default=min(knots))
    above = min((knot for knot in knots if knot >= clip_to_clip), default=max(knots))
    part = (clip_to_clip - below) / (above - below) if above > below else 0.0
    mapped = knots[below] + min(max(part, 0.0), 1.0) * (knots[above] - knots[below])
    return weights[0] * in_clip + weights[1] * mapped


# The constants.

QUALITY = {
    "subject_consistency": Scale(0.1462, 1.0),
    "background_consistency": Scale(0.2615, 1.0),
    "temporal_flickering": Scale(0.6293, 1.0),
    "motion_smoothness": Scale(0.706, 0.9975),
    "dynamic_degree": Scale(weight=0.5),
    "aesthetic_quality": Scale(),
    "imaging_quality": Scale(),
}
SEMANTIC = {
    "object_class": Scale(),
    "multiple_objects": Scale(),
    "human_action": Scale(),
    "color": Scale(),
    "spatial_relationship": Scale(),
    "scene": Scale(0.0, 0.8222),
    "appearance_style": Scale(0.0009, 0.2855),
    "temporal_style": Scale(0.0, 0.364),
    "overall_consistency": Scale(0.0, 0.364),
}
IMAGE = {
    "i2v_subject": Scale(0.1462, 1.0),
    "i2v_background": Scale(0.2615, 1.0),
    "camera_motion": Scale(weight=0.1),
}
HUMAN = ("human_anatomy", "human_clothes", "human_identity")
CONTROL = (
    "camera_motion",
    "complex_landscape",
    "complex_plot",
    "dynamic_attribute",
    "dynamic_spatial_relationship",
    "human_interaction",
    "motion_order_understanding",
)
PHYSICS = ("mechanics", "material", "thermotics", "multi_view_consistency")

VBENCH = Suite("vbench", {"quality": QUALITY, "semantic": SEMANTIC}, {"quality": 4.0, "semantic": 1.0})
VBENCH_LONG = replace(VBENCH, name="vbench_long")
VBENCH_I2V = Suite(
    "vbench_i2v",
    # Flickering is among the records of this suite, but not in its sum.
    {"i2v": IMAGE, "quality": {name: scale for name, scale in QUALITY.items() if name != "temporal_flickering"}},
    {"i2v": 1.0, "quality": 1.0},
)
VBENCH_2 = Suite(
    "vbench_2.0",
    {
        "creativity": {"composition": Scale(), "diversity": Scale()},
        "commonsense": {"instance_preservation": Scale(), "motion_rationality": Scale()},
        "controllability": {name: Scale() for name in CONTROL},
        "human_fidelity": {name: Scale() for name in HUMAN},
        "physics": {name: Scale() for name in PHYSICS},
    },
    dict.fromkeys(("creativity", "commonsense", "controllability", "human_fidelity", "physics"), 1.0),
)
SUITES = {suite.name: suite for suite in (VBENCH, VBENCH_I2V, VBENCH_LONG, VBENCH_2)}
