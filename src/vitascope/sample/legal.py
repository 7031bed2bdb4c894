"""What a request becomes: every choice made, every size legal, and the settings that make the same video again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from vitascope import media
from vitascope.config import nearest
from vitascope.samplers.solvers import SOLVERS
from vitascope.system import Defaults, Rules, VideoModel
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


def legalise(model: VideoModel, request: Request) -> Legal:
    """Check a request and make its open choices. Sizes and lengths are snapped to legal ones; the rest is refused."""
    defaults: Defaults = model.config.defaults
    changes: list[str] = []
    count = model.text.count(request.prompt)
    reads_as_empty = not request.prompt.strip() or count == model.text.count("")  # a full stop alone, for one
    if reads_as_empty and not request.frames:
        raise UserError("the prompt is empty to the model: say what the video should show, or give an image")
    if count > model.text.max_tokens:
        raise UserError(
            f"the prompt has {count} tokens and the model reads {model.text.max_tokens}; "
            f"shorten it to about {len(request.prompt) * model.text.max_tokens // count} characters"
        )
    steps = defaults.steps if request.steps is None else request.steps
    if not 1 <= steps <= MOST_STEPS:
        raise UserError(
            f"steps must be from 1 to {MOST_STEPS}, got {steps}; {defaults.steps} is the model's own choice"
        )
    scale = defaults.guidance if request.guidance is None else request.guidance
    if not 0 <= scale <= 100:
        raise UserError(f"guidance must be from 0 to 100, got {scale}; {defaults.guidance:g} is the model's own choice")
    solver = request.solver or defaults.solver
    if solver not in SOLVERS:
        raise UserError(f"there is no solver '{solver}'; {nearest(solver, list(SOLVERS))}")
    rules = _legal_rules(defaults, request)
    fps = legal_fps(model, request.fps)
    wished = request.size or defaults.size
    size = legal_size(model, wished)
    if size != wished:
        blocks = "{}x{}".format(*_grain(model))
        changes.append(
            f"size {wished[0]}x{wished[1]} became {size[0]}x{size[1]}: the model works in blocks of {blocks} pixels"
        )
    num_frames = _legal_length(model, request, fps, changes)
    known = {
        _place(number, num_frames): _in_8_bits(media.resize(_checked(picture, number), size))
        for number, picture in request.frames.items()
    }
    if len(known) == num_frames:
        raise UserError(f"all {num_frames} frames were given: nothing is left to make; ask for more frames")
    return Legal(request, size, num_frames, fps, steps, scale, solver, rules, known, tuple(changes))


def _legal_rules(defaults: Defaults, request: Request) -> Rules:
    wished = {name: getattr(request, name) for name in Rules.model_fields}
    try:
        return Rules.model_validate(
            {name: getattr(defaults, name) if wish is None else wish for name, wish in wished.items()}
        )
    except ValidationError as error:
        raise UserError(_first_of(error)) from error


def legal_fps(model: VideoModel, fps: float | None) -> float:
    """The frames a second of a video for which `fps` were asked, or nothing; what no file can keep is refused."""
    chosen = model.config.defaults.fps if fps is None else fps
    if not media.LEAST_FPS <= chosen <= media.MOST_FPS:
        raise UserError(f"fps must be from {media.LEAST_FPS:g} to {media.MOST_FPS:g}, got {chosen}")
    return chosen


def legal_size(model: VideoModel, size: tuple[int, int]) -> tuple[int, int]:
    """The nearest size that the model can make."""
    if not all(1 <= side <= LARGEST_SIZE for side in size):
        raise UserError(f"the size must be from 1x1 to {LARGEST_SIZE}x{LARGEST_SIZE} pixels, got {size[0]}x{size[1]}")
    width, height = (max(round(side / grain), 1) * grain for side, grain in zip(size, _grain(model), strict=True))
    return width, height


def _grain(model: VideoModel) -> tuple[int, int]:
    cells = model.backbone.config.patch[1]
    return cells * model.tokenizer.stride[2], cells * model.tokenizer.stride[1]


def _legal_length(model: VideoModel, request: Request, fps: float, changes: list[str]) -> int:
    window, cube = model.config.defaults.num_frames, model.backbone.config.patch[0]
    wished: float  # in frames, before they are rounded
    if request.num_frames is not None or request.seconds is None:
        wished = asked = window if request.num_frames is None else request.num_frames
        said = f"{asked} frames"
    else:
        wished, said = request.seconds * fps, f"{request.seconds:g} s"
        if not 0 < wished <= MOST_FRAMES:
            raise UserError(
                f"the length must be above 0 s and at most {MOST_FRAMES} frames, got {request.seconds} s at {fps:g} fps"
            )
        asked = max(round(wished), 1)
    if not 1 <= asked <= MOST_FRAMES:
        raise UserError(f"the number of frames must be from 1 to {MOST_FRAMES}, got {asked}")
    if window == 1 < asked:
        raise UserError(f"the model makes single pictures and was asked for {asked} frames; ask for 1 frame")
    legal = asked if asked == 1 else -(-asked // cube) * cube
    if abs(legal - wished) > 0.001:
        changes.append(
            f"{said} became {legal} frames ({legal / fps:g} s): "
            f"the model makes frames {cube} at a time, {fps:g} a second"
        )
    return legal


def _checked(picture: Tensor, number: int) -> Tensor:
    if picture.ndim == 3 and len(picture) == 3 and picture.is_floating_point() and picture.numel():
        low, high = picture.min().item(), picture.max().item()
        if low >= -1e-3 and high <= 1 + 1e-3:
            return picture
        came = f"numbers from {low:g} to {high:g}"
    else:
        came = f"{tuple(picture.shape)} of {picture.dtype}"
    raise UserError(f"frame {number} must be a picture: 3 x height x width numbers from 0 to 1, got {came}")


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
        "frames": {str(number): media.picture_to_base64png(picture) for number, picture in one.known.items()},
    }


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
    solver: str
    frames: dict[str, str]


def checked(settings: object) -> Settings:
    """Settings from a file, which may hold anything."""
    try:
        return Settings.model_validate_json(json.dumps(settings))  # JSON has no tuples: as Python they would not pass
    except ValidationError as error:
        raise UserError(f"the file's settings do not describe a generated video: {_first_of(error)}") from error


def _first_of(error: ValidationError) -> str:
    first = error.errors()[0]  # told without what came, which may hold whole pictures
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")


def request_of(settings: Mapping[str, Any]) -> Request:
    """The request that a clip's settings describe; the inverse of `settings_of`."""
    kept = checked(dict(settings))
    try:
        frames = {int(number): media.picture_from_base64png(text) for number, text in kept.frames.items()}
    except (ValueError, OSError, SyntaxError) as error:
        raise UserError(f"the file's settings hold a frame that is no picture: {error}") from error
    told = kept.model_dump(exclude_unset=True, exclude={"model", "frames"})  # unset: rules younger than the file
    return Request(frames=frames, **told)


def departures(defaults: Defaults, request: Request) -> list[str]:
    """In which rules a request departs from the model's own, in words."""
    rules = _legal_rules(defaults, request)
    return [
        f"{name} {getattr(rules, name)}, where the model's own is {getattr(defaults, name)}"
        for name in Rules.model_fields
        if getattr(rules, name) != getattr(defaults, name)
    ]
