"""The dimensions of VBench, VBench-I2V and VBench-Long that are measured here, over a folder of videos."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from vitascope import media
from vitascope.config import Config, nearest
from vitascope.endpoint import Kept
from vitascope.errors import UserError, first_line, is_out_of_memory
from vitascope.evaluate.vbench import camera, dimensions
from vitascope.evaluate.vbench.aggregate import VBENCH, VBENCH_2, VBENCH_I2V, VBENCH_LONG, Suite
from vitascope.evaluate.vbench.dimensions import FLOW, INTERPOLATION, Sum, dis_flow, halfway
from vitascope.evaluate.vbench.files import SAMPLES, Prompt, find_videos, incomplete, stamp_of
from vitascope.evaluate.vbench.long import NOT_REENCODED, Slow, fused, over_clips, split
from vitascope.evaluate.vbench.networks import Networks
from vitascope.evaluate.vbench.report import SuiteReport, over_videos
from vitascope.types import Clip


class Quirks(Config):
    """What the official code does that one would not expect; the defaults are what a single official process does."""

    several_processes: bool = False  # subject consistency over videos instead of frames; style of last frames alone
    few_frames_are_dynamic: bool = True  # of two sampled frames none has to move
    missing_as_zero: bool = False  # in groups and total, a dimension that was not measured is a raw 0

    def of_dimensions(self) -> dict[str, bool]:
        """Those that change the value of a dimension."""
        return self.model_dump(exclude={"missing_as_zero"})


ALWAYS_FAST = "a video of few frames is dynamic only if something moves; officially always"


@dataclass(frozen=True)
class Given:
    """What a measurement needs beside the videos: networks, pictures of VBench-I2V, tables of VBench-Long, switches."""

    networks: Networks = field(default_factory=Networks)
    images: Path | None = None
    slow: Mapping[str, Slow] = field(default_factory=dict)  # by dimension; none: within clips alone
    quirks: Quirks = field(default_factory=Quirks)


@dataclass(frozen=True)
class Case:
    """One video, and all that its judges may look at."""

    clip: Clip
    prompt: Prompt
    given: Given

    def picture(self) -> Float[Tensor, "1 3 h w"]:
        if self.given.images is None:
            raise UserError("likeness to a picture needs the folder of the pictures; give it with --images")
        return media.read_image(self.given.images / self.prompt.image)[None]


@dataclass(frozen=True)
class Dimension:
    score: Callable[[Case], Sum | None]  # None: the video does not count
    needs: tuple[str, ...] = ()
    by_frames: bool = False  # all frames count alike, so that long videos weigh more; else all videos
    departures: tuple[str, ...] = ()
    slow: str = ""  # of VBench-Long: the network that compares clips
    only: str = ""  # of videos that are not so, `score` is None

    def departs(self, name: str, suite: Suite, quirks: Quirks) -> tuple[str, ...]:
        more = (NOT_REENCODED,) if suite is VBENCH_LONG else ()
        fast = (ALWAYS_FAST,) if name == "dynamic_degree" and not quirks.few_frames_are_dynamic else ()
        return (*self.departures, *more, *fast)


def measure(
    folder: Path,
    prompts: Sequence[Prompt],
    given: Given,
    *,
    model: str,
    suite: Suite = VBENCH,
    wanted: Sequence[str] = (),
    kept: Path | None = None,
    progress: Callable[[int, int], None],
) -> SuiteReport:
    """Every dimension for which there are videos and a network; one decoding serves all. Without `wanted`, all.

    Scores of single videos are written to `kept` as they come, and one that is there already is not measured again.
    """
    table = DIMENSIONS[suite.name]
    if not table:
        raise UserError(f"nothing of {suite.name} is measured here; use --official, which runs its package")
    for name in wanted:
        if name not in table:
            raise UserError(f"'{name}' is not measured here; {nearest(name, list(table))}; else use --official")
    chosen = {name: one for name, one in table.items() if not wanted or name in wanted}
    left_out = {name: lacking for name, one in chosen.items() if (lacking := missing_networks(name, one, given))}
    found, missing = find_videos(folder, prompts)
    scores, skipped = Scores(suite, given, Kept(kept)), list[str]()
    sums: dict[str, dict[Path, Sum]] = {name: {} for name in chosen if name not in left_out}
    enough: dict[tuple[str, str], int] = {}
    lost, looked_at, passed_over = Counter[str](), Counter[str](), Counter[str]()
    for number, (path, prompt) in enumerate(found.items(), 1):
        asked = [name for name in sums if name in prompt.dimensions]
        asked = [name for name in asked if enough.get((name, prompt.text), 0) < SAMPLES]  # the first five static ones
        told, failed = scores.of(path, prompt, asked)
        skipped += failed
        lost.update(set(asked) - set(told))
        looked_at.update([*told])
        passed_over.update(name for name, score in told.items() if score is None)
        for name, score in told.items():
            if score is not None:
                sums[name][path] = score
                enough[name, prompt.text] = enough.get((name, prompt.text), 0) + 1
        progress(number, len(found))
    measured = {}
    for name, values in sums.items():
        by_frames = counts_frames(name, suite, given.quirks)
        units = [one if by_frames else Sum(one.value, 1) for one in values.values()]
        if units:
            departures = (
                *table[name].departs(name, suite, given.quirks), *incomplete(name, suite, prompts, found),
                *((f"{lost[name]} videos that could not be measured",) if lost[name] else ()),
            )  # fmt: skip
            totals, counts = [one.total for one in units], [one.count for one in units]
            measured[name] = over_videos(totals, counts, departures, [str(path) for path in values])
    not_counted = {
        name: f"{num} of {looked_at[name]} videos are not {table[name].only}"
        + ("" if name in measured else ", so that it has no value")
        for name, num in passed_over.items()
    }
    if not measured:
        why = [
            *skipped, *(f"{name}: {told}" for name, told in not_counted.items()),
            *(f"{name} needs {', '.join(lacking)}" for name, lacking in left_out.items()),
        ]  # fmt: skip
        raise UserError(f"nothing in '{folder}' could be measured: {'; '.join(why) or 'no video of these dimensions'}")
    protocol = {
        "version": version("vitascope"), "networks": dict(given.networks.names), "quirks": given.quirks.of_dimensions(),
        "missing_as_zero": given.quirks.missing_as_zero,
        "slow_fast": bool(given.slow), "missing_videos": len(missing), "skipped": skipped, "left_out": left_out,
        "not_counted": not_counted,
    }  # fmt: skip
    return SuiteReport(suite=suite.name, model=model, dimensions=measured, protocol=protocol)


def missing_networks(name: str, dimension: Dimension, given: Given) -> list[str]:
    needs = [*dimension.needs, *([dimension.slow] if name in given.slow else [])]
    return [need for need in needs if getattr(given.networks, need) is None]


def counts_frames(name: str, suite: Suite, quirks: Quirks) -> bool:
    over_subjects = name == "subject_consistency" and quirks.several_processes
    return DIMENSIONS[suite.name][name].by_frames and not over_subjects and suite is not VBENCH_LONG


@dataclass(frozen=True)
class Scores:
    """The scores of single videos, from what was kept where that is possible."""

    suite: Suite
    given: Given
    kept: Kept

    def of(self, path: Path, prompt: Prompt, names: Sequence[str]) -> tuple[dict[str, Sum | None], list[str]]:
        """By dimension, and what of the video could not be measured, with the reason."""
        failed = []
        try:
            keys = {name: self.key(path, prompt, name) for name in names}
        except UserError as error:
            return {}, [f"{path.name}: {error}"]
        if any(key not in self.kept.known for key in keys.values()):
            try:
                case = Case(media.read_video(path), prompt, self.given)
            except UserError as error:
                return {}, [f"{path.name}: {error}"]
            for name, key in keys.items():
                if key not in self.kept.known:
                    try:
                        score = self.measured(name, case)
                        refuse_no_number(score)
                    except UserError as error:
                        failed.append(f"{path.name}, {name}: {error}")
                        continue
                    except RuntimeError as error:  # torch's, of a network that cannot take such a video
                        if is_out_of_memory(error):
                            raise
                        failed.append(f"{path.name}, {name}: the network cannot read it ({first_line(error)})")
                        continue
                    told = None if score is None else [score.total, score.count]
                    self.kept.add(key, json.dumps(told), video=path.name, dimension=name)
        known = {name: json.loads(self.kept.known[key]) for name, key in keys.items() if key in self.kept.known}
        return {name: None if one is None else Sum(*one) for name, one in known.items()}, failed

    def measured(self, name: str, case: Case) -> Sum | None:
        dimension = DIMENSIONS[self.suite.name][name]
        if self.suite is not VBENCH_LONG:
            return dimension.score(case)
        parts = split(case.clip)
        within = over_clips(parts, lambda part: dimension.score(replace(case, clip=part)))
        slow = self.given.slow.get(name)
        embed = getattr(self.given.networks, dimension.slow) if slow is not None else None
        return within if slow is None or embed is None else fused(within, parts, slow, embed)

    def key(self, path: Path, prompt: Prompt, name: str) -> str:
        """All that the score follows from."""
        dimension, networks = DIMENSIONS[self.suite.name][name], self.given.networks
        slow = self.given.slow.get(name)
        about = [
            version("vitascope"), self.suite.name, name, str(path.resolve()), *stamp_of(path),
            prompt.text, prompt.image, str(self.given.images), prompt.about, self.given.quirks.of_dimensions(),
            [networks.names.get(need) for need in dimension.needs],
            None if slow is None else [sorted(slow.knots.items()), slow.weights, networks.names.get(dimension.slow)],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def refuse_no_number(score: Sum | None) -> None:
    if score is not None and not math.isfinite(score.value):
        raise UserError("its score is no finite number; check the network, or leave the video out")


# One line each: what is read, by what network. Those of networks that are missing are never called.


def subject(case: Case) -> Sum | None:
    dino = case.given.networks.dino
    return dimensions.consistency(dino(case.clip.pixels)) if dino else None


def background(case: Case) -> Sum | None:
    clip = case.given.networks.clip
    return dimensions.consistency(clip(case.clip.pixels)) if clip else None


def flickering(case: Case) -> Sum | None:
    return dimensions.temporal_flickering(case.clip.pixels) if dimensions.is_static(case.clip, dis_flow) else None


def smoothness(case: Case) -> Sum | None:
    return dimensions.motion_smoothness(case.clip.pixels, halfway(dis_flow))


def dynamics(case: Case) -> Sum | None:
    few = case.given.quirks.few_frames_are_dynamic
    return dimensions.dynamic_degree(case.clip, dis_flow, few_frames_are_dynamic=few)


def aesthetics(case: Case) -> Sum | None:
    networks = case.given.networks
    if networks.large_clip is None or networks.aesthetic_head is None:
        return None
    return dimensions.aesthetic_quality(networks.large_clip(case.clip.pixels), *networks.aesthetic_head)


def style(case: Case) -> Sum | None:
    networks = case.given.networks
    if networks.clip is None or networks.words is None:
        return None
    try:
        about = case.prompt.about["appearance_style"]["appearance_style"]
    except (LookupError, TypeError):
        raise UserError(
            f"'{case.prompt.text}' has no auxiliary_info for appearance_style; give the official file of prompts"
        ) from None
    last_only = case.given.quirks.several_processes
    return dimensions.appearance_style(
        networks.clip(case.clip.pixels), networks.words(about), last_frame_only=last_only
    )


def like_subject(case: Case) -> Sum | None:
    networks = case.given.networks
    if networks.dino_cut is None or networks.dino_picture is None:
        return None
    return dimensions.image_consistency(networks.dino_picture(case.picture())[0], networks.dino_cut(case.clip.pixels))


def like_background(case: Case) -> Sum | None:
    networks = case.given.networks
    if networks.dreamsim is None or networks.dreamsim_picture is None:
        return None
    picture = networks.dreamsim_picture(case.picture())[0]
    return dimensions.image_consistency(picture, networks.dreamsim(case.clip.pixels))


def camera_motion(case: Case) -> Sum | None:
    asked = camera.asked_for(case.prompt.text)
    return Sum(float(asked in camera.moves_of(case.clip, camera.follow)), 1)


OF_TEXT: dict[str, Dimension] = {
    "subject_consistency": Dimension(subject, ("dino",), by_frames=True, slow="dino2"),
    "background_consistency": Dimension(background, ("clip",), by_frames=True, slow="dreamsim"),
    "temporal_flickering": Dimension(flickering, departures=(f"static videos chosen with {FLOW}",), only="static"),
    "motion_smoothness": Dimension(smoothness, departures=(INTERPOLATION,)),
    "dynamic_degree": Dimension(dynamics, departures=(FLOW,)),
    "aesthetic_quality": Dimension(aesthetics, ("large_clip", "aesthetic_head")),
    "appearance_style": Dimension(style, ("clip",), by_frames=True),
}
OF_IMAGE: dict[str, Dimension] = {
    "i2v_subject": Dimension(like_subject, ("dino",)),
    "i2v_background": Dimension(like_background, ("dreamsim",)),
    "camera_motion": Dimension(camera_motion, departures=(camera.TRACKING,)),
    **{name: one for name, one in OF_TEXT.items() if name in VBENCH_I2V.dimensions},
}
DIMENSIONS: dict[str, dict[str, Dimension]] = {
    VBENCH.name: OF_TEXT,
    VBENCH_I2V.name: OF_IMAGE,
    VBENCH_LONG.name: OF_TEXT,
    VBENCH_2.name: {},
}
"""By suite, what is measured here. All else is for the official packages."""
