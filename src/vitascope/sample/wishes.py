"""What is wished of videos, said or read out of a file made before, and the requests and files that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitascope import media
from vitascope.sample.files import (
    Say,
    Wanted,
    check_destinations,
    differences,
    from_lines,
    known_frames,
    make_all,
    numbered,
)
from vitascope.sample.legal import request_of
from vitascope.sample.model import Model
from vitascope.types import Request, UserError

MOST_VIDEOS = 100_000
SAID = "prompt", "negative", "num_frames", "seconds", "fps", "size", "seed", "steps", "guidance", "solver"
"""Fields of a request that a wish may name as they are."""


@dataclass(frozen=True, eq=False)
class Wishes:
    """Videos as somebody asks for them. None: not said, so that the file `like` or else the model decides."""

    prompt: str | None = None
    negative: str | None = None
    num_frames: int | None = None
    seconds: float | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None  # width, height
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    image: Path | None = None  # the first frame
    video: Path | None = None  # to go on from or, if the model does that, to work over
    frames: int | None = None  # so many of the last of `video`
    last: Path | None = None  # the last frame
    like: Path | None = None  # a file whose settings hold where nothing is said
    prompts: Path | None = None  # a file with a prompt on each line
    num: int = 1  # videos of each prompt, with seeds counted up
    out: Path | None = None  # a file; of `prompts` a folder


@dataclass(frozen=True, eq=False)
class Plan:
    """Requests and the files they go to; what the pictures given show is read when the model is known."""

    wishes: Wishes
    request: Request  # of which the wanted ones differ in prompt and seed
    wanted: Wanted
    settings: Mapping[str, Any]  # of the file begun from; empty without one


def planned(wishes: Wishes, *, force: bool = False, preview: bool = False) -> Plan:
    """The plan for some wishes; UserError if two of them contradict each other, or if a file cannot be written."""
    _refuse_contradictions(wishes)
    settings = {} if wishes.like is None else media.read_settings(wishes.like)
    request = _request_for(wishes, settings)
    if wishes.prompts is None:
        wanted = numbered(request, wishes.out or Path("out.mp4"), wishes.num)
    else:
        folder = media.folder_for_many(wishes.out or Path("out"), "a file of prompts")
        wanted = from_lines(request, wishes.prompts, folder, wishes.num)
    paths = [path for _, path in wanted]
    if wishes.prompts is None or paths[0].parent.exists():  # else it is made once all else is known to be right
        check_destinations(paths, force=force, preview=preview)
    return Plan(wishes, request, wanted, settings)


def make_planned(model: Model, plan: Plan, *, say: Say, force: bool = False, preview: bool = False) -> None:
    """Make the files of a plan; `say` is told where the file begun from would come out otherwise."""
    wishes, request = plan.wishes, plan.request
    if wishes.like is not None:
        of_file = {name: rule for name, rule in request.rules.items() if name not in wishes.rules}
        for difference in differences(model, plan.settings, replace(request, rules=of_file), wishes.like):
            say(f"note: {difference}")
    known = known_frames(model, request, wishes.image, wishes.video, wishes.frames, wishes.last, say)
    begun = [(replace(one, frames={**one.frames, **known}), path) for one, path in plan.wanted]
    make_all(model, begun, say=say, force=force, preview=preview)


def _refuse_contradictions(wishes: Wishes) -> None:
    for one, other, what in (
        (wishes.seconds, wishes.num_frames, "--seconds and --num-frames both say how long"),
        (wishes.image, wishes.video, "--image and --video both say how the video begins"),
        (wishes.prompt, wishes.prompts, "a prompt and --prompts both say what to show"),
    ):
        if one is not None and other is not None:
            raise UserError(f"{what}; give one of them")
    if wishes.frames is not None and wishes.video is None:
        raise UserError("--frames says how much of a video to go on from; give a video (--video), or leave it out")
    if not 1 <= wishes.num <= MOST_VIDEOS:
        raise UserError(f"--num must be from 1 to {MOST_VIDEOS}, got {wishes.num}")


def _request_for(wishes: Wishes, settings: Mapping[str, Any]) -> Request:
    """What is said wins over what the file says, and a length in seconds over its number of frames."""
    request = Request("") if wishes.like is None else request_of(settings, with_video=wishes.video is not None)
    if wishes.seconds is not None:
        request = replace(request, num_frames=None)
    said = {name: value for name in SAID if (value := getattr(wishes, name)) is not None}
    return replace(request, **said, rules={**request.rules, **wishes.rules})
