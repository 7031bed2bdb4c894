"""Counts of what became of all: kept and dropped add up to the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vitascope.engine.annotations import Told
from vitascope.engine.config import Curate, Tier
from vitascope.engine.embedding import AESTHETICS
from vitascope.engine.pieces import Decoded, Piece, without_frames

ABSENT = "sources: named in an annotation and not on disk"


def tier_of(features: dict[str, Any], tiers: Sequence[Tier]) -> str:
    """The last tier, in order, whose every demand is met, each tier standing on the one before; "all" for none."""
    reached = "all"
    for tier in tiers:
        least = {
            "motion": tier.least_motion, "clarity": tier.least_clarity, AESTHETICS: tier.least_aesthetics,
        }  # fmt: skip
        side = min(features["width"], features["height"])
        if any(limit is not None and features[name] < limit for name, limit in least.items()):
            break
        if tier.least_side is not None and side < tier.least_side:
            break
        reached = tier.name
    return reached


def funnel_of(
    records: Sequence[dict[str, Any]],
    pieces: Sequence[Piece],
    files: dict[str, Decoded],
    settings: Curate,
    sets: Sequence[Told] = (),
) -> dict[str, Any]:
    """Counts of files, pieces, frames and seconds by what became of them; kept and dropped add up to the input.

    What annotations name and the disk lacks counts as given and dropped.
    """
    by_reason: dict[str, Counter[str]] = {}
    for piece in pieces:
        count = by_reason.setdefault(piece.dropped or "kept", Counter())
        count.update(pieces=1, frames=piece.num_frames)
        count["seconds"] += piece.num_frames / files[piece.file].facts["fps"]
    tiers = Counter(tier_of(piece.features, settings.tiers) for piece in pieces if not piece.dropped)
    dropped_files = Counter(_reason(record["dropped"]) for record in records if record["dropped"])
    if missing := sum(len(told.missing) for told in sets):
        dropped_files[ABSENT] = missing
    return {
        "files": {"given": len(records) + missing, "read": len(files), "dropped": dict(sorted(dropped_files.items()))},
        "frames": {"decoded": sum(file.facts["num_frames"] for file in files.values())},
        "pieces": {
            reason: {**count, "seconds": round(count["seconds"], 3)} for reason, count in sorted(by_reason.items())
        },
        "tiers": dict(sorted(tiers.items())),
    }


def told_of_sets(
    sets: Sequence[Told], records: Sequence[dict[str, Any]], files: dict[str, Decoded]
) -> list[dict[str, Any]]:
    """What each annotation names and where files differ from it."""
    lasting_otherwise, after_the_end = Counter[str](), Counter[str]()
    for record in records:
        lasting_otherwise[record.get("set", "")] += "differs" in record
    for file in files.values():
        after_the_end[file.about.get("set", "")] += without_frames(file)
    return [
        {
            **told.record(), "files that last otherwise": lasting_otherwise[told.name],
            "clips after the end of their file": after_the_end[told.name],
        }
        for told in sets
    ]  # fmt: skip


def _reason(told: str) -> str:
    """Without what differs from file to file."""
    if told.startswith("duplicates:"):
        return "duplicates: the same bytes as another file"
    return told
