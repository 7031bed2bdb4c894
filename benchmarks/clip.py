"""What one default clip of the bundled model costs once the process is up.

python benchmarks/clip.py [--num 5]

Seconds on the clock and of the processor, which on a busy machine are fewer, and these beside the length of the clip.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

import vitascope

PROMPT = "a small red circle moves left on a black background"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--num", type=int, default=5)
    told = parser.parse_args()
    model = vitascope.load()
    clip = model.generate(PROMPT, seed=0)  # the first one is slower
    clock, processor = [], []
    for seed in range(1, told.num + 1):
        begun, used = time.perf_counter(), time.process_time()
        model.generate(PROMPT, seed=seed)
        clock.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
    print(
        f"a clip of {clip.seconds:g} s, {torch.get_num_threads()} threads, median of {told.num}: "
        f"{statistics.median(clock):.2f} s on the clock, {statistics.median(processor):.2f} s of the processor, "
        f"{statistics.median(processor) / clip.seconds:.2f} of its own length"
    )


if __name__ == "__main__":
    main()
