"""What would end a run hours after its beginning, looked for before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vitascope.config import from_json, nearest, to_json
from vitascope.errors import first_line, is_out_of_memory
from vitascope.samplers.solvers import SOLVERS
from vitascope.system import VideoModel, build
from vitascope.train.initialise import Origin, freeze, inherit, initialised, weights_of
from vitascope.train.stages import Run, is_folder
from vitascope.types import UserError


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
def refuse_what_does_not_fit(run: Run) -> None:
    """Let the parts meet the data, each other and the weights that they begin with once, in a small lesson of each
    stage."""
    if run.compile:
        _refuse_without_compiler()
    for stage in run.stages:
        here = run.at(stage)
        solver = here.model.defaults.solver
        if solver not in SOLVERS:
            raise UserError(f"model.defaults.solver: there is no solver '{solver}'; {nearest(solver, list(SOLVERS))}")
        model = initialised(here.model, run.seed).to("cuda" if torch.cuda.is_available() else "cpu")
        _refuse_sizes(here, model)
        try:
            if origins := run.origins(stage):
                inherit(model, [(origin, _outline(run, origin)) for origin in origins], stage.fresh)
            freeze(model, stage.frozen)
            stage.rehearse(here, model)
        except UserError as error:
            raise UserError(f"stage {stage.name}: {error}") from error
        except (ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise UserError(f"stage {stage.name}: these settings do not fit together: {first_line(error)}") from error


def _refuse_without_compiler() -> None:
    """Blocks are first compiled in the second stage, after the autoencoder's hours."""
    try:
        torch.compile(torch.sin)(torch.zeros(8))
    except RuntimeError as error:
        raise UserError(
            f"compile: this machine cannot compile ({first_line(error)}); install a C++ compiler (g++ or clang), or "
            "set compile=false"
        ) from error


def _outline(run: Run, origin: Origin) -> Mapping[str, Tensor]:
    """Weights of the shapes that an origin will have."""
    if is_folder(origin.of):
        return weights_of(Path(origin.of))
    stage = next(stage for stage in run.stages if stage.name == origin.of)
    return initialised(run.at(stage).model, run.seed).state_dict()


def _refuse_sizes(run: Run, model: VideoModel) -> None:
    size = build(run.data).clip(0).size
    patch, (_, rows, columns) = model.backbone.config.patch[1], model.tokenizer.stride
    block = patch * columns, patch * rows
    if any(side % step for side, step in zip(size, block, strict=True)):
        width, height = (max(round(side / step), 1) * step for side, step in zip(size, block, strict=True))
        raise UserError(
            f"the clips have {size[0]}x{size[1]} pixels and the model works in blocks of {block[0]}x{block[1]} (the "
            f"tokenizer's {columns}x{rows} times the backbone's patch of {patch}); make the clips {width}x{height}, or "
            "choose another patch"
        )
