"""Files of several formats, damaged at random by a seed, through the whole engine: each costs itself alone.

python tests/engine/fuzz.py [--num 500] [--seed 0] [--workers 2]

Bytes of good files are flipped, replaced, cut out, put in, swapped or cut off. Whatever came of it, every file is read
or dropped with a reason, kept and dropped frames add up to the decoded ones, and a second run gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script

import numpy as np

from engine.footage import waves, write
from vitascope.engine import executors
from vitascope.engine.config import Curate
from vitascope.engine.run import PAGE, RECORDS, curate
from vitascope.engine.sources import find

ENDINGS = (".mp4", ".mkv", ".avi", ".ts", ".flv", ".mov")


def good(folder: Path) -> list[Path]:
    """Two shots in each format."""
    folder.mkdir(parents=True)
    shots = np.concatenate([waves(26, seed=1), waves(26, seed=2)])
    return [write(folder / f"good{ending}", shots) for ending in ENDINGS]


def mutate(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # Headers are short, and what is wrong there is worse: they get half of the damage.
        place = rng.randrange(min(len(changed), 600)) if rng.random() < 0.5 else rng.randrange(len(changed))
        DAMAGE[rng.randrange(len(DAMAGE))](changed, place, rng)
        if len(changed) < 16:
            break
    return bytes(changed)


def flip(changed: bytearray, place: int, rng: random.Random) -> None:
    changed[place] ^= 1 << rng.randrange(8)


def replace(changed: bytearray, place: int, rng: random.Random) -> None:
    num = rng.choice((1, 4, 64))
    changed[place : place + num] = rng.choice((rng.randbytes(num), bytes(num), b"\xff" * num))


def cut_out(changed: bytearray, place: int, rng: random.Random) -> None:
    del changed[place : place + rng.randrange(1, 64)]


def put_in(changed: bytearray, place: int, rng: random.Random) -> None:
    changed[place:place] = rng.randbytes(rng.randrange(1, 64))


def swap(changed: bytearray, place: int, rng: random.Random) -> None:
    other = rng.randrange(len(changed))
    changed[place : place + 32], changed[other : other + 32] = changed[other : other + 32], changed[place : place + 32]


def cut_off(changed: bytearray, place: int, rng: random.Random) -> None:
    if rng.random() < 0.3:
        del changed[place:]


DAMAGE = (flip, replace, cut_out, put_in, swap, cut_off)


def fuzz(folder: Path, num: int, seed: int, executor: executors.Executor) -> tuple[Counter[str], int, int]:
    """Files by what became of them (numbers in reasons left out), damaged ones that gave frames, and clips kept."""
    raw, out, rng = folder / "raw", folder / "out", random.Random(seed)
    raw.mkdir()
    contents = [(path.suffix, path.read_bytes()) for path in good(folder / "good")]
    for number in range(num):
        ending, content = contents[number % len(contents)]
        (raw / f"{number:05d}{ending}").write_bytes(mutate(content, rng))
    funnel = curate(find([raw], out), out, Curate(), executor)
    before = final_bytes(out)
    assert curate(find([raw], out), out, Curate(), executor) == funnel and final_bytes(out) == before
    records = json.loads((out / RECORDS).read_text())["files"]
    assert len(records) == num == funnel["files"]["given"]
    assert funnel["files"]["read"] + sum(funnel["files"]["dropped"].values()) == num
    assert sum(count["frames"] for count in funnel["pieces"].values()) == funnel["frames"]["decoded"]
    assert all(record["dropped"] or record["num_frames"] >= 1 for record in records)
    became = Counter(re.sub(r"'.*'|\d+", "N", record["dropped"]) or "read" for record in records)
    broken = sum(bool(record.get("damage")) for record in records if not record["dropped"])
    return became, broken, funnel["pieces"].get("kept", {"pieces": 0})["pieces"]


def final_bytes(out: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.iterdir())
        if path.is_file() and path.name != PAGE
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--num", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        became, broken, kept = fuzz(Path(folder), options.num, options.seed, executors.pool(options.workers))
    for reason, count in became.most_common():
        print(f"{count:5d} {reason}")
    print(
        f"{options.num} files, each told of; {broken} of those read end at a fault; {kept} clips kept; twice the same"
    )


if __name__ == "__main__":
    main()
