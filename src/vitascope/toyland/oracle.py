"""The judge of toyland: whether a clip shows what its sentence asks for, decided from the pixels alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray

from vitascope.toyland import segment
from vitascope.toyland.meeting import EARLY_SECONDS, INTERACTIONS, STILL, meet
from vitascope.toyland.registration import find_camera
from vitascope.toyland.scene import RELATIONS, SIZES, SPAN_SECONDS, Scene, Thing
from vitascope.toyland.segment import NAMES, Sight, Video
from vitascope.toyland.track import SHAPE_NAMES, Fit, Looks, Track, fits, recognise, recognise_blocks, tracks
from vitascope.types import Clip

PASS = 0.8
MIDDLE = math.sqrt(SIZES["small"][1] * SIZES["large"][0])
LIMITS = {"small": (0.4 * SIZES["small"][0], MIDDLE), "large": (MIDDLE, 1.6 * SIZES["large"][1])}
MIN_SHARE = 0.3  # of frames in which a thing has to be seen; one that blinks is off a third of the time
MAX_COST = 20.0  # of a trajectory, a frame: one that fits worse is none
JERK = 0.08  # in units: a longer second or third difference of a thing's places
GRAY_CHROMA = 0.1
BLOCKY = 0.5
LATE_SECONDS = 1.45  # after every change


def passed(score: float) -> bool:
    """Right in at least 80 % of the frames."""
    return score >= PASS


def judge(clip: Clip, scene: Scene) -> Mapping[str, float]:
    """Scores in [0, 1] of every dimension that applies to what was asked: shares of frames, or 0 and 1.

    Only the words of `scene` count, not its numbers: where things are is left to the clip. An empty size or background
    was not said. The words of the world speak of two seconds, so the rest of a longer clip is not judged.
    """
    return verdict(watch(clip, scene))


def verdict(view: View) -> Mapping[str, float]:
    scores = {name: ask(view) for name, ask in {**ASKED, **QUALITY}.items()}
    result = {name: float(score) for name, score in scores.items() if score is not None}
    return {**result, "all": float(all(passed(score) for name, score in result.items() if name in ASKED))}


@dataclass(frozen=True, eq=False)
class View:
    """What is seen in a clip beside what was asked for. `cast` says which track is which thing, if any."""

    scene: Scene
    video: Video
    seconds: Float[ndarray, "t"]
    sight: Sight
    tracks: list[Track]  # everything that was ever seen
    cast: list[Track | None]
    styled: bool
    camera: str

    @property
    def lasting(self) -> list[Track]:
        return lasting(self.tracks)

    @property
    def pairs(self) -> list[tuple[Thing, Track | None]]:
        return list(zip(self.scene.things, self.cast, strict=True))

    @cached_property
    def motions(self) -> list[Fit | None]:
        """The motion that explains each of the cast best, if one does."""
        tolerance = 2.0 if self.styled and self.scene.style == "as pixel art" else 1.0
        best = [fits(track, track.shape, tolerance)[0] if track else None for track in self.cast]
        return [fit if fit and fit.cost < MAX_COST else None for fit in best]


def watch(clip: Clip, scene: Scene) -> View:
    video = segment.small(np.ascontiguousarray(clip.pixels.numpy().transpose(0, 2, 3, 1), np.float32))
    video = video[: max(1, round(SPAN_SECONDS * clip.fps))]
    seconds = np.arange(len(video)) / clip.fps
    seen = STYLED[scene.style](video, {"moving_camera": bool(scene.camera), "blended": scene.change is not None})
    found = tracks(seen.sight, seconds, seen.looks)
    camera = ""
    if scene.camera and len(seconds) > 1:
        camera, path = find_camera(seen.video, seen.sight, seconds)
        found = [track.seen_by(*path) for track in found]
    if scene.interaction == "passes behind":
        found = [replace(track, whole=track.whole & ~track.touches) for track in found]
    return View(scene, seen.video, seconds, seen.sight, found, assign(lasting(found), scene), seen.styled, camera)


# How clips of each style are seen.


class Seen(NamedTuple):
    """A clip, what is in it and what that looks like, and whether it has the style."""

    video: Video
    sight: Sight
    looks: Looks
    styled: bool


def plain(video: Video, how: Mapping[str, bool]) -> Seen:
    sight = segment.look(video, **how)
    return Seen(video, sight, recognise(sight), True)


def drawn(video: Video, how: Mapping[str, bool]) -> Seen:
    solid, sight = plain(video, how), segment.look(video, **how, outlined=True)
    looks = recognise(sight, outlined=True)
    filled = unlikeness(solid.looks) if len(solid.looks.misfit) else 0.0
    if filled > 0.1 and unlikeness(looks) < min(0.3, 0.6 * filled):
        return Seen(video, sight, looks, True)
    return solid._replace(styled=False)


def colourless(video: Video, how: Mapping[str, bool]) -> Seen:
    if segment.chroma(video) > GRAY_CHROMA:
        return plain(video, how)._replace(styled=False)
    sight = segment.look(video, **how, gray=True)
    return Seen(video, sight, recognise(sight), True)


def blocky(video: Video, how: Mapping[str, bool]) -> Seen:
    if segment.blockiness(video) < BLOCKY:
        return plain(video, how)._replace(styled=False)
    video = segment.mosaic(video)
    sight = segment.look(video, **how, coarse=True)
    return Seen(video, sight, recognise_blocks(sight), True)


def unlikeness(looks: Looks) -> float:
    """How little things look like any shape."""
    return float(np.minimum(looks.misfit.min(1), 0.5).mean()) if len(looks.misfit) else 1.0


STYLED = {"": plain, "as a line drawing": drawn, "in black and white": colourless, "as pixel art": blocky}


# Who is who.


def lasting(found: list[Track]) -> list[Track]:
    """The tracks that are things, not specks."""
    return [track for track in found if track.present.sum() >= MIN_SHARE * len(track.present)]


def assign(found: list[Track], scene: Scene) -> list[Track | None]:
    """For each thing the track that looks most like it."""
    strongest = sorted(found, key=lambda track: -np.nansum(track.spread))[: len(scene.things) + 2]
    table = [[likeness(track, thing) for track in strongest] + [0.0] * len(scene.things) for thing in scene.things]
    best = max(
        permutations(range(len(table[0])), len(table)),
        key=lambda order: sum(row[index] for row, index in zip(table, order, strict=True)),
    )
    return [strongest[index] if index < len(strongest) else None for index in best]


def likeness(track: Track, thing: Thing) -> float:
    same_colour = share(track.colour[track.present] == NAMES.index(thing.colour))
    same_shape = share(track.may_be(SHAPE_NAMES.index(thing.shape))[track.clear])
    return 1 + 2 * same_colour + 2 * same_shape + (sized(track, thing) if thing.size else 0)


# What is asked for. Each function gives a score, or None if its dimension does not apply.


def worst(scores: list[float]) -> float | None:
    return min(scores) if scores else None


def share(right: Bool[ndarray, "n"]) -> float:
    return float(np.mean(right)) if right.size else 0.0


def background(view: View) -> float | None:
    if not view.scene.background:
        return None
    return share(np.array(view.sight.backdrop.votes) == view.scene.background)


def count(view: View) -> float:
    """As many things as asked for, in each frame; those that blink or pass behind others may be away at times."""
    wanted = len(view.scene.things)
    away = sum(thing.motion == "blinks" for thing in view.scene.things) + (view.scene.interaction == "passes behind")
    number = np.zeros(len(view.seconds), int)
    for track in view.lasting:
        number += track.present | ~track.expected
    right = number == wanted
    if right.mean() >= MIN_SHARE:
        right |= (number < wanted) & (number >= wanted - away)
    return share(right)


def looks_like(track: Track | None, thing: Thing) -> tuple[float, float]:
    """The shares of frames in which it has the right colour and the right shape."""
    if track is None:
        return 0.0, 0.0
    colour, shape = NAMES.index(thing.colour), SHAPE_NAMES.index(thing.shape)
    return share(track.colour[track.use] == colour), share(track.may_be(shape)[track.clear])


def colour(view: View) -> float | None:
    changing = view.scene.change and view.scene.change.colour != view.scene.things[0].colour
    if changing or (view.scene.style == "in black and white" and view.styled):
        return None
    return worst([looks_like(track, thing)[0] for thing, track in view.pairs])


def shape(view: View) -> float | None:
    if view.scene.change and view.scene.change.shape != view.scene.things[0].shape:
        return None
    return worst([looks_like(track, thing)[1] for thing, track in view.pairs])


def size(view: View) -> float | None:
    return worst([sized(track, thing) for thing, track in view.pairs if thing.size])


def sized(track: Track | None, thing: Thing) -> float:
    """A thing that grows or shrinks is as large as is said in the beginning."""
    if track is None:
        return 0.0
    wanted = SHAPE_NAMES.index(thing.shape)
    shapes = np.where(track.may_be(wanted), wanted, track.shapes)
    radius = np.log(track.looks.radius[np.arange(len(track.seconds)), shapes][track.use])
    if thing.motion in ("grows", "shrinks") and len(radius) > 2:
        radius = np.array(
            [np.median(radius - np.polyfit(track.seconds[track.use], radius, 1)[0] * track.seconds[track.use])]
        )
    low, high = LIMITS[thing.size]
    return share((np.exp(radius) > low) & (np.exp(radius) < high))


def multiple_objects(view: View) -> float | None:
    """Each of two things is there, with its own colour and shape."""
    if view.scene.core in ("one", "change", "count"):
        return None
    if view.scene.style == "in black and white" and view.styled:
        return worst([looks_like(track, thing)[1] for thing, track in view.pairs])
    return worst([min(looks_like(track, thing)) for thing, track in view.pairs])


def spatial_relation(view: View) -> float | None:
    if not view.scene.relation:
        return None
    one, other = view.cast
    if one is None or other is None:
        return 0.0
    right, down = RELATIONS[view.scene.relation]
    both = one.present & other.present
    x, y = (one.x - other.x)[both], (one.y - other.y)[both]
    along, aside = right * x + down * y, abs(down * x) + abs(right * y)
    return share((along > 0.1) & (along > aside))


def has_motion(scene: Scene) -> bool:
    """Whether the sentence says how its things move."""
    return scene.core in ("one", "two", "count")


def motion(view: View) -> float | None:
    if not has_motion(view.scene) or len(view.seconds) < 3:
        return None
    return worst([float(alike(fit, thing)) for fit, thing in zip(view.motions, view.scene.things, strict=True)])


def alike(fit: Fit | None, thing: Thing) -> bool:
    unseen = thing.motion == "spins" and thing.shape in ("circle", "ring")
    return fit is not None and fit.motion == ("stays still" if unseen else thing.motion)


def speed(view: View) -> float | None:
    """The right motion at the right speed; no word means the ordinary one."""
    if not has_motion(view.scene) or len(view.seconds) < 3:
        return None
    untold = (
        ("stays still", "grows", "shrinks") if view.scene.style == "as pixel art" else ("stays still",)
    )  # in blocks
    pairs = [pair for pair in zip(view.motions, view.scene.things, strict=True) if pair[1].motion not in untold]
    return worst([float(alike(fit, thing) and fit is not None and fit.speed == thing.speed) for fit, thing in pairs])


def change(view: View) -> float | None:
    """The first state early, the second state late."""
    wanted, (thing,), (track,) = view.scene.change, view.scene.things[:1], view.cast[:1]
    if not wanted or view.seconds[-1] < LATE_SECONDS:
        return None
    if track is None:
        return 0.0
    early, late = (
        track.use & then if (track.use & then).any() else track.present & then
        for then in (view.seconds < EARLY_SECONDS, view.seconds > LATE_SECONDS)
    )
    if wanted.colour != thing.colour:
        before, after = (track.colour == NAMES.index(name) for name in (thing.colour, wanted.colour))
    else:
        before, after = (track.may_be(SHAPE_NAMES.index(name)) for name in (thing.shape, wanted.shape))
    return min(share(before[early]), share(after[late]))


def style(view: View) -> float | None:
    return float(view.styled) if view.scene.style else None


def camera(view: View) -> float | None:
    return float(view.camera == view.scene.camera) if view.scene.camera and len(view.seconds) > 1 else None


def interaction(view: View) -> float | None:
    """Contact or relation in the right order, for a first thing that comes from one side of the second."""
    if not view.scene.interaction or len(view.seconds) < 3:
        return None
    one, other = view.cast
    if one is None or other is None or (one.present & other.present).sum() < 2:
        return 0.0
    use = one.use & other.use
    if view.scene.interaction == "passes behind":  # even half hidden, a thing shows from which side it came and left
        use[np.flatnonzero(one.present & other.present)[[0, -1]]] = True
    return float(use.sum() > 1 and INTERACTIONS[view.scene.interaction](meet(one, other, use)))


# Qualities that no sentence asks for.


def permanence(view: View) -> float:
    """No thing appears, vanishes, splits or swaps its attributes unasked, for longer than two frames."""
    scene, odd = view.scene, np.zeros(len(view.seconds), bool)
    if not view.lasting:
        return 0.0
    for track in view.tracks:
        if not any(track is other for other in view.lasting):
            odd |= track.present & (scene.interaction != "passes behind")
            continue
        thing = next((thing for thing, other in view.pairs if other is track), None)
        if not ((thing and thing.motion == "blinks") or scene.interaction == "passes behind"):
            odd |= track.expected & ~track.present
        told = track.use
        if scene.style != "as pixel art":  # whose shapes are what the blocks make of them
            odd |= track.clear & ~track.may_be(track.shape)
        odd |= told & (track.colour != np.bincount(track.colour[told]).argmax())
    if scene.change:
        odd = np.zeros_like(odd)
    runs = np.diff(np.flatnonzero(np.diff(odd, prepend=False, append=False)))[::2]
    score = 1 - share(odd)
    return score if runs.max(initial=0) < 3 else min(score, 0.99 * PASS)


def flicker(view: View) -> float | None:
    """The share of the background whose brightness does not jump: second differences of the means of small blocks."""
    if len(view.seconds) < 3:
        return None
    side = max(1, round(view.sight.unit / 4))
    free, video = view.sight.free, view.video
    rows, columns = (range(0, length, side) for length in free.shape[1:])

    def pooled(values: Float32[ndarray, "t h w"]) -> Float32[ndarray, "t r c"]:
        return np.add.reduceat(np.add.reduceat(values, rows, axis=1), columns, axis=2)

    weight = pooled(free.astype(np.float32))
    mean = pooled(video.mean(-1) * free) / np.maximum(weight, 1)
    enough = weight > 0.5 * side**2
    jump = np.abs(mean[2:] - 2 * mean[1:-1] + mean[:-2])[enough[2:] & enough[1:-1] & enough[:-2]]
    return share(jump < 0.04) if jump.size else None


def smoothness(view: View) -> float | None:
    """The share of frames in which a thing does not jerk."""
    if len(view.seconds) < 4 or view.scene.style == "as pixel art":
        return None
    seen = [jerk[~np.isnan(jerk)] for jerk in jerks(view)]
    return worst([share(jerk < JERK) for jerk in seen if jerk.size])


def jerks(view: View) -> list[Float[ndarray, "d"]]:
    """Of each thing that is seen: second differences of what its motion does not explain, or third differences where
    there is no such motion; NaN where it is not seen. The nth reaches from frame n over as many as were lost."""
    found = []
    for index, track in enumerate(view.cast):
        if track is None:
            continue
        steady = (track.whole if view.scene.interaction else track.placed) & (
            (view.scene.change is None) | (abs(view.seconds - 1) > LATE_SECONDS - 1)
        )
        place = np.where(steady[:, None], np.stack([track.x, track.y], 1), np.nan)
        fit = view.motions[index] if has_motion(view.scene) else None
        jerk = np.diff(place - fit.path, 2, axis=0) if fit else np.diff(place, 3, axis=0)
        found.append(np.linalg.norm(jerk, axis=1))
    return found


def dynamic_degree(view: View) -> float | None:
    """Whether what is asked to move does."""
    moving = [thing.motion != "stays still" for thing in view.scene.things]
    if view.scene.interaction:
        moving = [True, False]
    if len(view.seconds) < 3 or not (any(moving) or view.scene.camera):
        return None
    seen = [float(moves(track)) for track, wanted in zip(view.cast, moving, strict=True) if wanted]
    return worst(seen + ([float(view.camera != "")] if view.scene.camera else []))


def moves(track: Track | None) -> bool:
    if track is None:
        return False
    use = track.placed
    still = max(np.ptp(track.x[use]), np.ptp(track.y[use])) < STILL and np.ptp(np.log(track.radius[use])) < 0.2
    turns = np.abs(np.angle(np.exp(1j * np.diff(track.looks.angle[use, track.shape])))).max(initial=0) > 0.1
    return bool(not still or turns or not track.present.all())


ASKED: dict[str, Callable[[View], float | None]] = {
    "shape": shape,
    "colour": colour,
    "size": size,
    "count": count,
    "background": background,
    "multiple objects": multiple_objects,
    "spatial relation": spatial_relation,
    "motion": motion,
    "speed": speed,
    "change": change,
    "interaction": interaction,
    "camera": camera,
    "style": style,
}
QUALITY: dict[str, Callable[[View], float | None]] = {
    "permanence": permanence,
    "flicker": flicker,
    "smoothness": smoothness,
    "dynamic degree": dynamic_degree,
}
DIMENSIONS = (*ASKED, *QUALITY, "all")
