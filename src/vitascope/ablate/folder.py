"""The folder of an ablation: whose settings it holds, which rows are taken, and what was measured.

Several machines may work in one folder. A row is taken by a lock on its file, which the system lets go of when the
process ends however it ends: nothing is left behind that somebody would have to clean up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vitascope import media
from vitascope.atomic import NoLocks, locked
from vitascope.train.folder import differences, writing
from vitascope.types import UserError

SETTINGS, RESULTS, LOCKS = "table.json", "results", "locks"


def settle(folder: Path, settings: Mapping[str, Any]) -> None:
    """From here on the folder is of these settings; one that was begun with others is refused with the difference.

    Rows that have come later are no difference.
    """
    path = folder / SETTINGS
    with writing(folder):
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
        (folder / RESULTS).mkdir(exist_ok=True)
    with _locked(folder / LOCKS / SETTINGS, wait=True):
        before = _read(path) if path.is_file() else {}
        if (held := before.get("table", settings["table"])) != settings["table"]:
            raise UserError(f"'{folder}' holds table {held}, not {settings['table']}; choose another --out")
        if before and (revision := before.get("measures")) != settings["measures"]:
            raise UserError(
                f"the numbers in '{folder}' are of another revision of the measures (revision {revision or 'unknown'}, "
                f"now {settings['measures']}), with which new ones do not compare; choose another --out"
            )
        if changes := list(differences(before, dict(settings))):
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise UserError(
                f"'{folder}' was begun with other settings: {'; '.join(changes[:3])}{more}. Choose another --out, or "
                "ask for what it was begun with"
            )
        with writing(folder):
            media.replace_file(path, json.dumps(settings, indent=1).encode())


@contextmanager
def taken(folder: Path, row: str, seed: int) -> Iterator[bool]:
    """Whether a row is ours to work on: neither done nor being worked on by another process, here or elsewhere."""
    with _locked(folder / LOCKS / f"{row}.{seed}", wait=False) as mine:
        yield mine and not _result(folder, row, seed).is_file()


@contextmanager
def _locked(path: Path, wait: bool) -> Iterator[bool]:
    with ExitStack() as held:
        try:
            mine = held.enter_context(locked(path, wait=wait))
        except NoLocks as error:
            raise UserError(
                f"'{path.parent}' is on a file system without locks ({error}); choose another --out"
            ) from None
        yield mine


def write_result(folder: Path, row: str, seed: int, result: Mapping[str, Any]) -> None:
    with writing(folder):
        media.replace_file(_result(folder, row, seed), json.dumps(result, indent=1).encode())


def read_results(folder: Path, rows: list[str]) -> dict[tuple[str, int], dict[str, Any]]:
    """What has been measured of these rows so far, by row and seed."""
    found = {}
    for path in sorted((folder / RESULTS).glob("*.json")):
        row, _, seed = path.stem.rpartition(".")
        if row in rows and seed.isdecimal():
            found[row, int(seed)] = _read(path)
    return found


def _result(folder: Path, row: str, seed: int) -> Path:
    return folder / RESULTS / f"{row}.{seed}.json"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' is damaged ({error}); remove it, and it is made again") from None
