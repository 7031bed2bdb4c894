"""What measuring costs above decoding and the network, and the Fréchet distance beside SciPy's matrix root.

python benchmarks/evaluate.py [--clips 256] [--dims 2048]

Times are of this process alone, on one core, so that other work on the machine harms them little. What an evaluation
does beside decoding and the network (keys, keeping, distances, intervals, extrapolation, floor) should take at most a
tenth of those two: all are of one run, in which a clock runs on while videos are decoded and the network works, so that
a machine that slows down harms both sides alike. How much slower these two become beside the rest (two threads, a
fuller heap) cannot show there: the row of both apart, before and after, does, with the noise of two runs. The distance
should take at most a fifth of SciPy's way. Four times the clips should add no more memory than their features take.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: waiting threads would be counted as work

import numpy as np
import scipy.linalg
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vitascope import media, toyland
from vitascope.evaluate.catalogue import WITHOUT_FILES, Networks, metrics_named
from vitascope.evaluate.metrics.frechet import Moments, frechet_distance
from vitascope.evaluate.metrics.metric import SetMetric
from vitascope.evaluate.networks.features import ClipReader, RandomNetwork
from vitascope.evaluate.protocol import Prepare, Protocol
from vitascope.evaluate.run import evaluate
from vitascope.evaluate.store import Store
from vitascope.evaluate.videos import Taken, VideoFile, find_videos

WIDTH = 64
"""Of the network: far cheaper than I3D, so the share of all else is no smaller here than in earnest."""


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def film(folder: Path, num: int) -> Path:
    """Toyland's scenes as mp4, 64x64, 16 frames."""
    import random

    folder.mkdir()
    for number in range(num):
        scene = toyland.sample(random.Random(f"{folder.name} {number}"), "one")
        media.write(toyland.render(scene), folder / f"{number:05d}.mp4")
    return folder


class Clock:
    """Seconds of processor time of the threads that hold it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        begun = time.thread_time()
        try:
            yield
        finally:
            with self.lock:
                self.seconds += time.thread_time() - begun


@dataclass(frozen=True, eq=False)
class ClockedReader(ClipReader):
    clock: Clock = field(default_factory=Clock)

    def __call__(self, clips: Sequence[Tensor]) -> Tensor:
        with self.clock.running():
            return super().__call__(clips)


@dataclass(frozen=True)
class ClockedVideo(VideoFile):
    clock: Clock = field(default_factory=Clock, compare=False)

    def take(self, protocol: Protocol) -> Taken:
        with self.clock.running():
            taken = super().take(protocol)
        taken.clips = self.clocked(taken.clips)
        return taken

    def clocked(self, clips: Iterator[Tensor]) -> Iterator[Tensor]:
        while True:
            with self.clock.running():
                clip = next(clips, None)
            if clip is None:
                return
            yield clip


def reader(clock: Clock) -> ClipReader:
    about = {"network": "random, untrained", "width": WIDTH}
    return ClockedReader(RandomNetwork(0, WIDTH), about, Prepare(size=64, antialias=True), clock=clock)


def read_only(videos: Sequence[VideoFile], protocol: Protocol) -> None:
    """Decoding and the network alone."""
    network = reader(Clock())
    for video in videos:
        network([*video.take(protocol).clips])


def videos_of(folder: Path, clock: Clock) -> list[VideoFile]:
    return [ClockedVideo(video.path, video.name, clock=clock) for video in find_videos(folder)]


def whole(made: Path, real: Path, protocol: Protocol, store: Store) -> float:
    """Evaluate; seconds of it that went into decoding and the network."""
    clock = Clock()
    network = reader(clock)
    metrics = [
        SetMetric(metric.name, network, metric.distance) if isinstance(metric, SetMetric) else metric
        for metric in metrics_named(WITHOUT_FILES, Networks({}, protocol))
    ]
    evaluate(videos_of(made, clock), videos_of(real, clock), metrics, protocol, store=store, workers=1)
    return clock.seconds


def distances(dims: int) -> tuple[float, float, float]:
    """Seconds of ours and of SciPy's way, and by how much the values differ."""
    rng = np.random.default_rng(0)
    scale = np.exp(-np.arange(dims) / (dims / 5))
    real, made = (torch.from_numpy(rng.normal(size=(2 * dims, dims)) * scale) for _ in range(2))
    first, second = Moments.of(real), Moments.of(made)
    found: list[float] = []

    def by_scipy() -> None:
        one, other = first.covariance(1).numpy(), second.covariance(1).numpy()
        means = (first.mean - second.mean).square().sum().item()
        found.append(means + np.trace(one + other - 2 * scipy.linalg.sqrtm(one @ other).real))

    ours = seconds(lambda: found.append(frechet_distance(first, second)))
    theirs = seconds(by_scipy)
    return ours, theirs, abs(found[0] - found[1]) / abs(found[1])


def peak() -> float:
    """MiB, of this process alone: `getrusage` also tells what its parent held when it began."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def memory_of(clips: int) -> float:
    """Peak MiB of a process that evaluates so many videos."""
    told = subprocess.run(
        [sys.executable, __file__, "--memory", str(clips)], capture_output=True, text=True, check=True
    )
    return float(told.stdout)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--clips", type=int, default=256, help="videos of each set")
    options.add_argument("--dims", type=int, default=2048, help="of the features whose distance is timed")
    options.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if min(chosen.clips, chosen.dims) < 4:
        options.error("--clips and --dims must be at least 4")
    torch.set_num_threads(1)
    protocol = Protocol()
    with tempfile.TemporaryDirectory() as place:
        clips = chosen.memory or chosen.clips
        made, real = film(Path(place) / "made", clips), film(Path(place) / "real", clips)
        store = Store(Path(place) / "features.sqlite")
        if chosen.memory:
            whole(made, real, protocol, store)
            print(peak())
            return
        both = [*find_videos(made), *find_videos(real)]
        read_only(both[:2], protocol)  # what is loaded once
        apart = seconds(lambda: read_only(both, protocol))
        begun = time.process_time()
        alone = whole(made, real, protocol, store)
        every = time.process_time() - begun
        apart = (apart + seconds(lambda: read_only(both, protocol))) / 2
        again = seconds(lambda: whole(made, real, protocol, store))
    ours, theirs, off = distances(chosen.dims)
    table = Table("what", "seconds", "share", title=f"{chosen.clips} videos of each set; {', '.join(WITHOUT_FILES)}")
    table.add_row("decoding and network", f"{alone:.2f}", "")
    table.add_row("the whole evaluation", f"{every:.2f}", f"{every / alone - 1:+.1%}")
    table.add_row("decoding and network apart", f"{apart:.2f}", f"whole {every / apart - 1:+.1%}")
    table.add_row("again, with what was kept", f"{again:.2f}", f"{again / alone:.1%}")
    table.add_row(f"distance, {chosen.dims} dims", f"{ours:.2f}", f"1 / {theirs / ours:.1f} of SciPy's")
    table.add_row("SciPy's matrix root", f"{theirs:.2f}", f"values differ by {off:.1e}")
    Console().print(table)
    few, many = memory_of(max(chosen.clips // 4, 4)), memory_of(chosen.clips)
    Console().print(
        f"peak memory: {few:.0f} MiB for {max(chosen.clips // 4, 4)} videos, {many:.0f} MiB for {chosen.clips}"
    )


if __name__ == "__main__":
    main()
