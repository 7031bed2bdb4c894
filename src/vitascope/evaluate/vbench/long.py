"""VBench-Long: videos of 5 seconds and more are cut into clips, and consistency is also looked at from clip to clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vitascope.errors import UserError
from vitascope.evaluate.vbench.aggregate import long_video, slow_fast
from vitascope.evaluate.vbench.dimensions import Sum, consistency
from vitascope.evaluate.vbench.networks import Embed
from vitascope.types import Clip

CLIP_SECONDS = 2  # of every dimension that is measured here; those of 10 s are left to the official package
NOT_REENCODED = "clips are cut in memory, not written and read again"

SLOW_FILES = {
    "subject_consistency": ("subject_mapping_table.yaml", "sb"),
    "background_consistency": ("background_mapping_table.yaml", "bg"),
}
PARAMETERS = "slow_fast_params.yaml"


@dataclass(frozen=True)
class Slow:
    """How a dimension's score from clip to clip counts: the table that maps it, and weights within and from clip to
    clip."""

    knots: Mapping[float, float]
    weights: tuple[float, float]


def split(clip: Clip, seconds: int = CLIP_SECONDS) -> list[Clip]:
    """Clips of `seconds`; the last is extended backwards to be as long. A shorter video is one clip."""
    length = int(clip.fps) * seconds
    if length < 1:
        raise UserError(f"a video of {clip.fps:g} frames a second cannot be cut into clips of {seconds} s")
    if clip.num_frames <= length:
        return [clip]
    starts = list(range(0, clip.num_frames - length + 1, length))
    if clip.num_frames % length:
        starts.append(clip.num_frames - length)
    return [replace(clip, pixels=clip.pixels[start : start + length]) for start in starts]


def over_clips(parts: list[Clip], score: Callable[[Clip], Sum | None]) -> Sum | None:
    """The mean over the clips that have a score: videos count alike, however long."""
    known = [one.value for one in map(score, parts) if one is not None]
    return Sum(long_video(known), 1) if known else None


def fused(in_clip: Sum | None, parts: list[Clip], slow: Slow, embed: Embed) -> Sum | None:
    """Within clips and from clip to clip, where the clips' first frames are taken for a video."""
    if in_clip is None or len(parts) < 2:
        return in_clip
    firsts = torch.stack([part.pixels[0] for part in parts])
    return Sum(slow_fast(in_clip.value, consistency(embed(firsts)).value, slow.knots, slow.weights), 1)


def read_slow(folder: Path) -> dict[str, Slow]:
    """The official `configs`: two mapping tables and the weights."""
    parameters = read_table(folder / PARAMETERS)
    found = {}
    for name, (table, ending) in SLOW_FILES.items():
        try:
            weights = (parameters[f"w_inclip_{ending}"], parameters[f"w_clip2clip_{ending}"])
        except KeyError as error:
            raise UserError(f"'{folder / PARAMETERS}' has no {error}; give the official file") from None
        found[name] = Slow(read_knots(folder / table), weights)
    return found


def read_knots(path: Path) -> dict[float, float]:
    """A mapping table: what a score from clip to clip means on the scale of those within clips."""
    try:
        knots = {float(name): value for name, value in read_table(path).items()}
    except ValueError as error:
        raise UserError(f"'{path}' must be a table with a line 'knot: value' for each knot ({error})") from None
    if min(knots, default=1.0) > 0 or max(knots, default=0.0) < 1:
        raise UserError(f"'{path}' must have knots from 0 to 1, got {len(knots)}: {sorted(knots)[:3]}")
    return knots


def read_table(path: Path) -> dict[str, float]:
    """A yaml of one level, with a number on each line."""
    try:
        lines = [line.split("#")[0] for line in path.read_text(encoding="utf-8").splitlines()]
        pairs = [line.split(":") for line in lines if line.strip()]
        return {name.strip(): float(value) for name, value in pairs}
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}); give the configs of VBench-Long") from None
    except ValueError as error:
        raise UserError(f"'{path}' must be a table with a line 'knot: value' for each knot ({error})") from None
