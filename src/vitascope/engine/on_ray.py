"""Tasks on a cluster, by Ray Data: each node works through its share in processes with the limits of the pool.

So a poisoned file costs itself alone there too, and the results are those of the other executors. The footage and the
folder of the run must be where every node sees them under the same path: what was done is found there again.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitascope.engine.executors import Executor, Limits, Work, pool
from vitascope.errors import UserError, first_line, install

MOST_SHARES = 1000  # into which the tasks are divided: what a node that dies leaves is begun anew


def ray_data(workers: int | None = None) -> Executor:
    """On the cluster that RAY_ADDRESS names or that runs here, else on this machine; `workers` shares at a time."""

    def run(work: Work, tasks: Sequence[Any], limits: Limits) -> Iterator[Any]:
        if not tasks:
            return
        ray = connect()
        # As bytes: Ray would look into the tasks to make columns of them.
        rows = [{"number": number, "task": pickle.dumps(task)} for number, task in enumerate(tasks)]
        shares = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_SHARES))
        given = shares.map_batches(_Share(work, limits), batch_size=None, concurrency=workers)
        done: dict[int, Any] = {}
        following = 0
        try:
            for row in given.iter_rows():
                done[row["number"]] = pickle.loads(row["result"])
                while following in done:
                    yield done.pop(following)
                    following += 1
        except ray.exceptions.RayError as error:
            told = str(error).strip().rpartition("\n")[2]  # what was raised at last; before it, how it came there
            raise UserError(f"Ray gave up ({told}); run the same command again: it goes on where it stopped") from None

    return run


def connect() -> Any:
    """Ray, connected and quiet."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise UserError(f"--engine ray needs Ray: {install('ray')}") from None
    if not ray.is_initialized():
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # so plain is what Ray raises when its processes do not come up
            raise UserError(f"Ray could not be reached or started ({first_line(error)})") from None
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


@dataclass(frozen=True)
class _Share:
    """Some tasks, one after the other, in one process under limits; where Ray runs it there are no others."""

    work: Work
    limits: Limits

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        tasks = [pickle.loads(task) for task in batch["task"]]
        results = [pickle.dumps(result) for result in pool(1)(self.work, tasks, self.limits)]
        return {"number": batch["number"], "result": np.array([*results, None], dtype=object)[:-1]}
