"""Shards of training data: tar files in the layout of WebDataset, read by place and written to the last byte alike.

A sample is what shares a name up to its first dot: `KEY.mp4` (or a picture) and `KEY.json`. `shards.json` lists the
tars with their numbers of samples, `manifest.parquet` has a row for each sample.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from vitascope.checksums import sha256_of
from vitascope.data.decoding import Facts, probe
from vitascope.data.folder import ENDINGS
from vitascope.data.footage import Ledger, Sample, Table, Told, Track, digest_of
from vitascope.media import make_folder, replace_file
from vitascope.types import UserError

SHARDS, MANIFEST = "shards.json", "manifest.parquet"
BLOCK = 512
SAMPLES_PER_SHARD = 1000


@dataclass(frozen=True)
class Member:
    """A file inside a tar: its bytes begin at `offset`."""

    name: str
    offset: int
    size: int


def members(tar: Path) -> Iterator[Member]:
    """The files inside a tar, found by its headers alone; raises ValueError where the tar is damaged or cut off."""
    with open(tar, "rb") as file:
        total, place, longer = os.fstat(file.fileno()).st_size, 0, dict[str, str]()
        while place < total:
            file.seek(place)
            header = file.read(BLOCK)
            if header.count(0) == BLOCK:
                return
            size, kind = _checked(header, place), header[156:157]
            content, after = place + BLOCK, place + BLOCK + -(-size // BLOCK) * BLOCK
            if content + size > total:
                raise ValueError(f"cut off at byte {total:,}, within the file that begins at {place:,}")
            if kind in b"xL":
                longer |= _extended(file, content, size, kind)
            elif kind in (b"0", b"\0"):
                size = int(longer.get("size", size))
                yield Member(longer.get("path") or _name(header), content, size)
                after, longer = content + -(-size // BLOCK) * BLOCK, {}
            else:
                longer = {}
            place = after


def _checked(header: bytes, place: int) -> int:
    """The size that a header states, if it is whole."""
    try:
        stated = int(header[148:156].strip(b" \0") or b"x", 8)
        # The header's sum counts its own eight bytes as spaces.
        intact = len(header) == BLOCK and stated == sum(header[:148]) + sum(header[156:]) + 8 * 32
        if intact and header[124] & 0x80:  # past 8 GiB: a binary number
            return int.from_bytes(header[125:136])
        size = int(header[124:136].strip(b" \0") or b"0", 8)
    except (ValueError, IndexError):
        intact = False
    if not intact:
        raise ValueError(f"damaged at byte {place:,}, where a header should be")
    return size


def _extended(file: BinaryIO, content: int, size: int, kind: bytes) -> dict[str, str]:
    """What a header before the header says: long names, and sizes past 8 GiB."""
    file.seek(content)
    data = file.read(size)
    if kind == b"L":
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    said = {}
    while data:
        length = int(data[: data.index(b" ")])
        name, _, value = data[data.index(b" ") + 1 : length - 1].partition(b"=")
        said[name.decode()] = value.decode("utf-8", "surrogateescape")
        data = data[length:]
    return said


def _name(header: bytes) -> str:
    name, prefix = (header[start:end].split(b"\0")[0] for start, end in ((0, 100), (345, 500)))
    joined = prefix + b"/" + name if prefix and header[257:262] == b"ustar" else name
    return joined.decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Entry:
    """A sample inside a tar."""

    key: str
    media: Member
    text: Member


@lru_cache(64)
def index(tar: Path, size: int, changed: int) -> tuple[tuple[Entry, ...], tuple[tuple[str, str], ...]]:
    """The samples of a tar in their order; and what is none, as names with reasons."""
    grouped: dict[str, dict[str, Member]] = {}
    wrong: list[tuple[str, str]] = []
    try:
        for member in members(tar):
            folder, slash, name = member.name.rpartition("/")
            stem, _, ending = name.partition(".")
            grouped.setdefault(folder + slash + stem, {})[f".{ending.lower()}"] = member
    except ValueError as error:
        wrong.append((tar.name, f"shard {error}"))
    entries = []
    for key, files in grouped.items():
        shown = [one for ending, one in files.items() if ending in ENDINGS]
        if not shown or ".json" not in files:
            wrong.append((key, f"sample without {'a video or picture' if not shown else 'a json'}"))
        else:
            entries.append(Entry(key, shown[0], files[".json"]))
    return tuple(entries), tuple(wrong)


class Shards:
    """Footage in tars. Only facts are held; captions and videos are read when they are asked for."""

    def __init__(self, tars: Sequence[Path], table: Table, identity: str, told: Told) -> None:
        self.tars, self.table, self.identity, self.told = tars, table, identity, told

    def sample(self, row: int) -> Sample:
        tar = self.tars[self.table.shard[row]]
        entry = _index(tar)[0][self.table.offset[row]]
        return Sample(entry.key, captions_of(_json(tar, entry)), _bytes(tar, entry.media))


def open_shards(folder: Path, track: Track = lambda items: items) -> Shards:
    """The shards that `shards.json` in `folder` lists. What is in the list and not in the tars is counted."""
    ledger, listed = Ledger(), _listed(folder)
    tars: list[Path] = []
    rows: list[tuple[Facts, int, int]] = []
    known: list[str] = []
    for tar, (_, num_listed, stated) in zip(track([folder / name for name, _, _ in listed]), listed, strict=True):
        if not tar.is_file():
            ledger.left_out["in a shard that is not on disk"] += [f"{tar.name}, sample {n}" for n in range(num_listed)]
            continue
        entries, wrong = _index(tar)
        for key, reason in wrong:
            ledger.left_out[reason].append(key)
        missing = num_listed - len(entries) - sum(key != tar.name for key, _ in wrong)
        ledger.left_out["listed, and not in its shard"] += [f"{tar.name}, one of {missing}"] * max(missing, 0)
        for offset, entry in enumerate(entries):
            try:
                about = _json(tar, entry)
                rows.append((_facts(about, tar, entry), len(tars), offset))
                if not captions_of(about)[0]:
                    ledger.noted["without a caption"].append(entry.key)
            except UserError as error:
                ledger.left_out[str(error)].append(entry.key)
        whole = len(entries) == num_listed  # else the checksum tells of samples that are not there
        known.append(f"{tar.name} {stated if stated and whole else _content(tar, *_stamp(tar))}")
        tars.append(tar)
    if not rows:
        why = "; ".join(f"{len(names)} {reason}" for reason, names in ledger.left_out.items())
        raise UserError(f"'{folder}' holds no sample ({why or 'its list is empty'}); curate or copy it again")
    identity = digest_of(part.encode() for part in known)
    told = ledger.close()
    return Shards(tars, Table.of(rows), identity, Told({k: v for k, v in told.left_out.items() if v}, told.noted))


def _listed(folder: Path) -> list[tuple[str, int, str | None]]:
    """Name, number of samples and checksum, where there is one, of each shard."""
    path = folder / SHARDS
    try:
        shards = json.loads(path.read_text())["shards"]
        return [(str(one["name"]), int(one["samples"]), one.get("sha256")) for one in shards]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' is no readable list of shards ({error!r}); curate or copy it again") from None


def _facts(about: Mapping[str, Any], tar: Path, entry: Entry) -> Facts:
    """As the json says, else as the file is."""
    try:
        width, height, fps = int(about["width"]), int(about["height"]), float(about["fps"])
        num_frames = int(about.get("num_frames") or round(float(about["seconds"]) * fps))
        if min(width, height, num_frames) >= 1 and fps > 0:
            return Facts(width, height, fps, num_frames)
    except (KeyError, TypeError, ValueError):
        pass
    return probe(_bytes(tar, entry.media))


def captions_of(about: Mapping[str, Any]) -> tuple[str, ...]:
    """All captions of a sample, the first one first; at least the empty one."""
    said = [about.get("caption"), *(about.get("captions") or ())]
    return tuple(dict.fromkeys(text.strip() for text in said if isinstance(text, str) and text.strip())) or ("",)


def _json(tar: Path, entry: Entry) -> dict[str, Any]:
    try:
        about = json.loads(_bytes(tar, entry.text))
    except ValueError:
        raise UserError("has a json that cannot be read") from None
    if not isinstance(about, dict):
        raise UserError("has a json that is no object")
    return about


def _bytes(tar: Path, member: Member) -> bytes:
    try:
        with open(tar, "rb") as file:
            file.seek(member.offset)
            return file.read(member.size)
    except OSError as error:
        raise UserError(f"'{tar}' cannot be read ({error.strerror}); copy it again") from None


def _stamp(tar: Path) -> tuple[int, int]:
    stat = tar.stat()
    return stat.st_size, stat.st_mtime_ns


def _index(tar: Path) -> tuple[tuple[Entry, ...], tuple[tuple[str, str], ...]]:
    return index(tar, *_stamp(tar))


@lru_cache(1 << 16)
def _content(tar: Path, size: int, changed: int) -> str:
    return sha256_of(tar)


# Writing


@dataclass(frozen=True)
class Record:
    """A sample to be written: its file's bytes, the ending of its name, and what the json says."""

    key: str
    content: bytes
    ending: str
    about: Mapping[str, Any]


def write_shards(folder: Path, records: Iterable[Record], per_shard: int = SAMPLES_PER_SHARD) -> None:
    """Shards, list and manifest of `records`; the same records give the same bytes and, by content, the same names."""
    from pyarrow import Table as ArrowTable  # late: an extra
    from pyarrow import parquet

    make_folder(folder)
    listed: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    waiting: list[Record] = []

    def close() -> None:
        content = _tar(waiting)
        checksum = hashlib.sha256(content).hexdigest()
        name = f"{len(listed):05d}-{checksum[:12]}.tar"
        replace_file(folder / name, content)
        for offset, one in enumerate(waiting):
            features = dict(one.about.get("features") or {})
            plain = {key: value for key, value in one.about.items() if key not in ("features", "captions")}
            rows.append({"key": one.key, "shard": name, "offset": offset, **plain, **features})
        listed.append({"name": name, "samples": len(waiting), "sha256": checksum})
        waiting.clear()

    for record in records:
        waiting.append(record)
        if len(waiting) == per_shard:
            close()
    if waiting:
        close()
    table = io.BytesIO()
    parquet.write_table(ArrowTable.from_pylist(rows), table)
    replace_file(folder / MANIFEST, table.getvalue())
    replace_file(folder / SHARDS, json.dumps({"shards": listed}, indent=1).encode())


def _tar(records: Sequence[Record]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for one in records:
            if not one.key or "." in one.key.rpartition("/")[2]:
                raise ValueError(f"a key may hold no dot and not be empty, got '{one.key}'")
            about = json.dumps(dict(one.about), sort_keys=True, ensure_ascii=False).encode()
            for ending, content in ((one.ending, one.content), (".json", about)):
                info = tarfile.TarInfo(f"{one.key}{ending}")  # no time, no owner: the same bytes everywhere
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()
