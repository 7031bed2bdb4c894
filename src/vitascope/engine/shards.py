"""Curated clips as shards, in the layout that training reads: the same clips give the same bytes and names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vitascope.data.shards import SHARDS, Record, write_shards
from vitascope.engine.cutting import clip_path

OURS = re.compile(r"\d{5,}-[0-9a-f]{12}\.tar")
"""How shards are named."""


def write(out: Path, work: Path, samples: Sequence[dict[str, Any]], clips_per_shard: int) -> None:
    """Shards of `samples` in the order of their keys; those of an earlier run with other settings go, at the end."""
    write_shards(out, _records(sorted(samples, key=lambda sample: sample["key"]), work), clips_per_shard)
    named = {entry["name"] for entry in json.loads((out / SHARDS).read_text())["shards"]}
    for old in out.glob("*.tar"):
        if old.name not in named and OURS.fullmatch(old.name):
            old.unlink()


def _records(samples: Sequence[dict[str, Any]], work: Path) -> Iterator[Record]:
    for sample in samples:
        features, captions = sample["features"], list(sample["captions"])
        about = {
            "caption": captions[0] if captions else "",
            "captions": captions,
            **{name: features[name] for name in ("seconds", "fps", "width", "height")},
            **{name: sample[name] for name in ("source", "start", "stop", "tier", "annotation")},
            "features": features,
        }
        yield Record(sample["key"], clip_path(work, sample["key"]).read_bytes(), ".mp4", about)
