"""Open checkpoints, as their makers describe them. What they do not say is left empty and never guessed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Native:
    """What a family was trained for, where neither signature nor parts say it."""

    size: tuple[int, int] | None = None
    num_frames: int | None = None
    fps: float | None = None
    counts_latents: bool = False  # `sample_frames` of the denoiser's settings is in latent frames


def native(name: str, pipeline: str) -> Native:
    """What is known of a checkpoint by its id, else by the class of its pipeline."""
    return FAMILIES.get(pipeline, Native())


FAMILIES: dict[str, Native] = {
    "WanPipeline": Native(fps=16),
    "WanImageToVideoPipeline": Native(fps=16),
    "WanVideoToVideoPipeline": Native(fps=16),
}
