"""A stage that reads clips as it goes, in their own aspects and lengths: for more than latents can be kept of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from vitascope.config import Count
from vitascope.data.buckets import BucketsConfig
from vitascope.data.loader import Loader, LoaderConfig, PixelBatch
from vitascope.system import VideoModel
from vitascope.train.stages import BackboneStage, Run, Track, VideoCourse
from vitascope.types import Batch, Clip


class StreamStage(BackboneStage):
    """Train text encoder and backbone on clips of a loader, encoded anew each time.

    `batch` counts clips of the full area and the longest length; of smaller ones a batch has as many more as cost the
    same. The loader's multiples and tokens follow from the model and `batch`.
    """

    loader: LoaderConfig
    workers: Count = 1

    @property
    def pictures_alone(self) -> bool:
        return max(self.loader.buckets.lengths) == 1

    def lengths(self, clip: Clip) -> tuple[int, ...]:
        return tuple(length for length in self.loader.buckets.lengths if length > 1)

    def begin(self, run: Run, model: VideoModel, cache_root: Path, track: Track) -> VideoCourse:
        stream = Stream(self.open(model), model, self.workers)
        return VideoCourse(self, run, model, lambda step: [stream.batch(step)])

    def open(self, model: VideoModel) -> Loader:
        return self.loader.model_copy(update={"buckets": self.buckets(model)}).build()

    def buckets(self, model: VideoModel) -> BucketsConfig:
        """Sides that the model can take, and the tokens of `batch` clips."""
        wanted, patch = self.loader.buckets, model.backbone.patch
        multiple, frames = patch[1] * model.tokenizer.stride[1], patch[0] * model.tokenizer.stride[0]
        places, times = wanted.area // multiple**2, -(-max(wanted.lengths) // frames)
        told = {"multiple": multiple, "frames_multiple": frames, "batch_tokens": max(self.batch * places * times, 1)}
        return wanted.model_copy(update=told)

    def rehearse(self, run: Run, model: VideoModel) -> nn.Module:
        made = encoded(model, self.open(model).batch(0))
        alone = Batch(made.clean[:1], made.captions[:1], made.micro[:1])
        course = VideoCourse(self, run, model, lambda step: [alone])
        course.loss(0)
        return course.module


class Stream:
    """The batches of a loader by step, fetched ahead while steps follow each other."""

    def __init__(self, loader: Loader, model: VideoModel, workers: int) -> None:
        self.loader, self.model, self.workers = loader, model, workers
        self.next_step = -1
        self.coming: Iterator[PixelBatch] = iter(())

    def batch(self, step: int) -> Batch:
        if step != self.next_step:
            self.coming = self.loader.batches(step, workers=self.workers)
        self.next_step = step + 1
        return encoded(self.model, next(self.coming))


@torch.no_grad()
def encoded(model: VideoModel, batch: PixelBatch) -> Batch:
    """A batch of pixels as latents."""
    clean = model.tokenizer.encode(batch.pixels.to(model.device).float() / 255)
    return Batch(clean, batch.captions, batch.micro)
