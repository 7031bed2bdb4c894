"""A recipe on the user's own footage."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vitascope.data.source import FootageConfig, FootageSource
from vitascope.train.stages import Run, Stage, VideoStage

LEAST_CLIPS, CUTS_OF_EACH = 256, 8
"""A stage learns from at least so many cuts, or else from so many of each video: more would repeat what is seen."""
NUM_PREVIEWS = 4


def on_footage(run: Run, path: Path) -> Run:
    """The run with the footage at `path` in place of its own data: same size, length and pace.

    What is asked of the model later is told to it as the footage is: its middle size and stride.
    """
    defaults = run.model.defaults
    config = FootageConfig(
        path=str(path.absolute()), size=defaults.size, num_frames=defaults.num_frames, fps=defaults.fps
    )
    source = config.build()
    table, rows, stride = source.footage.table, source.rows, source.placement.stride
    told = {
        "origin": (int(np.median(table.width[rows])), int(np.median(table.height[rows]))),
        "stride": float(np.median(stride[rows])),
    }
    return run.model_copy(
        update={
            "name": f"{run.name}-{re.sub(r'[^a-zA-Z0-9_-]+', '-', path.absolute().stem)}",
            "data": config.model_copy(update={"identity": source.footage.identity}),
            "model": run.model.model_copy(update={"defaults": defaults.model_copy(update=told)}),
            "stages": tuple(_shorter(stage, source) for stage in run.stages),
            "preview_prompts": tuple(dict.fromkeys(source.captions(index)[0] for index in range(NUM_PREVIEWS))),
        }
    )


def _shorter(stage: Stage, source: FootageSource) -> Stage:
    if not isinstance(stage, VideoStage):
        return stage
    return stage.model_copy(
        update={"num_clips": min(stage.num_clips, max(LEAST_CLIPS, CUTS_OF_EACH * len(source.rows)))}
    )
