"""Legal requests to clean latents, one window of frames at a time, and the file that keeps them until the decoding."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vitascope.conditions import Conditions
from vitascope.protocols import Estimator
from vitascope.sample.legal import Legal
from vitascope.samplers import guidance as guide
from vitascope.samplers.solvers import SOLVERS, integrate, levels
from vitascope.system import Defaults, VideoModel, micro_conditions
from vitascope.types import UserError, generator_for

Progress = Callable[[int, int, Tensor], None]
"""`progress(steps done, steps in all, noisy latents)`; raising from it cancels the sampling."""


@torch.no_grad()
def sample_latents(
    model: VideoModel,
    legal: Sequence[Legal],
    *,
    progress: Progress | None = None,
    overlap: Float[Tensor, "b k c h w"] | None = None,
) -> Float[Tensor, "b t c h w"]:
    """Clean latents of legal requests. `overlap` are latents already made, known as the first frames."""
    first = legal[0]
    cond = conditions_of(model, legal, overlap)
    noise = torch.stack([_noise(one, cond.frames.shape[1:]) for one in legal]).to(model.device)
    estimate = guided(model, first.guidance)
    walk = levels(first.steps, model.config.defaults.level_shift)
    rng = [generator_for(one.request.seed, "solver") for one in legal]
    path = model.objective.path
    try:
        return integrate(SOLVERS[first.solver], path, estimate, noise, walk, cond, rng=rng, progress=progress)
    except FloatingPointError as error:
        raise UserError(str(error)) from error


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


def write_latents(path: Path, latents: Float[Tensor, "t c h w"], settings: Mapping[str, Any]) -> None:
    """Finished latents of a video with its settings, so that `read_latents` can go on from there."""
    try:
        save_file({"latents": latents.cpu().contiguous()}, path, {"settings": json.dumps(dict(settings))})
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the latents could not be written to '{path}' ({error}); free some space or choose another --out"
        ) from error


def read_latents(path: Path) -> tuple[Float[Tensor, "t c h w"], dict[str, Any]]:
    """What `write_latents` wrote."""
    try:
        with safe_open(path, "pt") as file:
            return file.get_tensor("latents"), json.loads(file.metadata()["settings"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"'{path}' holds no latents of a video ({error}); give the file that generate left behind"
        ) from error
