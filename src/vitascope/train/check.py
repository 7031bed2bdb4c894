"""What would end a run hours after its beginning, looked for before it."""

from __future__ import annotations

import json

import torch

from vitascope.config import from_json, nearest, to_json
from vitascope.errors import first_line, is_out_of_memory
from vitascope.samplers.solvers import SOLVERS
from vitascope.system import VideoModel, build
from vitascope.train.stages import Run
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
def refuse_what_does_not_fit(run: Run, model: VideoModel) -> None:
    """Let the parts meet the data and each other once, in a small lesson of each stage."""
    solver = run.model.defaults.solver
    if solver not in SOLVERS:
        raise UserError(f"model.defaults.solver: there is no solver '{solver}'; {nearest(solver, list(SOLVERS))}")
    _refuse_sizes(run, model)
    for stage in run.stages:
        try:
            stage.rehearse(run, model)
        except UserError as error:
            raise UserError(f"stage {stage.name}: {error}") from error
        except (ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise UserError(f"stage {stage.name}: these settings do not fit together: {first_line(error)}") from error


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
