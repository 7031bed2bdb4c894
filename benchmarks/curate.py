"""What curating costs: beside PySceneDetect's detector alone, real time at 720p, two workers beside one, memory.

python benchmarks/curate.py DATA [--rounds 3] [--hours 2] [--only beside,workers,memory]

DATA is a folder of videos. Ours decodes each frame once, finds the scenes and measures every feature that needs no
network; theirs decodes the same files (with OpenCV, the faster of its two ways) and runs the adaptive detector, no
more. Both take turns in one process on one core, and processor time is counted, so that other work on the machine
harms them alike: ours should take less than 1.5 times theirs, and of films of 720 rows and more less than a third of
their length. Two workers, timed by the clock, need two idle cores: 1.8 times one. Memory is the process's own (the rows
of frames are mapped from a file, and the kernel's to drop): a film of two hours, made of one of two minutes without
encoding anything again, should need no more than that one.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: waiting threads would be counted as work

import av
import cv2
import numpy as np

from vitascope.engine import executors
from vitascope.engine.config import Curate
from vitascope.engine.judging import JudgeTask, judge_file
from vitascope.engine.measuring import FRAME, MeasureTask, measure, measure_file
from vitascope.engine.pieces import Decoded, Measured, pieces_of
from vitascope.engine.scenes import transitions
from vitascope.engine.sources import find
from vitascope.media.writing import add_h264

SETTINGS = Curate()
MINUTES = 2
"""Length of the film that a longer one is made of."""


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def ours(path: Path) -> list[object]:
    rows = io.BytesIO()
    video, samples = measure(path, SETTINGS.measuring, rows)
    facts = {"fps": video.fps, "width": video.size[0], "height": video.size[1], "has_audio": video.has_audio}
    facts |= {"pixel_format": video.pixel_format, "is_variable": video.is_variable, "damage": video.damage}
    frames = np.frombuffer(rows.getbuffer(), FRAME)
    changes = transitions(frames, video.fps, SETTINGS.scenes)
    measured = Measured("", path, path.name, facts, frames=frames, samples=samples, changes=changes)
    return list(pieces_of(measured, SETTINGS))


def theirs(path: Path) -> list[object]:
    from scenedetect import AdaptiveDetector, SceneManager, open_video

    manager = SceneManager()
    manager.add_detector(AdaptiveDetector())
    manager.detect_scenes(open_video(str(path)))
    return list(manager.get_scene_list())


def beside(films: list[Path], rounds: int) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    ratios, large, length = [], 0.0, 0.0
    for _ in range(rounds):
        spent = np.array(
            [(seconds(lambda path=path: ours(path)), seconds(lambda path=path: theirs(path))) for path in films]
        )
        ratios.append(spent[:, 0].sum() / spent[:, 1].sum())
        for path, (mine, _) in zip(films, spent, strict=True):
            with av.open(str(path)) as container:
                stream, stated = container.streams.video[0], container.duration or 0
                if stream.height >= 720:
                    large, length = large + mine, length + stated / av.time_base
        print(f"ours {spent[:, 0].sum():.2f} s, PySceneDetect's detector alone {spent[:, 1].sum():.2f} s of one core")
    print(f"{len(films)} films, {rounds} rounds: {statistics.median(ratios):.2f} of its time")
    if large:
        print(f"films of 720 rows and more: {length / large:.1f} times faster than real time on one core")


def workers(films: list[Path]) -> None:
    """The clock's time of one and of two over the same tasks, after each has started up."""
    largest = sorted(films, key=lambda path: path.stat().st_size)[-6:]
    took = {}
    for num in (1, 2, 1, 2):
        with tempfile.TemporaryDirectory() as folder:
            pool = executors.pool(num)
            tasks = [
                MeasureTask(path, Path(folder, str(turn)), SETTINGS.measuring) for turn in range(2) for path in largest
            ]
            limits = executors.Limits(600, 4096)
            begun = time.monotonic()
            made = list(pool(measure_file, tasks, limits))
            took[num] = min(took.get(num, np.inf), time.monotonic() - begun)
            assert all(isinstance(one, dict) for one in made), made
    print(f"one worker {took[1]:.1f} s, two {took[2]:.1f} s: {took[1] / took[2]:.2f} times faster")


def film(path: Path, minutes: float) -> None:
    """Drifting noise in shots of ten seconds, 320x180, 24 frames a second; more than some minutes are written again."""
    rng, fps = np.random.default_rng(0), 24
    short = path if minutes <= MINUTES else path.with_name("once.mp4")
    with av.open(str(short), "w") as container:
        stream = add_h264(container, Fraction(fps), (320, 180), {"crf": "28", "preset": "ultrafast"})
        for _shot in range(int(min(minutes, MINUTES) * 6)):
            picture = cv2.resize(rng.integers(0, 256, (24, 50, 3), np.uint8), (640, 180), interpolation=cv2.INTER_CUBIC)
            for number in range(10 * fps):
                pixels = np.ascontiguousarray(picture[:, number : number + 320])
                container.mux(
                    stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p"))
                )
        container.mux(stream.encode(None))
    if short == path:
        return
    with av.open(str(short)) as container, av.open(str(path), "w") as copy:
        source = container.streams.video[0]
        target, step = copy.add_stream_from_template(source), int(source.duration)
        for turn in range(round(minutes / MINUTES)):
            container.seek(0)
            for packet in container.demux(source):
                if packet.dts is not None:
                    packet.pts, packet.dts, packet.stream = packet.pts + turn * step, packet.dts + turn * step, target
                    copy.mux(packet)


def memory(hours: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        needed = {}
        for minutes in (MINUTES, 60 * hours):
            path = Path(folder, f"{minutes:g}.mp4")
            film(path, minutes)
            begun = time.monotonic()
            told = subprocess.run(
                [sys.executable, __file__, str(path), "--only", "peak"], check=True, capture_output=True
            )
            needed[minutes], num_frames, num_pieces = map(float, told.stdout.split())
            print(
                f"a film of {minutes:g} minutes, {num_frames:.0f} frames, {num_pieces:.0f} pieces: at most "
                f"{needed[minutes]:.0f} MiB of memory, {time.monotonic() - begun:.0f} s"
            )
        print(f"memory of the longer beside the shorter: {needed[60 * hours] / needed[MINUTES]:.2f}")


def peak(path: Path) -> None:
    """Memory at most, frames and pieces of one film, as a worker and then the run treat it."""
    most, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            line = next(
                line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")
            )
            most[0] = max(most[0], int(line.split()[1]) / 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory() as folder:
        facts = measure_file(MeasureTask(path, Path(folder), SETTINGS.measuring))
        judged = judge_file(JudgeTask(Decoded(facts["key"], path, path.name, facts), Path(folder), SETTINGS))
    done.set()
    watcher.join()
    print(most[0], facts["num_frames"], len(judged.pieces))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--only", default="workers,memory,beside")
    options = parser.parse_args()
    films = [source.path for source in find([options.data])]
    parts = options.only.split(",")
    if "workers" in parts:
        workers(films)
    if "memory" in parts:
        memory(options.hours)
    if "beside" in parts:  # last: it binds the process to one core
        beside(films, options.rounds)
    if "peak" in parts:
        peak(options.data)


if __name__ == "__main__":
    main()
