"""What a request becomes: every choice made, every size legal, and the settings that make the same video again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vitascope import media
from vitascope.config import nearest
from vitascope.samplers.solvers import SOLVERS
from vitascope.system import Defaults, VideoModel
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
    known: dict[int, Float[Tensor, "3 h w"]]  # by frame number from zero, at `size`, in 8-bit steps
    changes: tuple[str, ...]


def legalise(model: VideoModel, request: Request) -> Legal:
    """Check a request and make its open choices. Sizes and lengths are snapped to legal ones; the rest is refused."""
    defaults: Defaults = model.config.defaults
    changes: list[str] = []
    if not request.prompt.strip() and not request.frames:
        raise UserError("the prompt is empty: say what the video should show, or give an image")
    if (count := model.text.count(request.prompt)) > model.text.max_tokens:
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
    fps = defaults.fps if request.fps is None else request.fps
    if not 0 < fps <= 1000:
        raise UserError(f"fps must be above 0 and at most 1000, got {fps}")
    size = _legal_size(model, request.size or defaults.size, changes)
    num_frames = _legal_length(model, request, fps, changes)
    known = {
        _place(number, num_frames): _in_8_bits(media.resize(_checked(picture, number), size))
        for number, picture in request.frames.items()
    }
    if len(known) == num_frames:
        raise UserError(f"all {num_frames} frames were given: nothing is left to make; ask for more frames")
    return Legal(request, size, num_frames, fps, steps, scale, solver, known, tuple(changes))


def _legal_size(model: VideoModel, size: tuple[int, int], changes: list[str]) -> tuple[int, int]:
    cells = model.backbone.config.patch[1]
    grain = cells * model.tokenizer.stride[2], cells * model.tokenizer.stride[1]
    if not all(1 <= side <= LARGEST_SIZE for side in size):
        raise UserError(f"the size must be from 1x1 to {LARGEST_SIZE}x{LARGEST_SIZE} pixels, got {size[0]}x{size[1]}")
    legal = tuple(max(round(side / step), 1) * step for side, step in zip(size, grain, strict=True))
    if legal != size:
        changes.append(
            f"size {size[0]}x{size[1]} became {legal[0]}x{legal[1]}: "
            f"the model works in blocks of {grain[0]}x{grain[1]} pixels"
        )
    return legal[0], legal[1]


def _legal_length(model: VideoModel, request: Request, fps: float, changes: list[str]) -> int:
    if request.num_frames is not None:
        asked = request.num_frames
    elif request.seconds is not None:
        if not 0 < request.seconds * fps <= MOST_FRAMES:
            raise UserError(
                f"the length must be above 0 s and at most {MOST_FRAMES} frames, got {request.seconds} s at {fps:g} fps"
            )
        asked = max(round(request.seconds * fps), 1)
    else:
        asked = model.config.defaults.num_frames
    if not 1 <= asked <= MOST_FRAMES:
        raise UserError(f"the number of frames must be from 1 to {MOST_FRAMES}, got {asked}")
    cube = model.backbone.config.patch[0]
    legal = asked if asked == 1 else -(-asked // cube) * cube
    if legal != asked:
        changes.append(f"{asked} frames became {legal} ({legal / fps:g} s): the model makes frames in groups of {cube}")
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
        "frames": {str(number): media.picture_to_base64png(picture) for number, picture in one.known.items()},
    }


def request_of(settings: Mapping[str, Any]) -> Request:
    """The request that a clip's settings describe; the inverse of `settings_of`."""
    try:
        frames = {
            int(number): media.picture_from_base64png(text) for number, text in settings.get("frames", {}).items()
        }
        return Request(
            prompt=settings["prompt"],
            frames=frames,
            num_frames=settings["num_frames"],
            fps=settings["fps"],
            size=tuple(settings["size"]),
            seed=settings["seed"],
            steps=settings["steps"],
            guidance=settings["guidance"],
            solver=settings["solver"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise UserError(f"the file's settings do not describe a generated video: {error!r}") from error
