"""The dimensions that are measured here: what each reads of a video, by what network, and what is not as officially."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from vitascope import media
from vitascope.config import Config
from vitascope.errors import UserError
from vitascope.evaluate.vbench import camera, dimensions
from vitascope.evaluate.vbench.aggregate import VBENCH, VBENCH_2, VBENCH_I2V, VBENCH_LONG, Suite
from vitascope.evaluate.vbench.dimensions import FLOW, INTERPOLATION, Sum, dis_flow, halfway
from vitascope.evaluate.vbench.files import Prompt
from vitascope.evaluate.vbench.long import NOT_REENCODED, Slow
from vitascope.evaluate.vbench.networks import Networks
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


def missing_networks(name: str, dimension: Dimension, given: Given) -> list[str]:
    needs = [*dimension.needs, *([dimension.slow] if name in given.slow else [])]
    return [need for need in needs if getattr(given.networks, need) is None]


def counts_frames(name: str, suite: Suite, quirks: Quirks) -> bool:
    over_subjects = name == "subject_consistency" and quirks.several_processes
    return DIMENSIONS[suite.name][name].by_frames and not over_subjects and suite is not VBENCH_LONG


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
