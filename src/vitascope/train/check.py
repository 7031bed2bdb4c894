"""What would end a run hours after its beginning, looked for before it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vitascope.conditions import framing_of, micro_conditions
from vitascope.config import from_json, nearest, to_json
from vitascope.data.cache import ClipSource
from vitascope.errors import first_line, is_out_of_memory
from vitascope.media.pictures import beyond
from vitascope.samplers.guidance import GUIDANCE
from vitascope.samplers.solvers import SOLVERS, integrate, levels
from vitascope.system import VideoModel
from vitascope.train.initialise import initialised
from vitascope.train.optim import learned
from vitascope.train.stages import BackboneStage, Run, Stage, inherit_origins, source_of
from vitascope.types import Clip, UserError, generator_for

COMPILERS = {"cpu": "a C++ compiler (g++ or clang)", "cuda": "Triton and a C compiler (gcc or clang)"}
"""What torch compiles with, by the kind of device."""


def refuse_what_cannot_be_read_back(run: Run) -> None:
    """A run that goes on, and a model that is used, come from what was written of their settings."""
    told = (
        "the settings of this run cannot be read back from a file: their classes belong at the top of a module, under "
        "their own names, and hold numbers, texts, tuples and other settings only"
    )
    try:
        again = from_json(json.loads(json.dumps(to_json(run))))
    except (TypeError, ValueError, UserError) as error:
        raise UserError(f"{told} ({error})") from error
    if again != run:
        raise UserError(told)


@torch.no_grad()
def refuse_what_does_not_fit(run: Run, device: str) -> None:
    """Let the parts meet the data, each other and the weights that they begin with once, in a small lesson of each
    stage."""
    if run.compile:
        _refuse_without_compiler(device)
    for stage in run.stages:
        here = run.at(stage)
        solver = here.model.defaults.solver
        if solver not in SOLVERS:
            raise UserError(f"model.defaults.solver: there is no solver '{solver}'; {nearest(solver, list(SOLVERS))}")
        model = initialised(here.model, run.seed).to(device)
        with told_of(stage):
            clip = first_clip(source_of(here))
            refuse_what_does_not_divide(clip, stage, model)
            inherit_origins(model, run, stage, partial(_outline, run))
            if not learned(stage.rehearse(here, model)):
                raise UserError(f"`frozen` ({', '.join(stage.frozen)}) leaves no weight to learn; name fewer of them")
            if isinstance(stage, BackboneStage):
                refuse_what_cannot_sample(model, clip, 1 if stage.pictures_alone else clip.num_frames)


@contextmanager
def told_of(stage: Stage) -> Iterator[None]:
    """What does not fit is one line that names the stage."""
    try:
        yield
    except UserError as error:
        raise UserError(f"stage {stage.name}: {error}") from error
    except (ValueError, RuntimeError, FloatingPointError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"stage {stage.name}: these settings do not fit together: {first_line(error)}") from error


def _refuse_without_compiler(device: str) -> None:
    """Blocks are first compiled in the second stage, after the autoencoder's hours."""
    try:
        torch.compile(torch.sin)(torch.zeros(8, device=device))
    except RuntimeError as error:
        kind = torch.device(device).type
        way = f"install {COMPILERS[kind]}, or set compile=false" if kind in COMPILERS else "set compile=false"
        raise UserError(f"compile: this machine cannot compile for {kind} ({first_line(error)}); {way}") from error


def _outline(run: Run, name: str) -> Mapping[str, Tensor]:
    """Weights of the shapes that an earlier stage will leave."""
    stage = next(stage for stage in run.stages if stage.name == name)
    return initialised(run.at(stage).model, run.seed).state_dict()


def first_clip(source: ClipSource) -> Clip:
    """Clip 0 under the first of its captions. It must be one: bytes, or a text in place of texts, would be learned from
    without a word."""
    clip, captions = source.clip(0), source.captions(0)
    pixels = clip.pixels
    is_video = pixels.ndim == 4 and pixels.shape[1] == 3 and pixels.is_floating_point() and pixels.numel() > 0
    if wrong := beyond(pixels) if is_video else f"of {pixels.dtype}":
        raise UserError(
            "the pixels of a clip must be frames x 3 x height x width of numbers from 0 to 1, and those of the data's "
            f"clip 0 are {'x'.join(map(str, pixels.shape))} {wrong}"
        )
    if not isinstance(captions, (tuple, list)) or not captions or any(not isinstance(one, str) for one in captions):
        raise UserError(f"the captions of a clip must be one or more texts, and those of clip 0 are {captions!r}")
    return replace(clip, caption=captions[0])


def refuse_what_cannot_sample(model: VideoModel, clip: Clip, num_frames: int) -> None:
    """Let the model make a video in one step, as it will be asked to when it has learned."""
    usual, shown = model.config.defaults, clip.pixels[None, :num_frames].to(model.device)
    clean = model.tokenizer.encode(shown)
    known = torch.zeros(clean.shape[:2], dtype=torch.bool)
    known[:, 0] = num_frames > 1
    cond = model.conditions([clip.caption], known, clean, micro_conditions([framing_of(clip)], num_frames))
    estimate = GUIDANCE[usual.guidance_kind](model.estimate, usual.guidance, usual.image_guidance)
    rng = generator_for(0, "rehearsal")
    noise = torch.randn(clean.shape, generator=rng).to(clean)
    made = integrate(SOLVERS[usual.solver], model.objective.path, estimate, noise, levels(1), cond, rng=[rng])
    # One frame: a long video is decoded in parts, and tells no more.
    if (pixels := model.tokenizer.decode(made[:, :1])).shape != shown[:, :1].shape:
        raise UserError(
            f"the tokenizer makes {tuple(pixels.shape)} of the latents of {tuple(shown[:, :1].shape)}; it must give "
            "back a picture of the same size for every frame"
        )


def refuse_what_does_not_divide(clip: Clip, stage: Stage, model: VideoModel) -> None:
    """Sides, lengths and keyframe strides that the model's blocks do not divide, with the nearest that they do."""
    defaults = model.config.defaults
    (cube, patch), (_, rows, columns) = model.backbone.patch, model.tokenizer.stride
    block = patch * columns, patch * rows
    if any(side % step for side, step in zip(clip.size, block, strict=True)):
        widths, heights = (around(side, step) for side, step in zip(clip.size, block, strict=True))
        nearest_sizes = f"{widths[0]}x{heights[0]}", f"{widths[-1]}x{heights[-1]}"
        raise UserError(
            f"the clips have {clip.size[0]}x{clip.size[1]} pixels and the model works in blocks of "
            f"{block[0]}x{block[1]} (the tokenizer's {columns}x{rows} times the backbone's patch of {patch}); "
            f"make the clips {_either(nearest_sizes)}, or choose another patch"
        )
    if not isinstance(stage, BackboneStage) or stage.pictures_alone:
        return
    for num_frames in stage.lengths(clip):
        if num_frames % cube and not stage.part_cubes:
            raise UserError(
                f"the clips have {num_frames} frames and the backbone's cubes {cube}; make the clips "
                f"{_either(around(num_frames, cube))} frames long, choose another patch, or set "
                f"stages.{stage.name}.part_cubes=true: the last frame is then shown again until a cube is full"
            )
    stride, window = defaults.keyframe_stride, defaults.num_frames
    legal = [one for one in range(2, window) if (one + 1) % cube == 0]
    if stride and stride not in legal:
        told = (
            f"model.defaults.keyframe_stride is {stride}: a gap with the keyframes at its ends has {stride + 1} frames"
        )
        below, above = [one for one in legal if one < stride], [one for one in legal if one > stride]
        nearest_strides = [str(one) for one in (*below[-1:], *above[:1])]
        raise UserError(
            f"{told}, which must be whole cubes of {cube} and no more than the {window} of a window; "
            f"set it to {_either([*nearest_strides, '0 (no keyframes)'])}"
        )


def around(number: int, step: int) -> list[int]:
    """The multiples of `step` on both sides of a number, one if it is a multiple itself or below the first."""
    below, above = number // step * step, -(-number // step) * step
    return [one for one in dict.fromkeys((below, above)) if one]


def _either(choices: Iterable[object]) -> str:
    return " or ".join(dict.fromkeys(map(str, choices)))
