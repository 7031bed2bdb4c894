"""The dimensions of VBench, VBench-I2V and VBench-Long that are measured here, over a folder of videos."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from vitascope import media
from vitascope.config import nearest
from vitascope.endpoint import Kept
from vitascope.errors import UserError, first_line, is_out_of_memory
from vitascope.evaluate.vbench.aggregate import VBENCH, VBENCH_LONG, Suite
from vitascope.evaluate.vbench.dimensions import Sum
from vitascope.evaluate.vbench.files import SAMPLES, Prompt, find_videos, incomplete, stamp_of
from vitascope.evaluate.vbench.long import fused, over_clips, split
from vitascope.evaluate.vbench.report import SuiteReport, over_videos
from vitascope.evaluate.vbench.ways import DIMENSIONS, Case, Given, counts_frames, missing_networks


def measure(
    folder: Path,
    prompts: Sequence[Prompt],
    given: Given,
    *,
    model: str,
    suite: Suite = VBENCH,
    wanted: Sequence[str] = (),
    kept: Path | None = None,
    progress: Callable[[int, int], None],
) -> SuiteReport:
    """Every dimension for which there are videos and a network; one decoding serves all. Without `wanted`, all.

    Scores of single videos are written to `kept` as they come, and one that is there already is not measured again.
    """
    table = DIMENSIONS[suite.name]
    if not table:
        raise UserError(f"nothing of {suite.name} is measured here; use --official, which runs its package")
    for name in wanted:
        if name not in table:
            raise UserError(f"'{name}' is not measured here; {nearest(name, list(table))}; else use --official")
    chosen = {name: one for name, one in table.items() if not wanted or name in wanted}
    left_out = {name: lacking for name, one in chosen.items() if (lacking := missing_networks(name, one, given))}
    found, missing = find_videos(folder, prompts)
    scores, skipped = Scores(suite, given, Kept(kept)), list[str]()
    sums: dict[str, dict[Path, Sum]] = {name: {} for name in chosen if name not in left_out}
    enough: dict[tuple[str, str], int] = {}
    lost, looked_at, passed_over = Counter[str](), Counter[str](), Counter[str]()
    for number, (path, prompt) in enumerate(found.items(), 1):
        asked = [name for name in sums if name in prompt.dimensions]
        asked = [name for name in asked if enough.get((name, prompt.text), 0) < SAMPLES]  # the first five static ones
        told, failed = scores.of(path, prompt, asked)
        skipped += failed
        lost.update(set(asked) - set(told))
        looked_at.update([*told])
        passed_over.update(name for name, score in told.items() if score is None)
        for name, score in told.items():
            if score is not None:
                sums[name][path] = score
                enough[name, prompt.text] = enough.get((name, prompt.text), 0) + 1
        progress(number, len(found))
    measured = {}
    for name, values in sums.items():
        by_frames = counts_frames(name, suite, given.quirks)
        units = [one if by_frames else Sum(one.value, 1) for one in values.values()]
        if units:
            departures = (
                *table[name].departs(name, suite, given.quirks), *incomplete(name, suite, prompts, found),
                *((f"{lost[name]} videos that could not be measured",) if lost[name] else ()),
            )  # fmt: skip
            totals, counts = [one.total for one in units], [one.count for one in units]
            measured[name] = over_videos(totals, counts, departures, [str(path) for path in values])
    not_counted = {
        name: f"{num} of {looked_at[name]} videos are not {table[name].only}"
        + ("" if name in measured else ", so that it has no value")
        for name, num in passed_over.items()
    }
    if not measured:
        why = [
            *skipped, *(f"{name}: {told}" for name, told in not_counted.items()),
            *(f"{name} needs {', '.join(lacking)}" for name, lacking in left_out.items()),
        ]  # fmt: skip
        raise UserError(f"nothing in '{folder}' could be measured: {'; '.join(why) or 'no video of these dimensions'}")
    protocol = {
        "version": version("vitascope"), "networks": dict(given.networks.names), "quirks": given.quirks.of_dimensions(),
        "missing_as_zero": given.quirks.missing_as_zero,
        "slow_fast": bool(given.slow), "missing_videos": len(missing), "skipped": skipped, "left_out": left_out,
        "not_counted": not_counted,
    }  # fmt: skip
    return SuiteReport(suite=suite.name, model=model, dimensions=measured, protocol=protocol)


@dataclass(frozen=True)
class Scores:
    """The scores of single videos, from what was kept where that is possible."""

    suite: Suite
    given: Given
    kept: Kept

    def of(self, path: Path, prompt: Prompt, names: Sequence[str]) -> tuple[dict[str, Sum | None], list[str]]:
        """By dimension, and what of the video could not be measured, with the reason."""
        failed = []
        try:
            keys = {name: self.key(path, prompt, name) for name in names}
        except UserError as error:
            return {}, [f"{path.name}: {error}"]
        if any(key not in self.kept.known for key in keys.values()):
            try:
                case = Case(media.read_video(path), prompt, self.given)
            except UserError as error:
                return {}, [f"{path.name}: {error}"]
            for name, key in keys.items():
                if key not in self.kept.known:
                    try:
                        score = self.measured(name, case)
                        refuse_no_number(score)
                    except UserError as error:
                        failed.append(f"{path.name}, {name}: {error}")
                        continue
                    except RuntimeError as error:  # torch's, of a network that cannot take such a video
                        if is_out_of_memory(error):
                            raise
                        failed.append(f"{path.name}, {name}: the network cannot read it ({first_line(error)})")
                        continue
                    told = None if score is None else [score.total, score.count]
                    self.kept.add(key, json.dumps(told), video=path.name, dimension=name)
        known = {name: json.loads(self.kept.known[key]) for name, key in keys.items() if key in self.kept.known}
        return {name: None if one is None else Sum(*one) for name, one in known.items()}, failed

    def measured(self, name: str, case: Case) -> Sum | None:
        dimension = DIMENSIONS[self.suite.name][name]
        if self.suite is not VBENCH_LONG:
            return dimension.score(case)
        parts = split(case.clip)
        within = over_clips(parts, lambda part: dimension.score(replace(case, clip=part)))
        slow = self.given.slow.get(name)
        embed = getattr(self.given.networks, dimension.slow) if slow is not None else None
        return within if slow is None or embed is None else fused(within, parts, slow, embed)

    def key(self, path: Path, prompt: Prompt, name: str) -> str:
        """All that the score follows from."""
        dimension, networks = DIMENSIONS[self.suite.name][name], self.given.networks
        slow = self.given.slow.get(name)
        about = [
            version("vitascope"), self.suite.name, name, str(path.resolve()), *stamp_of(path),
            prompt.text, prompt.image, str(self.given.images), prompt.about, self.given.quirks.of_dimensions(),
            [networks.names.get(need) for need in dimension.needs],
            None if slow is None else [sorted(slow.knots.items()), slow.weights, networks.names.get(dimension.slow)],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def refuse_no_number(score: Sum | None) -> None:
    if score is not None and not math.isfinite(score.value):
        raise UserError("its score is no finite number; check the network, or leave the video out")
