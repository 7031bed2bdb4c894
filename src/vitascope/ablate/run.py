"""Running a table: each row trained and measured with each seed, kept as it comes, by whoever takes it first."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vitascope.ablate.folder import read_results, settle, taken, write_result
from vitascope.ablate.measures import REVISION
from vitascope.ablate.table import Measure, Row, Table, begun_with
from vitascope.card import load_model, read_card
from vitascope.config import Amount, Config, to_json
from vitascope.device import usual_device
from vitascope.errors import NonFinite
from vitascope.system import VideoModel
from vitascope.train.folder import RUN
from vitascope.train.loop import fit
from vitascope.train.stages import Run, Stage
from vitascope.types import UserError


class Budget(Config):
    """What every row gets: its own number of steps, `times` as many, or the same minutes.

    Steps are the fair budget, and the paper's: a step is the same lesson for all rows and on every machine, whatever
    else runs there. Minutes let a cheaper row learn more, and are to be trusted on a machine of one's own only.
    """

    times: Amount = 1.0
    minutes: Amount | None = None

    def of(self, run: Run) -> Run:
        if self.minutes is not None:
            # Time is shared out among the stages as their steps were.
            endless = (one.model_copy(update={"steps": 10**9, "share": one.share * one.steps}) for one in run.stages)
            return run.model_copy(update={"minutes": self.minutes, "stages": tuple(endless)})
        return run.model_copy(update={"stages": tuple(map(self._longer, run.stages))})

    def _longer(self, stage: Stage) -> Stage:
        return stage.model_copy(update={"steps": max(round(stage.steps * self.times), 1)})


@dataclass(frozen=True)
class Place:
    """Where a table runs: its folder, the model that its rows begin with, and the cache of latents."""

    folder: Path
    base: Path
    cache: Path | None = None  # within the folder if absent


def ablate(
    table: Table,
    place: Place,
    num_seeds: int,
    budget: Budget,
    only: Collection[str] = (),
    say: Callable[[str], None] = print,
) -> dict[tuple[str, int], dict[str, Any]]:
    """Do what is not done yet, and return all that was measured. One seed of every row comes before the next seed."""
    if num_seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {num_seeds}")
    rows = [table.row(name) for name in only] or list(table.rows)
    if budget != Budget() and not any(row.run for row in rows):
        raise UserError(f"table {table.name} trains nothing: leave --times and --minutes out")
    settle(place.folder, settings_of(table, place.base, budget))
    for seed in range(num_seeds):
        for row in rows:
            with taken(place.folder, row.name, seed) as mine:
                if mine:
                    say(f"{table.name}: {row.name}, seed {seed}")
                    write_result(place.folder, row.name, seed, result_of(row, seed, place, budget, say))
                    tidy(run_folder(place, row, seed))
    done = read_results(place.folder, [row.name for row in table.rows])
    if waiting := [f"{row.name} ({seed})" for seed in range(num_seeds) for row in rows if (row.name, seed) not in done]:
        say(f"others are at work on {', '.join(waiting)}; the same command tells when they are done")
    return done


def settings_of(table: Table, base: Path, budget: Budget) -> dict[str, Any]:
    """All that a result follows from, rows by name. Claims may be added to what was measured before."""
    rows = {row.name: to_json(row) for row in table.rows}
    settings = {
        "table": table.name,
        "measures": REVISION,
        "base": read_card(base).sha256,
        "budget": to_json(budget),
        "rows": rows,
    }
    return json.loads(json.dumps(settings))  # as it is read back


def made_of(base: Path, budget: Budget) -> dict[str, Any]:
    """What all numbers of a page follow from beside its rows."""
    return {"measures": REVISION, "base": read_card(base).sha256[:12], "budget": budget.model_dump()}


def result_of(row: Row, seed: int, place: Place, budget: Budget, say: Callable[[str], None]) -> dict[str, Any]:
    """Train and measure. What is not finite any more, in training or in samples, is a result too."""
    begun = time.monotonic()
    metrics: dict[str, float] = {} if row.run is None else {"diverged": 0.0}
    try:
        model = load_model(place.base) if row.run is None else trained(row, row.run, seed, place, budget)
        model.eval().to(usual_device())
        spent = time.monotonic() - begun
        with torch.no_grad():
            for one in row.measures:
                if not isinstance(one, Measure):
                    raise UserError(f"row {row.name}: {type(one).__name__} measures nothing")
                metrics |= one.measure(model, seed)
    except NonFinite as error:
        say(f"{row.name}, seed {seed}: {error}")
        metrics["diverged"] = 1.0
        return {"metrics": metrics, "seconds": round(time.monotonic() - begun, 1), "diverged": str(error)}
    return {"metrics": metrics, "seconds": round(time.monotonic() - begun, 1), "training_seconds": round(spent, 1)}


def trained(row: Row, run: Run, seed: int, place: Place, budget: Budget) -> VideoModel:
    """The model of a row. A run that was interrupted goes on, and one that has ended is read."""
    folder = run_folder(place, row, seed)
    run = budget.of(begun_with(run, str(place.base.resolve()))).model_copy(update={"seed": seed})
    begun = folder / RUN
    if begun.is_file() and _is_of_another(begun, run):
        shutil.rmtree(folder)  # begun on a machine where the base lies elsewhere
    return fit(run, folder, resume=begun.is_file(), cache_root=place.cache or place.folder / "cache")


def _is_of_another(begun: Path, run: Run) -> bool:
    try:
        return bool(json.loads(begun.read_text()) != json.loads(json.dumps(to_json(run))))
    except ValueError:
        return True  # damaged: of nobody


def run_folder(place: Place, row: Row, seed: int) -> Path:
    return place.folder / "runs" / f"{row.name}.{seed}"


def tidy(folder: Path) -> None:
    """Without what served only the training: its result is kept."""
    for served in ("checkpoints", "stages", "tensorboard"):
        shutil.rmtree(folder / served, ignore_errors=True)
