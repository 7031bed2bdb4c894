"""A real Ray on this machine gives what the other executors give, byte for byte, and keeps their limits."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.footage import waves, write
from engine.fuzz import final_bytes
from vitascope.engine import executors
from vitascope.engine.config import Curate
from vitascope.engine.on_ray import ray_data
from vitascope.engine.run import curate
from vitascope.engine.sources import find

ray = pytest.importorskip("ray", reason="Ray is not installed")

pytestmark = pytest.mark.filterwarnings("default")  # Ray warns of its own future


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    ray.shutdown()


def test_three_executors_write_the_same_bytes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for seed in (1, 2):
        write(raw / f"{seed}.mp4", waves(26, seed=seed))
    (raw / "broken.mp4").write_bytes(random.Random(5).randbytes(5000))
    funnels = [
        curate(find([raw]), tmp_path / name, Curate(), executor)
        for name, executor in (("ray", ray_data(1)), ("here", executors.in_process), ("pool", executors.pool(2)))
    ]
    assert funnels[0] == funnels[1] == funnels[2] and funnels[0]["pieces"]["kept"]["pieces"] == 2
    assert final_bytes(tmp_path / "here") == final_bytes(tmp_path / "pool") == final_bytes(tmp_path / "ray")


def test_a_poisoned_task_costs_itself_alone() -> None:
    """Tasks are expressions: their function must be known where Ray runs it, which one of this file is not."""
    kills = "__import__('os').kill(__import__('os').getpid(), 11)"
    tasks = ["0", kills, "[][0]", "bytearray(2000 << 20)", "4"]
    zero, killed, poisoned, large, last = ray_data(1)(eval, tasks, executors.Limits(60.0, 300))
    assert (zero, last) == (0, 4)
    assert "exit code -11" in killed.reason and "IndexError" in poisoned.reason and "memory" in large.reason
