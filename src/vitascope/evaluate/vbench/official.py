"""The official packages as programs: their dependencies cannot live beside ours, so each runs in its own environment.

Every dimension is one run of the program, which says what it wants on the command line and leaves a JSON file. What it
printed stays beside, and a dimension that is done is not asked for again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitascope import media
from vitascope.checksums import sha256_of
from vitascope.errors import UserError
from vitascope.evaluate.vbench.aggregate import VBENCH_LONG, Suite, official_name
from vitascope.evaluate.vbench.files import Prompt, find_videos, incomplete, read_prompts, stamp_of
from vitascope.evaluate.vbench.report import SuiteReport, from_official, merged, read_json

ENOUGH_TAIL = 2000  # characters of what a failing program said
RESULTS = "*_eval_results.json"
WANTED: Mapping[str, tuple[str, ...]] = {VBENCH_LONG.name: ("--mode", "long_vbench_standard")}
"""Words that a package needs beside those that all take; left out where the user's command says otherwise."""


@dataclass(frozen=True)
class Bridge:
    """What to run, such as ("/envs/vbench/bin/vbench", "evaluate"), on which videos, and where results are kept."""

    command: Sequence[str]
    videos: Path
    prompts: Path  # the official file of records
    out: Path
    suite: Suite
    model: str
    timeout_seconds: float | None = None  # for each dimension


def measure_official(
    bridge: Bridge, wanted: Sequence[str] = (), *, progress: Callable[[int, int], None]
) -> SuiteReport:
    """All `wanted` dimensions. One that fails is listed with what the program said, and the others go on."""
    if shutil.which(bridge.command[0]) is None:
        raise UserError(f"'{bridge.command[0]}' is no program that can be started; give the one in its environment")
    prompts = read_prompts(bridge.prompts, bridge.suite)
    asked = {name for prompt in prompts for name in prompt.dimensions}
    names = list(wanted) or [name for name in bridge.suite.dimensions if name in asked]
    for name in names:
        if name not in asked:
            raise UserError(f"'{bridge.prompts}' has no prompt for '{name}'; it has {', '.join(sorted(asked))}")
    parts, failed = [], {}
    for number, name in enumerate(names, 1):
        try:
            parts.append(one_dimension(bridge, name, [one for one in prompts if name in one.dimensions]))
        except UserError as error:
            failed[name] = str(error)
        progress(number, len(names))
    if not parts:
        raise UserError(f"the official package measured nothing; {next(iter(failed.values()))}")
    report = merged(parts)
    return report.model_copy(update={"protocol": {**report.protocol, "failed": failed}})


def one_dimension(bridge: Bridge, dimension: str, prompts: Sequence[Prompt]) -> SuiteReport:
    """As kept from an earlier run on the same videos, else measured now."""
    found, missing = find_videos(bridge.videos, prompts)
    folder = bridge.out / dimension
    folder.mkdir(parents=True, exist_ok=True)
    protocol: dict[str, Any] = {
        "command": words_for(bridge, dimension, prompts[0], folder),
        "prompts": {"file": bridge.prompts.name, "sha256": sha256_of(bridge.prompts)},
        "content": digest_of(sorted(found)),
        "videos_found": len(found),
        "missing_videos": len(missing),
    }
    kept = folder / "report.json"
    told = read_kept(kept)
    if told is not None and all(told.protocol.get(key) == value for key, value in protocol.items()):
        return told.model_copy(update={"model": bridge.model})
    content, path, said = run(protocol["command"], dimension, folder, bridge.timeout_seconds)
    report = from_official({dimension: value_of(content, dimension, path)}, path, bridge.model, bridge.suite.name)
    part = incomplete(dimension, bridge.suite, prompts, found)
    measured = {dimension: report.dimensions[dimension].model_copy(update={"departures": part})}
    whole = {**report.protocol, **protocol, "version": version_told(said)}
    report = report.model_copy(update={"dimensions": measured, "protocol": whole})
    media.replace_file(kept, report.model_dump_json(indent=1).encode())
    return report


def read_kept(path: Path) -> SuiteReport | None:
    """What an earlier run left, unless it is of another version."""
    try:
        return SuiteReport.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def words_for(bridge: Bridge, dimension: str, prompt: Prompt, folder: Path) -> list[str]:
    more = WANTED.get(bridge.suite.name, ())
    own = more if not set(more[:1]) & set(bridge.command) else ()
    # Whole paths, for programs that go to a folder of their own first.
    return [
        *bridge.command, *own,
        "--videos_path", str((bridge.videos / prompt.folder).resolve()),
        "--dimension", prompt.folder or dimension,
        "--output_path", str(folder.resolve()),
        "--full_json_dir", str(bridge.prompts.resolve()),
    ]  # fmt: skip


def run(
    words: Sequence[str], dimension: str, folder: Path, timeout_seconds: float | None
) -> tuple[Mapping[str, Any], Path, str]:
    """The file that the program left, where it is, and what it printed. The program and all that it started end."""
    before = {path: path.stat().st_mtime_ns for path in folder.glob(RESULTS)}
    log = folder / "log.txt"
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise UserError(f"'{words[0]}' cannot be started ({error.strerror}); mend it") from None
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"the official package did not end within {timeout_seconds:g} s at {dimension} and was stopped; "
                f"what it said is in '{log}'; give it longer with --timeout"
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        raise UserError(f"the official package {how} at {dimension}: {said[-ENOUGH_TAIL:].strip() or 'without a word'}")
    made = [path for path in folder.glob(RESULTS) if before.get(path) != path.stat().st_mtime_ns]
    if not made:
        raise UserError(f"the official package wrote no {RESULTS} into '{folder}' for {dimension}; see '{log}'")
    newest = max(made, key=lambda path: path.stat().st_mtime_ns)
    content = read_json(newest)
    if not isinstance(content, dict):
        raise UserError(f"'{newest}' must hold values by the name of their dimension, got {str(content)[:40]!r}")
    return content, newest, said


def value_of(content: Mapping[str, Any], dimension: str, path: Path) -> Any:
    """What the file says of a dimension, however spelled."""
    by_name = {official_name(name): value for name, value in content.items()}
    if dimension not in by_name:
        raise UserError(f"'{path}' has no '{dimension}'; it has {', '.join(by_name) or 'nothing'}")
    value = by_name[dimension]
    score = value[0] if isinstance(value, list) and value else value
    if score is None or (isinstance(score, float) and math.isnan(score)):
        raise UserError(f"'{path}': the official package found no video for {dimension}; check their names")
    return value


def digest_of(paths: Sequence[Path]) -> str:
    """Changes when a video comes, goes or is written anew; the videos themselves are not read."""
    seen = [(path.name, *stamp_of(path)) for path in paths]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32]


def version_told(text: str) -> str:
    """What the program says of itself, if it does."""
    found = re.search(r"vbench[ =v]*(\d+(?:\.\d+)+)", text, re.IGNORECASE)
    return found.group(1) if found else "not told"
