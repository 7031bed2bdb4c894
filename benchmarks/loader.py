"""What the loader costs: clips a second beside PyAV alone, and how long a training step waits for its data.

python benchmarks/loader.py DATA [--seconds S] [--workers W] [--step]

DATA is a folder of shards or videos, or a table. PyAV alone opens the same files at the same places with as many
threads and decodes to the last frame that the clip needs, once without looking at any pixel and once giving the clip's
frames as RGB of full size; it neither scales, cuts nor puts together. Turns of the three alternate, so that other work
on the machine harms them alike. Frames are counted that the clips hold. `--step` gives
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import av
import torch

from vitascope.data.buckets import BucketsConfig
from vitascope.data.cache import CLIPS_PER_SHARD, open_cache
from vitascope.data.loader import Loader, LoaderConfig, MixedConfig, Place
from vitascope.data.transforms import Cut
from vitascope.recipes.footage import source_for
from vitascope.recipes.laptop import stiv
from vitascope.system import Lesson, VideoModel
from vitascope.train.initialise import initialised
from vitascope.train.streaming import encoded
from vitascope.types import Batch, Loss, generator_for


def decode_alone(loader: Loader, place: Place, cut: Cut, *, with_pixels: bool) -> int:
    """Decode a file to the last frame of a clip from its beginning or the key frame before, as a loader must."""
    sample, facts = loader.sources[place.source].sample(place.row), loader.sources[place.source].table[place.row]
    content = io.BytesIO(sample.file) if isinstance(sample.file, bytes) else str(sample.file)
    with av.open(content, "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        container.seek(int(cut.numbers[0] / facts.fps / float(stream.time_base or 1)), stream=stream)
        for frame in container.decode(stream):
            if (frame.time or 0) > (cut.numbers[-1] + 0.5) / facts.fps:
                break
            if with_pixels and round((frame.time or 0) * facts.fps) in cut.numbers:
                frame.to_ndarray(format="rgb24")
    return len(cut.numbers)


def turns(loader: Loader, workers: int, seconds: float) -> Iterator[tuple[float, float, float]]:
    """Frames a second of the loader, of PyAV alone and of PyAV with pixels, turn by turn on the same batches."""
    number, until = 0, time.monotonic() + seconds
    # One thread's time is counted by the processor, so that other work harms it little; that of several by the clock.
    clock = time.process_time if workers == 1 else time.monotonic

    def pace(work: Callable[[], int]) -> float:
        begun = clock()
        frames = work()
        return frames / (clock() - begun)

    with ThreadPoolExecutor(workers) as pool:
        while time.monotonic() < until:
            numbers = range(number, number + workers)
            number += workers
            wanted = [cut for one in numbers for cut in loader.cuts(one)]

            def ours(numbers: range = numbers) -> int:
                batches = pool.map(loader.batch, numbers)
                return sum(batch.pixels.shape[0] * batch.pixels.shape[1] for batch in batches)

            alone, with_pixels = (partial(decode_alone, loader, with_pixels=wish) for wish in (False, True))
            yield pace(ours), *(pace(partial(total, pool, one, wanted)) for one in (alone, with_pixels))


def total(pool: ThreadPoolExecutor, decode: Callable[[Place, Cut], int], wanted: Sequence[tuple[Place, Cut]]) -> int:
    return sum(pool.map(lambda clip: decode(*clip), wanted))


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
    told = list(turns(loader, options.workers, options.seconds))
    ours, alone, pixels = (statistics.median(one) for one in zip(*told, strict=True))
    print(f"{len(told)} turns: loader {ours:.0f} frames of clips a second")
    for name, pace, column in (("PyAV alone", alone, 1), ("PyAV with pixels", pixels, 2)):
        ratio = statistics.median(turn[0] / turn[column] for turn in told)
        print(f"{name} {pace:.0f}: the loader gives {ratio:.2f} of it")
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
