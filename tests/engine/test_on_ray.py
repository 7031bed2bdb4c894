"""A real Ray on this machine gives what the other executors give, byte for byte, and keeps their limits."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.footage import waves, write
from engine.fuzz import final_bytes
from vitascope.engine import executors
from vitascope.engine.config import Curate
from vitascope.engine.decoding import NotAVideo
from vitascope.engine.on_ray import ray_data
from vitascope.engine.run import curate
from vitascope.engine.sources import find

ray = pytest.importorskip("ray", reason="Ray is not installed")

pytestmark = pytest.mark.filterwarnings("default")  # Ray warns of its own future


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    ray.shutdown()


def behaves(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 2:
        raise NotAVideo("is poisoned")
    if number == 3:
        bytearray(2000 << 20)
    return number


def test_three_executors_write_the_same_bytes_and_a_poisoned_task_costs_itself_alone(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for seed in (1, 2):
        write(raw / f"{seed}.mp4", waves(26, seed=seed))
    (raw / "broken.mp4").write_bytes(random.Random(5).randbytes(5000))
    on_ray = ray_data(1)
    funnels = [
        curate(find([raw]), tmp_path / name, Curate(), executor)
        for name, executor in (("ray", on_ray), ("here", executors.in_process), ("pool", executors.pool(2)))
    ]
    assert funnels[0] == funnels[1] == funnels[2] and funnels[0]["pieces"]["kept"]["pieces"] == 2
    assert final_bytes(tmp_path / "here") == final_bytes(tmp_path / "pool") == final_bytes(tmp_path / "ray")

    zero, killed, poisoned, large, last = on_ray(behaves, [0, 1, 2, 3, 4], executors.Limits(60.0, 300))
    assert (zero, last) == (0, 4)
    assert "exit code -11" in killed.reason and poisoned.reason == "is poisoned" and "memory" in large.reason
