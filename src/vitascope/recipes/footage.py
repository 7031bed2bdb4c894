"""A recipe on the user's own footage."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitascope.data.source import FootageConfig, FootageSource
from vitascope.recipes.weights import TEXT
from vitascope.system import Defaults, ModelConfig
from vitascope.train.stages import CaptionStage, Run, Stage, VideoStage

LEAST_CLIPS, CUTS_OF_EACH = 256, 8
"""A stage learns from so many clips at least, or else from at most so many of each video: more would show the same."""
NUM_PREVIEWS = 4


def on_footage(run: Run, path: Path) -> Run:
    """The run with the footage at `path` in place of its own data: same size, length and pace, in every stage.

    What is asked of the model later is told to it as the footage is: its middle size and stride.
    """
    model, source = _told(run.model, path)
    stages = without_comparisons(run.stages)
    return run.model_copy(
        update={
            "name": f"{run.name}-{re.sub(r'[^a-zA-Z0-9_-]+', '-', path.absolute().stem)}",
            "data": _cut(source, stages),
            "model": model,
            "stages": tuple(_stage_on(run, stage, path, source) for stage in stages),
            "preview_prompts": tuple(
                dict.fromkeys(filter(None, (source.captions(index)[0] for index in range(NUM_PREVIEWS))))
            ),
        }
    )


def without_comparisons(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages but those that compare captions of one clip: footage has one of each.

    What begins with such a stage begins with the one before it, and the text encoder, which it would have taught,
    learns along instead of being frozen.
    """
    kept: list[Stage] = []
    before: dict[str, str] = {}
    for stage in stages:
        if isinstance(stage, CaptionStage):
            before |= {stage.name: kept[-1].name} if kept else {}
        elif before:
            begins = tuple(one.model_copy(update={"of": before.get(one.of, one.of)}) for one in stage.begins)
            frozen = tuple(pattern for pattern in stage.frozen if not fnmatch.fnmatchcase(pattern, TEXT))
            kept.append(stage.model_copy(update={"begins": begins, "frozen": frozen}))
        else:
            kept.append(stage)
    return tuple(kept)


def _told(model: ModelConfig, path: Path) -> tuple[ModelConfig, FootageSource]:
    """The footage as a model wants it, and the model told of the footage."""
    source = source_for(model.defaults, path)
    table, rows, stride = source.footage.table, source.rows, source.placement.stride
    size = int(np.median(table.width[rows])), int(np.median(table.height[rows]))
    told = model.defaults.model_copy(update={"footage_size": size, "stride": float(np.median(stride[rows]))})
    return model.model_copy(update={"defaults": told}), source


def _stage_on(run: Run, stage: Stage, path: Path, source: FootageSource) -> Stage:
    """A stage with a model or data of its own has the footage in that model's size."""
    changes: dict[str, Any] = {}
    if stage.model is not None:
        changes["model"], source = _told(stage.model, path)
    if stage.model is not None or stage.data is not None:
        changes["data"] = _cut(source, (stage,))
    if isinstance(stage, VideoStage):
        changes["num_clips"] = min(stage.num_clips, max(LEAST_CLIPS, CUTS_OF_EACH * len(source.rows)))
    return stage.model_copy(update=changes)


def _cut(source: FootageSource, stages: Sequence[Stage]) -> FootageConfig:
    """As many clips of each video at a time as still let every stage see all videos; of this footage and no other."""
    least = min((stage.num_clips for stage in stages if isinstance(stage, VideoStage)), default=1)
    cuts = max(min(CUTS_OF_EACH, least // len(source.rows)), 1)
    return source.config.model_copy(update={"identity": source.footage.identity, "cuts": cuts})


def source_for(defaults: Defaults, path: Path) -> FootageSource:
    """The footage at `path` in the size, length and pace of a model."""
    return FootageConfig(
        path=str(path.absolute()), size=defaults.size, num_frames=defaults.num_frames, fps=defaults.fps
    ).build()
