"""What to look at while a model of Toyland trains: fixed prompts as pictures and videos, and the oracle's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitascope import media
from vitascope.evaluate.toyland import evaluate
from vitascope.sample.generate import generate
from vitascope.system import VideoModel
from vitascope.train.loop import Watch
from vitascope.types import Clip, Request


def watcher(prompts: Sequence[str], num_judged: int = 16) -> Watch:
    """Previews of `prompts` (contact sheet and mp4) and pass rates over a few test scenes, seen triples only."""

    def watch(model: VideoModel, folder: Path, name: str) -> dict[str, float]:
        folder.mkdir(parents=True, exist_ok=True)
        if name.startswith("autoencoder"):
            return {}
        clips = make(model, [Request(prompt, seed=seed) for seed, prompt in enumerate(prompts)])
        sheet = media.contact_sheet(clips, columns=1)
        media.write(Clip(sheet[None]), folder / f"{name}.png", force=True)
        media.write(side_by_side(clips), folder / f"{name}.mp4", force=True)
        report = evaluate(lambda wanted: make(model, wanted), split="seen", kind="one", num=num_judged, seed=0)
        return {f"oracle/{dimension}": rate for dimension, rate in report.rates().items()}

    return watch


def make(model: VideoModel, requests: Sequence[Request]) -> list[Clip]:
    return generate(model, requests)


def side_by_side(clips: Sequence[Clip]) -> Clip:
    """One clip that shows several next to each other."""
    import torch

    return Clip(torch.cat([clip.pixels for clip in clips], -1), clips[0].fps)
