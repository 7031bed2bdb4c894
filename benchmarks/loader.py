"""What the loader costs: clips a second beside PyAV alone, and how long a training step waits for its data.

python benchmarks/loader.py DATA [--seconds S] [--workers W] [--step]

DATA is a folder of shards or videos, or a table. PyAV alone opens the same files at the same places with as many
threads and decodes to the last frame that the clip needs, without scaling, cutting or putting together: turns of both
alternate, so that other work on the machine harms them alike. Frames are counted that the clips hold. `--step` gives
lessons of a small STIV (width 128, depth 4) to the same batches, encoded by an untrained autoencoder, and prints which
share of the time a step stood still; and the same of the cached latents of as many clips as fill a shard.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import torch

from vitascope.data.buckets import BucketsConfig
from vitascope.data.cache import CLIPS_PER_SHARD, open_cache
from vitascope.data.loader import Loader, LoaderConfig, MixedConfig, Place
from vitascope.recipes.footage import source_for
from vitascope.recipes.laptop import stiv
from vitascope.system import Lesson, VideoModel
from vitascope.train.initialise import initialised
from vitascope.train.streaming import encoded
from vitascope.types import Batch, Loss, generator_for


def decode_alone(loader: Loader, place: Place, last: int) -> int:
    """Decode a file to the frame `last` from its beginning or the key frame before the clip, as the loader must."""
    sample, facts = loader.sources[place.source].sample(place.row), loader.sources[place.source].table[place.row]
    shape = loader.placements[place.source].shape(place.row)
    first = (last - shape.span + 1) / facts.fps
    content = io.BytesIO(sample.file) if isinstance(sample.file, bytes) else str(sample.file)
    with av.open(content, "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        container.seek(int(first / float(stream.time_base or 1)), stream=stream)
        for frame in container.decode(stream):
            if (frame.time or 0) > (last + 0.5) / facts.fps:
                break
    return shape.num_frames


def turns(loader: Loader, workers: int, seconds: float) -> Iterator[tuple[float, float]]:
    """Frames a second of the loader and of PyAV alone, turn by turn on the same batches."""
    number, until = 0, time.monotonic() + seconds
    with ThreadPoolExecutor(workers) as pool:
        while time.monotonic() < until:
            numbers = range(number, number + workers)
            number += workers
            begun = time.monotonic()
            batches = list(pool.map(loader.batch, numbers))
            ours = sum(batch.pixels.shape[0] * batch.pixels.shape[1] for batch in batches) / (time.monotonic() - begun)
            wanted = [cut for one in numbers for cut in loader.cuts(one)]
            begun = time.monotonic()
            frames = sum(pool.map(lambda one: decode_alone(loader, one[0], one[1].numbers[-1]), wanted))
            yield ours, frames / (time.monotonic() - begun)


def small_model() -> VideoModel:
    run = stiv()
    small = run.model.backbone.model_copy(update={"width": 128, "heads": 2, "depth": 4, "text_width": 128})
    text = run.model.text.model_copy(update={"width": 128, "heads": 2})
    return initialised(run.model.model_copy(update={"backbone": small, "text": text}), 0)


def waiting(batches: Iterator[Any], lesson: Callable[[Any], Loss], seconds: float) -> float:
    """The share of its time for which a training step waits."""
    waited = total = 0.0
    next(batches)  # what the first one costs, a run pays once
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        batch = next(batches)
        got = time.monotonic()
        lesson(batch).total.backward()
        waited, total = waited + got - begun, total + time.monotonic() - begun
    return waited / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--step", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.workers)
    buckets = BucketsConfig(area=64 * 64, lengths=(16,), batch_tokens=4 * 256)
    loader = LoaderConfig(sources=(MixedConfig(path=str(options.data)),), buckets=buckets).build()
    ours, alone = zip(*turns(loader, options.workers, options.seconds), strict=True)
    ratio = statistics.median(one / other for one, other in zip(ours, alone, strict=True))
    print(f"{len(ours)} turns: loader {statistics.median(ours):.0f} frames of clips a second,", end=" ")
    print(f"PyAV alone {statistics.median(alone):.0f}: {ratio:.2f} of it")
    if options.step:
        model = small_model()

        def lesson(batch: Batch) -> Loss:
            return model.loss(batch, Lesson(), generator_for(0))

        stream = loader.batches(workers=options.workers)
        as_it_goes = waiting(stream, lambda batch: lesson(encoded(model, batch)), options.seconds)
        with tempfile.TemporaryDirectory() as folder:
            source = source_for(model.config.defaults, options.data)
            cache = open_cache(Path(folder), source, model.tokenizer, CLIPS_PER_SHARD)
        cached = waiting((cache.batch(step, 32, 0) for step in itertools.count()), lesson, options.seconds)
        print(f"a step waits {as_it_goes:.1%} of its time for clips read as it goes, {cached:.2%} for cached latents")


if __name__ == "__main__":
    main()
