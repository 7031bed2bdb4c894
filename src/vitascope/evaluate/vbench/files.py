"""VBench's own files: which prompts serve which dimensions, how videos are named; the official package as a program."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitascope.errors import UserError
from vitascope.evaluate.vbench.aggregate import VBENCH, Suite, official_name
from vitascope.evaluate.vbench.report import SuiteReport, from_official, read_json

SAMPLES, FLICKERING_SAMPLES = 5, 25  # videos of a prompt; more of those from which static ones are chosen
ENOUGH_TAIL = 2000  # characters of what a failing program said


@dataclass(frozen=True)
class Prompt:
    """A sentence, the dimensions that it serves, and what their judges need to know beside it."""

    text: str
    dimensions: tuple[str, ...]
    about: Any  # of VBench a table by dimension, of VBench-2.0 a list or a word
    image: str = ""  # of VBench-I2V: the file that the video begins with

    @property
    def samples(self) -> int:
        return FLICKERING_SAMPLES if "temporal_flickering" in self.dimensions else SAMPLES

    def file(self, index: int) -> str:
        return f"{self.text}-{index}.mp4"


def read_prompts(path: Path, suite: Suite = VBENCH) -> list[Prompt]:
    """The official `..._full_info.json`, checked: names of dimensions, sentences, none twice for one dimension."""
    records = read_json(path)
    if not isinstance(records, list) or not records:
        raise UserError(f"'{path}' must be a list of prompts such as VBench_full_info.json, got {str(records)[:40]!r}")
    known = {*suite.dimensions, "temporal_flickering"}
    prompts, seen = [], set()
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict) or not isinstance(record.get("prompt_en"), str) or not record["prompt_en"]:
            raise UserError(f"'{path}': record {number} has no sentence 'prompt_en'; got {str(record)[:80]!r}")
        dimensions = tuple(official_name(name) for name in record.get("dimension") or ())
        if not dimensions or not known.issuperset(dimensions):
            strange = sorted(set(dimensions) - known) or ["none"]
            raise UserError(f"'{path}': record {number} must name dimensions of {suite.name}, got {', '.join(strange)}")
        text, image = record["prompt_en"], record.get("image_name", "")
        for name in dimensions:
            if (text, name, image) in seen:
                raise UserError(f"'{path}': record {number} repeats '{text}' for {name}; give each prompt once")
            seen.add((text, name, image))
        prompts.append(Prompt(text, dimensions, record.get("auxiliary_info") or {}, image))
    return prompts


def numbers_by_dimension(prompts: Sequence[Prompt]) -> dict[str, int]:
    names = dict.fromkeys(name for prompt in prompts for name in prompt.dimensions)
    return {name: sum(name in prompt.dimensions for prompt in prompts) for name in names}


def find_videos(folder: Path, prompts: Sequence[Prompt]) -> tuple[dict[Path, Prompt], list[str]]:
    """The videos of a folder by the official names, and which files are missing."""
    if not folder.is_dir():
        raise UserError(f"'{folder}' must be a folder of videos named 'PROMPT-0.mp4'; there is none")
    there = {path.name: path for path in folder.iterdir()}
    found, missing = {}, []
    for prompt in prompts:
        for index in range(prompt.samples):
            if path := there.get(prompt.file(index)):
                found[path] = prompt
            else:
                missing.append(prompt.file(index))
    if not found:
        raise UserError(f"'{folder}' has no video of these prompts; name them like '{prompts[0].file(0)}'")
    return found, missing


def export(videos: Mapping[str, Sequence[Path]], folder: Path) -> list[Path]:
    """Link each prompt's videos into a folder under their official names; copying would double the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for text, paths in videos.items():
        if "/" in text or "\0" in text:
            raise UserError(f"the prompt '{text}' cannot be a file's name; official names are the prompts themselves")
        for index, path in enumerate(paths):
            link = folder / f"{text}-{index}{path.suffix.lower()}"
            if link.exists() or link.is_symlink():
                raise UserError(f"'{link}' is already there; export into an empty folder")
            link.symlink_to(path.resolve())
            made.append(link)
    return made


def run_official(
    command: Sequence[str], videos: Path, dimension: str, out: Path, full_info: Path, model: str | None = None
) -> SuiteReport:
    """Let the official package, in an environment of its own, measure one dimension, and read what it wrote.

    `command` starts it, such as ("/envs/vbench/bin/vbench", "evaluate"): its dependencies cannot live beside ours.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = set(out.glob("*_eval_results.json"))
    words = [
        *command, "--videos_path", str(videos), "--dimension", dimension, "--output_path", str(out),
        "--full_json_dir", str(full_info),
    ]  # fmt: skip
    try:
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(
            f"'{command[0]}' cannot be started ({error.strerror}); give the program in its environment"
        ) from None
    if ended.returncode:
        raise UserError(
            f"the official package ended with {ended.returncode} at {dimension}: {ended.stderr[-ENOUGH_TAIL:].strip()}"
        )
    made = sorted(set(out.glob("*_eval_results.json")) - before, key=lambda path: path.stat().st_mtime)
    if not made:
        raise UserError(f"the official package wrote no *_eval_results.json into '{out}' for {dimension}")
    content = read_json(made[-1])
    report = from_official(content, made[-1], model or videos.name, VBENCH.name)
    protocol = {"command": words, "videos": videos_of(content), "version": version_told(ended.stdout + ended.stderr)}
    return report.model_copy(update={"protocol": {**report.protocol, **protocol}})


def videos_of(content: Mapping[str, Any]) -> int:
    return sum(len(value[1]) for value in content.values() if isinstance(value, list) and len(value) == 2)


def version_told(text: str) -> str:
    """What the program says of itself, if it does."""
    found = re.search(r"vbench[ =v]*(\d+(?:\.\d+)+)", text, re.IGNORECASE)
    return found.group(1) if found else "not told"


def read_knots(path: Path) -> dict[float, float]:
    """A mapping table of VBench-Long (`subject_mapping_table.yaml`): lines of two numbers, for `vbench.slow_fast`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        pairs = [line.split("#")[0].split(":") for line in lines if line.split("#")[0].strip()]
        knots = {float(one): float(other) for one, other in pairs}
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' must be a table with a line 'knot: value' for each knot ({error})") from None
    if min(knots, default=1.0) > 0 or max(knots, default=0.0) < 1:
        raise UserError(f"'{path}' must have knots from 0 to 1, got {len(knots)}: {sorted(knots)[:3]}")
    return knots
