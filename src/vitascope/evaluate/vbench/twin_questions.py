"""The dimensions of VBench and the categories of CompBench as questions to Toyland's exact oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vitascope.toyland.oracle import View, share
from vitascope.toyland.scene import SCENERY, Kind
from vitascope.toyland.segment import TINTS, lines, squared_distances

NOT_A_SHAPE = 0.1  # what a picture of a thing may differ from every shape; that of an empty picture is 1
OFF_PALETTE = 0.08  # how far a colour may be from all colours of the world

Judged = Mapping[str, float]
Ask = Callable[[View, Judged], float | None]
"""None: the scene does not ask, or there is nothing to judge."""


def steady_background(view: View, judged: Judged) -> float | None:
    """The share of frames in which the background is that of most frames."""
    _, counts = np.unique(view.sight.backdrop.votes, return_counts=True)
    return float(counts.max() / counts.sum())


def well_formed(view: View, judged: Judged) -> float | None:
    """The share of sightings of things that have one of the world's shapes, whichever: in Toyland beauty is form."""
    if view.scene.change or view.scene.style:
        return None
    misfits = [track.looks.misfit[track.clear].min(1) for track in view.lasting]
    return share(np.concatenate(misfits) < NOT_A_SHAPE) if misfits else 0.0


def clean(view: View, judged: Judged) -> float | None:
    """The share of pixels in colours of the world: noise and blur have others."""
    if view.scene.style or view.scene.change:
        return None
    palette = np.concatenate([*lines(view.sight.backdrop.name, False), np.repeat(TINTS[:, None], 2, 1)])
    near = squared_distances(view.video, palette).min(-1) < OFF_PALETTE**2
    return float(near.mean())


def asks(name: str, *kinds: Kind) -> Ask:
    """A dimension of the oracle, in scenes of these kinds."""

    def ask(view: View, judged: Judged) -> float | None:
        return judged.get(name) if not kinds or view.scene.kind in kinds else None

    return ask


def all_of(*parts: Ask) -> Ask:
    """The worst of several, where all of them apply."""

    def ask(view: View, judged: Judged) -> float | None:
        scores = [part(view, judged) for part in parts]
        known = [score for score in scores if score is not None]
        return min(known) if len(known) == len(scores) else None

    return ask


def in_a_scene(view: View, judged: Judged) -> float | None:
    return judged.get("background") if view.scene.background in SCENERY else None


def through_time(view: View, judged: Judged) -> float | None:
    """Camera moves and speeds, as VBench's temporal styles are."""
    if view.scene.camera:
        return judged.get("camera")
    return judged.get("speed") if any(thing.speed for thing in view.scene.things) else None


def to_a_side(view: View, judged: Judged) -> float | None:
    moving = all(thing.motion.startswith("moves ") for thing in view.scene.things)
    return judged.get("motion") if moving and view.scene.kind in ("one", "two", "count") else None


DIMENSIONS: dict[str, Ask] = {
    "subject_consistency": asks("permanence"),
    "background_consistency": steady_background,
    "temporal_flickering": asks("flicker"),
    "motion_smoothness": asks("smoothness"),
    "dynamic_degree": asks("dynamic degree"),
    "aesthetic_quality": well_formed,
    "imaging_quality": clean,
    "object_class": asks("shape", "one"),
    "multiple_objects": asks("multiple objects", "two"),
    "human_action": asks("motion", "one", "two", "count"),
    "color": asks("colour", "one"),
    "spatial_relationship": asks("spatial relation"),
    "scene": in_a_scene,
    "appearance_style": asks("style"),
    "temporal_style": through_time,
    "overall_consistency": asks("all"),
}
CATEGORIES: dict[str, Ask] = {
    "consistent_attribute_binding": all_of(asks("multiple objects", "two"), asks("permanence")),
    "dynamic_attribute_binding": asks("change"),
    "spatial_relationships": asks("spatial relation", "relation"),
    "motion_binding": to_a_side,
    "action_binding": all_of(asks("multiple objects", "two"), asks("motion", "two")),
    "object_interactions": asks("interaction"),
    "generative_numeracy": asks("count", "count"),
}
