"""What two things do together: contact or relation in the right order, read from their tracks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from vitascope.toyland.scene import HALF_WIDTHS, SPAN_SECONDS
from vitascope.toyland.track import SHAPE_NAMES, Track

TOUCH = 0.13  # a gap between things, in units, that looks like contact
STILL = 0.12  # units that a thing may wander and still be said to stay
EARLY_SECONDS = 0.55  # before every change


@dataclass(frozen=True, eq=False)
class Meeting:
    """Two things in the frames in which both are seen well; `x` leads from the first to where the second was."""

    seconds: Float[ndarray, "u"]
    x: Float[ndarray, "u"]
    other_x: Float[ndarray, "u"]
    y: Float[ndarray, "u"]
    other_y: Float[ndarray, "u"]
    gap: Float[ndarray, "u"]
    on_top: bool  # more of the first is hidden at times than of the second

    @property
    def other_stays(self) -> bool:
        return bool(max(np.ptp(self.other_x), np.ptp(self.other_y)) < STILL)

    @property
    def level(self) -> bool:
        return bool(max(np.ptp(self.y), np.ptp(self.other_y)) < 2 * STILL)

    @property
    def early(self) -> Bool[ndarray, "u"]:
        return self.seconds < EARLY_SECONDS


def meet(one: Track, other: Track, use: Bool[ndarray, "t"]) -> Meeting:
    side = np.sign((other.x - one.x)[use][0])
    reach = sum(HALF_WIDTHS[SHAPE_NAMES[track.shape]] * np.median(track.radius[use]) for track in (one, other))
    on_top = bool(most_hidden(other) < 0.5 * most_hidden(one))
    x, other_x = side * one.x[use], side * other.x[use]
    return Meeting(one.seconds[use], x, other_x, one.y[use], other.y[use], abs(x - other_x) - reach, on_top)


def most_hidden(track: Track) -> float:
    """How much of its area is missing when the least of it is seen."""
    least = np.nanmin(track.spread) if track.present[track.expected].all() else 0.0
    return float(np.nanquantile(track.spread, 0.75) ** 2 - least**2)


def pushes(meeting: Meeting) -> bool:
    """It comes, touches, and from then on both go on together."""
    moved = meeting.other_x - meeting.other_x[0]
    together = meeting.gap[moved > STILL]
    waits = moved[meeting.early].max(initial=0) < STILL / 2
    return bool(meeting.level and waits and moved[-1] > 2 * STILL and meeting.gap[0] > TOUCH and together.max() < TOUCH)


def chases(meeting: Meeting) -> bool:
    """Both go the same way from the beginning, and it never gets there."""
    both = min(np.ptp(meeting.x), np.ptp(meeting.other_x)) > 3 * STILL
    flees = (
        meeting.other_x[-1] > meeting.other_x[0]
        and (meeting.other_x - meeting.other_x[0])[meeting.early].max(initial=0) > STILL / 2
    )
    return bool(meeting.level and both and flees and meeting.x[-1] > meeting.x[0] and meeting.gap.min() > 0.02)


def orbits(meeting: Meeting) -> bool:
    right, down = meeting.x - meeting.other_x, meeting.y - meeting.other_y
    turned = np.unwrap(np.arctan2(down, right))
    distance = np.hypot(right, down)
    round_it = abs(turned[-1] - turned[0]) > 0.7 * 2 * math.pi * np.ptp(meeting.seconds) / SPAN_SECONDS
    return bool(meeting.other_stays and round_it and np.ptp(distance) < 0.3 * distance.mean())


def passes(meeting: Meeting) -> bool:
    crossed = meeting.x[0] < meeting.other_x[0] and meeting.x[-1] > meeting.other_x[-1]
    near = np.abs(meeting.y - meeting.other_y).max() < 0.3
    return bool(meeting.other_stays and meeting.level and crossed and near and meeting.on_top)


def rebounds(meeting: Meeting) -> bool:
    gone = meeting.x - meeting.x[0]
    returned = gone.max() > 2 * STILL and gone.max() - gone[-1] > 1.5 * STILL
    return bool(meeting.other_stays and meeting.level and returned and meeting.gap.min() < TOUCH)


INTERACTIONS: dict[str, Callable[[Meeting], bool]] = {
    "pushes": pushes,
    "chases": chases,
    "orbits around": orbits,
    "passes behind": passes,
    "bounces off": rebounds,
}
