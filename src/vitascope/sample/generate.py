"""One request, one clip: the way from words and pictures to a video, the same for every caller and every task."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vitascope import media
from vitascope.config import nearest
from vitascope.conditions import Conditions
from vitascope.protocols import Estimator
from vitascope.samplers import guidance as guide
from vitascope.samplers.solvers import SOLVERS, integrate, levels
from vitascope.system import Defaults, VideoModel, micro_conditions
from vitascope.types import Clip, Request, UserError, generator_for

Progress = Callable[[int, int, Tensor], None]
"""`progress(steps done, steps in all, noisy latents)`; raising from it cancels the sampling."""

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
        _place(number, num_frames): _in_8_bits(media.resize(picture, size))
        for number, picture in request.frames.items()
    }
    return Legal(request, size, num_frames, fps, steps, scale, solver, known, tuple(changes))


def _legal_size(model: VideoModel, size: tuple[int, int], changes: list[str]) -> tuple[int, int]:
    cells = model.backbone.config.patch[1]
    grain = cells * model.tokenizer.stride[2], cells * model.tokenizer.stride[1]
    if not all(1 <= side <= LARGEST_SIZE for side in size):
        raise UserError(f"the size must be from 1x1 to {LARGEST_SIZE}x{LARGEST_SIZE} pixels, got {size[0]}x{size[1]}")
    legal = tuple(max(round(side / step), 1) * step for side, step in zip(size, grain, strict=True))
    if legal != size:
        changes.append(
            f"size {size[0]}x{size[1]} became {legal[0]}x{legal[1]}: the model works in blocks of {grain[0]}x{grain[1]} pixels"
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


def _in_8_bits(picture: Tensor) -> Tensor:
    """As a file keeps it, so that a request read back from a file is the same request."""
    return (picture.clamp(0, 1) * 255).round() / 255


def _place(number: int, num_frames: int) -> int:
    place = number + num_frames if number < 0 else number
    if not 0 <= place < num_frames:
        raise UserError(f"frame {number} was given but the video has {num_frames} frames (0 to {num_frames - 1})")
    return place


def generate(
    model: VideoModel,
    requests: Sequence[Request],
    *,
    progress: Progress | None = None,
    keep_latents: Path | None = None,
) -> list[Clip]:
    """Clips for requests that agree in size, length, steps, guidance and solver (else ValueError), in one batch.

    A sample depends on its own seed only, whatever shares its batch (to the rounding of the matrix products).
    `keep_latents`: where to write the finished latents before they are decoded, so that sampling is never lost.
    """
    legal = [legalise(model, request) for request in requests]
    if len({(one.size, one.num_frames, one.steps, one.guidance, one.solver) for one in legal}) > 1:
        raise ValueError("requests of one batch must agree in size, length, steps, guidance and solver")
    refuse_what_does_not_fit(model, legal[0], len(legal))
    latents = sample_latents(model, legal, progress=progress)
    if keep_latents is not None:
        write_latents(keep_latents, latents, legal[0])
    return [clip_of(settings_of(one), decode(model, video)) for one, video in zip(legal, latents, strict=True)]


@torch.no_grad()
def decode(model: VideoModel, latents: Float[Tensor, "t c h w"], at_once: int = 32) -> Float[Tensor, "t 3 h w"]:
    """Pixels of one video, some frames at a time, so that memory does not grow with its length."""
    return torch.cat([model.tokenizer.decode(part[None]).float().cpu()[0] for part in latents.split(at_once)])


def write_latents(path: Path, latents: Tensor, one: Legal) -> None:
    """Finished latents with the settings of their (first) video, so that `read_latents` can go on from there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"latents": latents.cpu().contiguous()}, path, {"settings": json.dumps(settings_of(one))})
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the latents could not be written to '{path}' ({error}); free some space or choose another --out"
        ) from None


def read_latents(path: Path) -> tuple[Float[Tensor, "t c h w"], dict[str, Any]]:
    """What `write_latents` wrote: the first video's latents and settings."""
    try:
        with safe_open(path, "pt") as file:
            return file.get_tensor("latents")[0], json.loads(file.metadata()["settings"])
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(
            f"'{path}' holds no latents of a video ({error}); give the file that generate left behind"
        ) from None


@torch.no_grad()
def sample_latents(
    model: VideoModel, legal: Sequence[Legal], *, progress: Progress | None = None, overlap: Tensor | None = None
) -> Float[Tensor, "b t c h w"]:
    """Clean latents of legal requests. `overlap` (`b k c h w`) are latents already made, known as the first frames."""
    first = legal[0]
    cond = conditions_of(model, legal, overlap)
    noise = torch.stack([_noise(one, cond.frames.shape[1:]) for one in legal]).to(model.device)
    estimate = guided(model, first.guidance)
    walk = levels(first.steps, model.config.defaults.level_shift)
    rng = [generator_for(one.request.seed, "solver") for one in legal]
    return integrate(
        SOLVERS[first.solver], model.objective.path, estimate, noise, walk, cond, rng=rng, progress=progress
    )


def _noise(one: Legal, shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=generator_for(one.request.seed, "noise"))


def conditions_of(model: VideoModel, legal: Sequence[Legal], overlap: Tensor | None = None) -> Conditions:
    """Words, known frames (encoded one by one) and micro-conditions of a batch."""
    (width, height), num_frames = legal[0].size, legal[0].num_frames
    _, rows, columns = model.tokenizer.stride
    shape = len(legal), num_frames, model.tokenizer.channels, height // rows, width // columns
    frames, known = torch.zeros(shape), torch.zeros(shape[:2], dtype=torch.bool)
    for row, one in enumerate(legal):
        for number, picture in one.known.items():
            frames[row, number] = model.tokenizer.encode(picture[None, None].to(model.device))[0, 0].cpu()
            known[row, number] = True
    if overlap is not None:
        frames[:, : overlap.shape[1]], known[:, : overlap.shape[1]] = overlap.cpu(), True
    stride = torch.tensor([model.config.defaults.fps / one.fps for one in legal])
    micro = micro_conditions((width, height), stride, torch.full((len(legal),), float(num_frames)))
    return model.conditions([one.request.prompt for one in legal], known, frames, micro)


def guided(model: VideoModel, scale: float) -> Estimator:
    """STIV's guidance: joint over text and frames, renormalised, within the model's interval of levels."""
    if scale == 1:
        return model.estimate
    defaults: Defaults = model.config.defaults
    estimate = guide.joint_guidance(model.estimate, scale)
    if defaults.renorm:
        estimate = guide.renormalised(estimate, model.objective.path)
    low, high = defaults.guidance_interval
    return estimate if (low, high) == (0.0, 1.0) else guide.within(estimate, model.estimate, low, high)


def clip_of(settings: dict[str, Any], pixels: Float[Tensor, "t 3 h w"]) -> Clip:
    """The finished clip with the settings that make it again."""
    if not pixels.isfinite().all():
        raise UserError("the decoded video is not finite: the autoencoder failed; try less guidance or another seed")
    return Clip(pixels, settings["fps"], settings["prompt"], settings)


def settings_of(one: Legal) -> dict[str, Any]:
    """All that is needed to make the video again, known frames included."""
    return {
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


def request_of(settings: dict[str, Any]) -> Request:
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
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the file's settings do not describe a generated video ({error!r} is missing or wrong)"
        ) from None


def refuse_what_does_not_fit(model: VideoModel, one: Legal, num: int) -> None:
    """Refuse before sampling what the memory cannot hold, and say what it could."""
    free = free_bytes(model.device)
    needed = sampling_bytes(model, one.size, one.num_frames, num)
    if needed <= free:
        return
    share = (free / needed) ** 0.5
    grain = model.backbone.config.patch[1] * model.tokenizer.stride[1]
    fits = [max(int(side * share) // grain * grain, grain) for side in one.size]
    raise UserError(
        f"{num} video(s) of {one.num_frames} frames at {one.size[0]}x{one.size[1]} need about {needed / 2**30:.1f} GiB and "
        f"{free / 2**30:.1f} GiB are free; {fits[0]}x{fits[1]} would fit, or fewer frames"
    )


def sampling_bytes(model: VideoModel, size: tuple[int, int], num_frames: int, num: int) -> int:
    """About the most memory that sampling takes: the widest activations of a block, or the decoder's last layers."""
    config = model.backbone.config
    cells = config.patch[1] * model.tokenizer.stride[1]
    per_frame = max(size[0] // cells, 1) * max(size[1] // cells, 1)
    tokens = 2 * num * -(-num_frames // config.patch[0]) * per_frame  # two passes for guidance
    activations = tokens * config.width * 16 * 4
    attention = 2 * tokens * min(per_frame, 4096) * config.heads * 4
    decoder = num * num_frames * size[0] * size[1] * 40 * 4
    return max(activations + attention, decoder)


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _reclaimable()
    except (ValueError, OSError):
        return 2**62


def _reclaimable() -> int:
    """Page cache that Linux gives back on demand."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    cached = [line for line in lines if line.startswith("Cached:")]
    return int(cached[0].split()[1]) * 1024 if cached else 0


def with_length(one: Legal, num_frames: int, known: dict[int, Tensor]) -> Legal:
    """The same request over another number of frames (a window of a longer video)."""
    return replace(one, num_frames=num_frames, known=known)
