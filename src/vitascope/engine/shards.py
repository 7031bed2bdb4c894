"""Clips into tar files as webdataset reads them, with a Parquet table of all and an index of the tars.

Everything is named after its content: the same clips give the same bytes under the same names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitascope.engine.files import clip_path
from vitascope.media.writing import replace_file

INDEX, MANIFEST = "shards.json", "manifest.parquet"


def write_shards(
    out: Path, work: Path, samples: Sequence[dict[str, Any]], clips_per_shard: int
) -> list[dict[str, Any]]:
    """The tars of `samples`, each a dictionary with a `key`; what is there already is left as it is."""
    ordered = sorted(samples, key=lambda sample: sample["key"])
    index = []
    for begin in range(0, len(ordered), clips_per_shard):
        group = ordered[begin : begin + clips_per_shard]
        notes = [json.dumps(_told(sample), ensure_ascii=False, sort_keys=True).encode() for sample in group]
        digest = hashlib.blake2b(b"\n".join(notes), digest_size=12)
        digest.update("\n".join(sample["key"] for sample in group).encode())
        name = f"{digest.hexdigest()}.tar"
        if not (out / name).is_file():
            _write_tar(out, name, group, notes, work)
        index.append({"name": name, "samples": len(group)})
        for sample in group:
            sample["shard"] = name
    _write_manifest(out, ordered)
    replace_file(out / INDEX, json.dumps({"version": 1, "shards": index}, indent=1).encode())
    for old in out.glob("*.tar"):  # of an earlier run with other settings, once nothing names them any more
        if old.name not in {entry["name"] for entry in index}:
            old.unlink()
    return index


def _told(sample: dict[str, Any]) -> dict[str, Any]:
    """What a sample's json holds."""
    features = sample["features"]
    captions = list(sample["captions"])
    return {
        "caption": captions[0] if captions else "",
        "captions": captions,
        **{name: features[name] for name in ("seconds", "fps", "width", "height")},
        "source": sample["source"],
        "features": features,
    }


def _write_tar(out: Path, name: str, group: Sequence[dict[str, Any]], notes: Sequence[bytes], work: Path) -> None:
    part = out / f".{name}.part"
    try:
        with open(part, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for sample, note in zip(group, notes, strict=True):
                    _add(tar, f"{sample['key']}.mp4", clip_path(work, sample["key"]).read_bytes())
                    _add(tar, f"{sample['key']}.json", note)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, out / name)
    finally:
        part.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """No time, no owner: they would change the bytes."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _write_manifest(out: Path, samples: Sequence[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [
        {
            "key": sample["key"], "shard": sample["shard"], "source": sample["source"], "start": sample["start"],
            "stop": sample["stop"], "tier": sample["tier"], "captions": list(sample["captions"]), **sample["features"],
        }
        for sample in samples
    ]  # fmt: skip
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    replace_file(out / MANIFEST, file.getvalue())
