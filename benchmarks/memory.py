"""What sampling is reckoned to take of the memory, by which hopeless requests are refused, against what it takes.

python benchmarks/memory.py [--model DIR]

The most that the allocator gave out while clips were made in two steps, beside the model.
"""

from __future__ import annotations

import argparse

from plan import most_added
from vitascope import Request
from vitascope.sample.legal import legalise
from vitascope.sample.loading import load_own
from vitascope.sample.memory import passes_of, sampling_bytes

SHAPES = ((64, 16, 1), (64, 16, 8), (128, 16, 1), (192, 16, 1), (256, 16, 1), (256, 1, 1), (64, 46, 1))
"""Side in pixels, frames, videos at once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder; the bundled model if absent")
    model = load_own(parser.parse_args().model)
    window = model.system.config.defaults.num_frames
    for side, num_frames, num in SHAPES:
        rules = {"image_first": False}
        wanted = [
            Request("a red circle", size=(side, side), num_frames=num_frames, steps=2, seed=seed, rules=rules)
            for seed in range(num)
        ]
        legal = legalise(model.system, wanted[0])
        passes = passes_of(model.system, legal)
        reckoned = sampling_bytes(model.system, legal.size, num_frames, min(num_frames, window), num, passes)
        taken = most_added(lambda wanted=wanted: model.batch(wanted))
        print(
            f"{num} of {num_frames} frames, {side}x{side}: {reckoned / 2**20:6.0f} MiB reckoned, "
            f"{taken / 2**20:6.0f} taken ({reckoned / taken:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
