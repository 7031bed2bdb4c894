"""What to look at while a model trains: fixed prompts as pictures and videos, and of Toyland the oracle's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from vitascope import media
from vitascope.evaluate.questions import NUM_SEEDS
from vitascope.evaluate.toyland import evaluate
from vitascope.sample.generate import generate
from vitascope.system import VideoModel
from vitascope.train.stages import BackboneStage, Stage, Watch
from vitascope.types import Clip, Request


def watcher(prompts: Sequence[str], num_judged: int = 16, *, judged: bool = True) -> Watch:
    """Previews of `prompts` (contact sheet and mp4); if `judged`, pass rates over a few test scenes, seen triples only.

    A stage of single pictures shows pictures, which nobody judges; one that trains no backbone shows nothing.
    """

    def watch(model: VideoModel, stage: Stage, folder: Path, name: str) -> dict[str, float]:
        if not isinstance(stage, BackboneStage) or not prompts:
            return {}
        folder.mkdir(parents=True, exist_ok=True)
        num_frames = 1 if stage.pictures_alone else None
        clips = generate(model, [Request(prompt, num_frames=num_frames, seed=n) for n, prompt in enumerate(prompts)])
        media.write(Clip(media.contact_sheet(clips, columns=1)[None]), folder / f"{name}.png", force=True)
        if stage.pictures_alone:
            return {}
        media.write(side_by_side(clips), folder / f"{name}.mp4", force=True)
        if not judged:
            return {}
        # The last seed: reports count theirs from 0, and what is looked at while training must not be among them.
        report = evaluate(partial(generate, model), split="seen", kind="one", num=num_judged, seed=NUM_SEEDS - 1)
        return {f"oracle/{dimension}": rate for dimension, rate in report.rates().items()}

    return watch


def side_by_side(clips: Sequence[Clip]) -> Clip:
    """One clip that shows several next to each other."""
    return Clip(torch.cat([clip.pixels for clip in clips], -1), clips[0].fps)
