"""A recipe on the user's own footage."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vitascope.data.source import FootageConfig, FootageSource
from vitascope.system import Defaults
from vitascope.train.stages import Run, Stage, VideoStage

LEAST_CLIPS, CUTS_OF_EACH = 256, 8
"""A stage learns from so many clips at least, or else from at most so many of each video: more would show the same."""
NUM_PREVIEWS = 4


def on_footage(run: Run, path: Path) -> Run:
    """The run with the footage at `path` in place of its own data: same size, length and pace.

    What is asked of the model later is told to it as the footage is: its middle size and stride.
    """
    defaults = run.model.defaults
    source = source_for(defaults, path)
    table, rows, stride = source.footage.table, source.rows, source.placement.stride
    told = {
        "origin": (int(np.median(table.width[rows])), int(np.median(table.height[rows]))),
        "stride": float(np.median(stride[rows])),
    }
    return run.model_copy(
        update={
            "name": f"{run.name}-{re.sub(r'[^a-zA-Z0-9_-]+', '-', path.absolute().stem)}",
            "data": source.config.model_copy(update={"identity": source.footage.identity, "cuts": _cuts(run, source)}),
            "model": run.model.model_copy(update={"defaults": defaults.model_copy(update=told)}),
            "stages": tuple(_shorter(stage, source) for stage in run.stages),
            "preview_prompts": tuple(dict.fromkeys(source.captions(index)[0] for index in range(NUM_PREVIEWS))),
        }
    )


def source_for(defaults: Defaults, path: Path) -> FootageSource:
    """The footage at `path` in the size, length and pace of a model."""
    return FootageConfig(
        path=str(path.absolute()), size=defaults.size, num_frames=defaults.num_frames, fps=defaults.fps
    ).build()


def _cuts(run: Run, source: FootageSource) -> int:
    """As many clips of each video at a time as still let every stage see all videos."""
    least = min((stage.num_clips for stage in run.stages if isinstance(stage, VideoStage)), default=1)
    return max(min(CUTS_OF_EACH, least // len(source.rows)), 1)


def _shorter(stage: Stage, source: FootageSource) -> Stage:
    if not isinstance(stage, VideoStage):
        return stage
    return stage.model_copy(
        update={"num_clips": min(stage.num_clips, max(LEAST_CLIPS, CUTS_OF_EACH * len(source.rows)))}
    )
