"""Legal requests to clean latents, one window of frames at a time, and the file that keeps them until the decoding."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vitascope import media
from vitascope.conditions import Conditions, micro_conditions
from vitascope.errors import NonFinite
from vitascope.noise import Estimate
from vitascope.noise import Path as NoisePath
from vitascope.protocols import Estimator
from vitascope.sample.legal import Legal, settings_from
from vitascope.samplers import guidance as guide
from vitascope.samplers.solvers import KNOWN_SLOTS, SOLVERS, integrate, levels
from vitascope.samplers.windows import windowed
from vitascope.system import Rules, VideoModel
from vitascope.types import Framing, UserError, generator_for

StepCallback = Callable[[int, int, Tensor], None]
"""`progress(steps done, steps in all, noisy latents)`; raising from it cancels the sampling."""


def part_of(progress: StepCallback | None, number: int, parts: int) -> StepCallback | None:
    """Progress of one of so many equal parts, told as that of the whole."""
    return share_of(progress, number, 1, parts)


def share_of(progress: StepCallback | None, begun: int, own: int, parts: int) -> StepCallback | None:
    """Progress of `own` of so many equal parts, of which `begun` are done, told as that of the whole."""
    if progress is None:
        return None
    return lambda done, steps, z: progress(begun * steps // own + done, parts * steps // own, z)


@torch.no_grad()
def sample_latents(
    model: VideoModel, legal: Sequence[Legal], *, progress: StepCallback | None = None
) -> Float[Tensor, "b t c h w"]:
    """Clean latents of legal requests, of any length: longer ones in windows that overlap by half."""
    first = legal[0]
    cond = conditions_of(model, legal)
    noise = torch.stack([_noise(one, cond.frames.shape[1:]) for one in legal]).to(model.device)
    path = model.objective.path
    ask = in_bf16(model.estimate, model.device) if first.rules.precision == "bf16" else model.estimate
    estimate = guided(ask, path, first.rules, first.guidance)
    window, cube = model.config.defaults.num_frames, model.backbone.patch[0]
    whole = windowed(estimate, window, window // 2 // cube * cube)  # of even windows each begins where a cube does
    walk, keep = levels(first.steps, first.rules.level_shift), KNOWN_SLOTS[first.rules.known_slots]
    rng = [rng_of(one, "solver") for one in legal]
    try:
        return integrate(SOLVERS[first.solver], path, whole, noise, walk, cond, rng=rng, keep=keep, progress=progress)
    except FloatingPointError as error:
        raise NonFinite(str(error)) from error


def _noise(one: Legal, shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=rng_of(one, "noise"))


def rng_of(one: Legal, purpose: str) -> torch.Generator:
    """Each window and each candidate has draws of its own; window 0 and candidate 0 draw as a video alone does."""
    parts = (one.window, one.candidate) if one.candidate else (one.window,) if one.window else ()
    return generator_for(one.request.seed, purpose, *parts)


def conditions_of(model: VideoModel, legal: Sequence[Legal]) -> Conditions:
    """Words, known frames (pictures encoded one by one, latents as they are) and micro-conditions of a batch."""
    (width, height), num_frames = legal[0].size, legal[0].num_frames
    _, rows, columns = model.tokenizer.stride
    shape = len(legal), num_frames, model.tokenizer.channels, height // rows, width // columns
    frames, known = torch.zeros(shape), torch.zeros(shape[:2], dtype=torch.bool)
    for row, one in enumerate(legal):
        for number, picture in one.known.items():
            frames[row, number] = model.tokenizer.encode(picture[None, None].to(model.device))[0, 0].cpu()
            known[row, number] = True
        for number, latents in one.made.items():
            frames[row, number], known[row, number] = latents.cpu(), True
    usual = model.config.defaults
    framings = [
        Framing(usual.footage_size or (width, height), stride=usual.stride * usual.fps / one.fps) for one in legal
    ]
    micro = micro_conditions(framings, usual.num_frames if legal[0].is_first_frame else num_frames)
    return model.conditions([one.request.prompt for one in legal], known, frames, micro)


def in_bf16(estimate: Estimator, device: torch.device) -> Estimator:
    """The same estimator, its matrix products in bf16."""

    def cast(z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
        with torch.autocast(device.type, torch.bfloat16):
            return estimate(z, level, cond)

    return cast


def guided(estimate: Estimator, path: NoisePath, rules: Rules, scale: float) -> guide.GuidedEstimator:
    """A model's estimate under guidance: of the kind, the length and the interval of levels that the rules say."""
    blend = guide.GUIDANCE[rules.guidance_kind](estimate, scale, rules.image_guidance)
    if rules.renorm:
        blend = guide.renormalised(blend, path)
    low, high = rules.guidance_interval
    return blend if (low, high) == (0.0, 1.0) else guide.within(blend, estimate, low, high)


def write_latents(path: Path, latents: Float[Tensor, "*b t c h w"], settings: Mapping[str, Any]) -> None:
    """Finished latents of a video with its settings, whole or not at all, for `read_latents` to go on from."""
    media.replace_file(path, save({"latents": latents.cpu().contiguous()}, {"settings": json.dumps(dict(settings))}))


def read_latents(path: Path) -> tuple[Tensor, dict[str, Any]]:
    """What `write_latents` wrote; files come from anywhere, so both parts are checked."""
    if not path.is_file():  # a pipe would be waited for
        raise UserError(f"'{path}' is no file; give the one that generate left behind")
    try:
        with safe_open(path, "pt") as file:
            latents, settings = file.get_tensor("latents"), json.loads(file.metadata()["settings"])
        settings_from(settings)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(
            f"'{path}' holds no latents of a video ({error}); give the file that generate left behind"
        ) from error
    if latents.ndim < 4 or not latents.numel() or not latents.is_floating_point():
        raise UserError(
            f"'{path}' must hold latents of frames x channels x height x width, got {tuple(latents.shape)} "
            f"of {latents.dtype}; give the file that generate left behind"
        )
    return latents, settings
