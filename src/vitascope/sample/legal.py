"""What a request becomes: every choice made, every size legal, and the settings that make the same video again."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from vitascope import media
from vitascope.config import Config, nearest
from vitascope.samplers.solvers import SOLVERS
from vitascope.system import Defaults, Rules, VideoModel
from vitascope.text.length import too_long
from vitascope.types import Request, UserError

LARGEST_SIZE, MOST_STEPS, MOST_FRAMES = 8192, 10_000, 100_000


@dataclass(frozen=True, eq=False)
class Legal:
    """A request as the model can fulfil it, all choices made, and what was changed to get there."""

    request: Request
    size: tuple[int, int]
    num_frames: int
    fps: float
    steps: int
    guidance: float
    solver: str
    rules: Rules
    known: dict[int, Float[Tensor, "3 h w"]]  # by frame number from zero, at `size`, in 8-bit steps
    changes: tuple[str, ...]
    window: int = 0  # of a rollout
    candidate: int = 0  # of those of which one is kept
    is_first_frame: bool = False  # of a window: a picture that is told so
    made: Mapping[int, Float[Tensor, "c lh lw"]] = field(default_factory=dict)  # frames known as latents: made before


def legalise(model: VideoModel, request: Request) -> Legal:
    """Check a request and make its open choices. Sizes and lengths are snapped to legal ones; the rest is refused."""
    defaults: Defaults = model.config.defaults
    changes: list[str] = []
    request = of_plain_types(request)
    if request.negative:
        raise UserError(
            "a model of vitascope takes no words for what not to show; leave --negative (in Python negative) out"
        )
    count = model.text.count(request.prompt)
    reads_as_empty = not request.prompt.strip() or count == model.text.count("")  # a full stop alone, for one
    if reads_as_empty and not request.frames:
        raise UserError("the prompt is empty to the model: say what the video should show, or give an image")
    if count > model.text.max_tokens:
        raise too_long(request.prompt, count, model.text.max_tokens)
    steps = legal_steps(request.steps, defaults.steps)
    solver = request.solver or defaults.solver
    if solver not in SOLVERS:
        raise UserError(f"there is no solver '{solver}'; {nearest(solver, list(SOLVERS))}")
    rules = _legal_rules(defaults, request)
    fps = legal_fps(request.fps, defaults.fps)
    size = legal_size(request.size or defaults.size, grain_of(model), changes)
    num_frames = _legal_length(model, request, fps, changes)
    own = rules.picture_guidance if num_frames == 1 else None
    scale = legal_guidance(request.guidance, defaults.guidance if own is None else own)
    if rules.keyframe_stride and not 2 <= rules.keyframe_stride < defaults.num_frames:
        raise UserError(
            f"keyframe_stride must leave frames to fill and fit a window of {defaults.num_frames} frames: from 2 to "
            f"{defaults.num_frames - 1}, or 0 for no keyframes; got {rules.keyframe_stride}"
        )
    known = known_pictures(pictures_of(request), num_frames, size)
    if len(known) == num_frames:
        raise UserError(f"all {num_frames} frames were given: nothing is left to make; ask for more frames")
    return Legal(request, size, num_frames, fps, steps, scale, solver, rules, known, tuple(changes))


def of_plain_types(request: Request) -> Request:
    """The request with Python's own numbers: seeds of NumPy would draw other noise. What is none is refused by name."""
    plain: dict[str, Any] = {name: _text(name, getattr(request, name)) for name in ("prompt", "negative")}
    if request.solver is not None:
        plain["solver"] = _text("solver", request.solver)
    plain["seed"] = _number(_whole, "seed", request.seed)
    for kind, names in ((_whole, ("num_frames", "steps")), (float, ("seconds", "fps", "guidance"))):
        given = {name: getattr(request, name) for name in names}
        plain |= {name: _number(kind, name, value) for name, value in given.items() if value is not None}
    if request.size is not None:
        try:
            width, height = request.size
        except (TypeError, ValueError):
            raise UserError(f"size must be a width and a height, such as (64, 64), got {request.size!r}") from None
        plain["size"] = _number(_whole, "size", width), _number(_whole, "size", height)
    for name, such_as in (("frames", "{0: picture}"), ("rules", '{"level_shift": 3.0}')):
        if not isinstance(given := getattr(request, name), Mapping):
            raise UserError(f"{name} must be a mapping, such as {such_as}, got a {type(given).__name__}")
    numbers = [_number(_whole, "the number of a frame", number) for number in request.frames]
    plain["frames"] = dict(zip(numbers, request.frames.values(), strict=True))
    return replace(request, **plain)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UserError(f"{name} must be a text, got {value!r}")
    return value


def _whole(value: Any) -> int:
    return int(operator.index(value))  # of True, 1: files keep no truth for a number


def _number(kind: Callable[[Any], Any], name: str, value: Any) -> Any:
    try:
        if not isinstance(value, str | bytes):  # of which `float` reads numbers
            return kind(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError(f"{name} must be a {'' if kind is float else 'whole '}number, got {value!r}")


def _legal_rules(defaults: Defaults, request: Request) -> Rules:
    own = {name: getattr(defaults, name) for name in Rules.model_fields}
    for name in request.rules:
        if name not in own:
            raise UserError(f"there is no rule '{name}' of sampling; {nearest(str(name), list(own))}")
    try:
        return Rules.model_validate({**own, **request.rules})
    except ValidationError as error:
        raise UserError(_first_of(error)) from error


def legal_steps(steps: int | None, own: int) -> int:
    """How many steps for which so many were asked, or nothing."""
    chosen = own if steps is None else steps
    if not 1 <= chosen <= MOST_STEPS:
        raise UserError(f"steps must be from 1 to {MOST_STEPS}, got {chosen}; {own} is the model's own choice")
    return chosen


def legal_guidance(guidance: float | None, own: float) -> float:
    """The guidance scale for which this one was asked, or nothing."""
    chosen = own if guidance is None else guidance
    if not 0 <= chosen <= 100:
        raise UserError(f"guidance must be from 0 to 100, got {chosen}; {own:g} is the model's own choice")
    return chosen


def legal_fps(fps: float | None, own: float) -> float:
    """The frames a second of a video for which `fps` were asked, or nothing; what no file can keep is refused."""
    chosen = own if fps is None else fps
    if not media.LEAST_FPS <= chosen <= media.MOST_FPS:
        raise UserError(f"fps must be from {media.LEAST_FPS:g} to {media.MOST_FPS:g}, got {chosen}")
    return chosen


def legal_size(size: tuple[int, int], grain: tuple[int, int], changes: list[str]) -> tuple[int, int]:
    """The nearest size in whole blocks of `grain`; what was changed is added to `changes`."""
    if not all(1 <= side <= LARGEST_SIZE for side in size):
        raise UserError(f"the size must be from 1x1 to {LARGEST_SIZE}x{LARGEST_SIZE} pixels, got {size[0]}x{size[1]}")
    width, height = (max(round(side / block), 1) * block for side, block in zip(size, grain, strict=True))
    if (width, height) != size:
        blocks = f"blocks of {grain[0]}x{grain[1]} pixels"
        changes.append(f"size {size[0]}x{size[1]} became {width}x{height}: the model works in {blocks}")
    return width, height


def strange_to(defaults: Defaults, legal: Legal) -> list[str]:
    """What can be made, and is not the model's own choice, in words; its card does not tell what else it learned."""
    notes = []
    if legal.size != defaults.size:
        asked, own = (f"{width}x{height}" for width, height in (legal.size, defaults.size))
        notes.append(f"the model's own size is {own}; it may never have learned {asked}")
    if legal.fps != defaults.fps:
        notes.append(
            f"the model's own rate is {defaults.fps:g} frames a second; it may never have learned {legal.fps:g}"
        )
    return notes


def grain_of(model: VideoModel) -> tuple[int, int]:
    """Width and height of the blocks of pixels that the model works in."""
    cells = model.backbone.patch[1]
    return cells * model.tokenizer.stride[2], cells * model.tokenizer.stride[1]


def pictures_of(request: Request) -> dict[int, Float[Tensor, "3 _h _w"]]:
    """The given pictures as numbers from 0 to 1, by the numbers they were given by."""
    return {number: media.as_picture(picture, f"frame {number}") for number, picture in request.frames.items()}


def known_pictures(
    given: Mapping[int, Float[Tensor, "3 _h _w"]], num_frames: int, size: tuple[int, int]
) -> dict[int, Float[Tensor, "3 h w"]]:
    """Given pictures by frame number from zero, cut to `size`, in the 8-bit steps that a file keeps."""
    known: dict[int, Tensor] = {}
    for number, picture in given.items():
        place = _place(number, num_frames)
        if place in known:
            raise UserError(
                f"frames {place} and {place - num_frames} of {num_frames} are the same and a picture was given for "
                "each; give one of them"
            )
        known[place] = _in_8_bits(media.resize(picture, size))
    return known


def wished_length(request: Request, fps: float, own: int) -> tuple[float, str]:
    """How many frames are asked for, before they are rounded, and how that was said."""
    if request.num_frames is None and request.seconds is not None:
        if not 0 < request.seconds * fps <= MOST_FRAMES:
            raise UserError(
                f"the length must be above 0 s and at most {MOST_FRAMES} frames, got {request.seconds} s at {fps:g} fps"
            )
        return request.seconds * fps, f"{request.seconds:g} s"
    asked = own if request.num_frames is None else request.num_frames
    if not 1 <= asked <= MOST_FRAMES:
        raise UserError(f"the number of frames must be from 1 to {MOST_FRAMES}, got {asked}")
    return float(asked), f"{asked} frames"


def _legal_length(model: VideoModel, request: Request, fps: float, changes: list[str]) -> int:
    window, cube = model.config.defaults.num_frames, model.backbone.patch[0]
    wished, said = wished_length(request, fps, window)
    asked = max(round(wished), 1)
    if window == 1 < asked:
        raise UserError(f"the model makes single pictures and was asked for {asked} frames; ask for 1 frame")
    # Its own length is that of its lessons: what the cubes then lack was shown as repeats of the last frame.
    legal = asked if asked in (1, window) else -(-asked // cube) * cube
    if abs(legal - wished) > 0.001:
        frames, step = ("1 frame", 1) if legal == 1 else (f"{legal} frames", cube)
        changes.append(
            f"{said} became {frames} ({legal / fps:g} s): the model makes {step} at a time, {fps:g} a second"
        )
    return legal


def _in_8_bits(picture: Tensor) -> Tensor:
    """As a file keeps it, so that a request read back from a file is the same request."""
    return (picture.clamp(0, 1) * 255).round() / 255


def _place(number: int, num_frames: int) -> int:
    place = number + num_frames if number < 0 else number
    if not 0 <= place < num_frames:
        raise UserError(f"frame {number} was given but the video has {num_frames} frames (0 to {num_frames - 1})")
    return place


def settings_of(one: Legal, made_by: str = "") -> dict[str, Any]:
    """All that is needed to make the video again, known frames included; `made_by` tells models apart."""
    return {
        "model": made_by,
        "prompt": one.request.prompt,
        "size": list(one.size),
        "num_frames": one.num_frames,
        "fps": one.fps,
        "seed": one.request.seed,
        "steps": one.steps,
        "guidance": one.guidance,
        "solver": one.solver,
        **one.rules.model_dump(mode="json"),
        "frames": kept_pictures(one.request, one.known, one.num_frames),
    }


def kept_pictures(request: Request, known: Mapping[int, Tensor], num_frames: int) -> dict[str, str]:
    """Known pictures as text, by the numbers they were asked by: a last frame (-1) stays the last of another length."""
    places = {number: _place(number, num_frames) for number in request.frames if -num_frames <= number < num_frames}
    return {str(n): media.picture_to_base64png(known[place]) for n, place in places.items() if place in known}


class Origin(Config):
    """Which checkpoint of others made a video, and how it was loaded."""

    checkpoint: str
    revision: str
    dtype: str
    device: str = ""  # its kind; files from before it was kept do not say
    loras: tuple[tuple[str, float], ...] = ()
    video: str = ""  # checksum of the video that was worked over, which is too large to be kept
    decoded: str = "at once"


class Settings(Rules):
    """What `settings_of` gives, as it must be to be trusted."""

    model: str
    prompt: str
    size: tuple[int, int]
    num_frames: int
    fps: float
    seed: int
    steps: int
    guidance: float
    solver: str | None = None  # a checkpoint of others brings its own
    negative: str = ""
    frames: dict[str, str]
    hub: Origin | None = None


def settings_from(told: object) -> Settings:
    """Settings as a file tells them, which may hold anything."""
    try:
        return Settings.model_validate_json(json.dumps(told))  # JSON has no tuples: as Python they would not pass
    except ValidationError as error:
        if isinstance(told, Mapping) and "prompt" not in told:
            raise UserError("the file's settings do not describe a generated video: it was drawn or filmed") from error
        raise UserError(f"the file's settings do not describe a generated video: {_first_of(error)}") from error


def _first_of(error: ValidationError) -> str:
    first = error.errors()[0]  # told without what came, which may hold whole pictures
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")


def request_of(settings: Mapping[str, Any], *, with_video: bool = False) -> Request:
    """The request that a clip's settings describe; the inverse of `settings_of`.

    `with_video` promises the video that was worked over, which the settings do not hold.
    """
    kept = settings_from(dict(settings))
    if kept.hub and kept.hub.video and not with_video:
        raise UserError(
            "this was made by working over a video, which is not kept inside the file; give it with --video"
        )
    try:
        frames = {int(number): media.picture_from_base64png(text) for number, text in kept.frames.items()}
    except (ValueError, OSError, SyntaxError) as error:
        raise UserError(f"the file's settings hold a frame that is no picture: {error}") from error
    told = kept.model_dump(exclude_unset=True, exclude={"model", "frames", "hub"})
    rules = {name: told.pop(name) for name in Rules.model_fields if name in told}
    if rules and kept.hub is None:
        # A rule younger than the file: as before there was one, not as the model's card says.
        rules = Rules().model_dump() | rules
    return Request(frames=frames, rules=rules, **told)


def departures(defaults: Defaults, request: Request) -> list[str]:
    """In which rules a request departs from the model's own, in words."""
    rules = _legal_rules(defaults, request)
    return [
        f"{name} {getattr(rules, name)}, where the model's own is {getattr(defaults, name)}"
        for name in Rules.model_fields
        if getattr(rules, name) != getattr(defaults, name)
    ]
