"""Plain footage: a folder of videos and pictures with texts beside them, or a table that names them."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from vitascope.data.decoding import Facts, probe
from vitascope.data.footage import Ledger, Sample, Table, Told, Track, digest_of
from vitascope.errors import install
from vitascope.media import VIDEO_ENDINGS
from vitascope.types import UserError

ENDINGS = frozenset((*VIDEO_ENDINGS, *".webp .png .jpg .jpeg .bmp .tif .tiff .avif".split()))
FILES_PER_SHARD = 256


class Files:
    """Footage of files of their own."""

    def __init__(self, samples: Sequence[Sample], facts: Sequence[Facts], identity: str, told: Told) -> None:
        self.samples, self.identity, self.told = samples, identity, told
        self.table = Table.of([(one, *divmod(row, FILES_PER_SHARD)) for row, one in enumerate(facts)])

    def sample(self, row: int) -> Sample:
        return self.samples[row]


def open_folder(folder: Path, track: Track = lambda items: items) -> Files:
    """All videos and pictures below `folder`; each line of a `.txt` of the same name is a caption."""
    if not folder.is_dir():
        raise UserError(f"'{folder}' must be a folder or a table of footage, but there is none; check the path")
    ledger = Ledger()
    paths = sorted(_walk(folder, ledger), key=lambda path: path.relative_to(folder).as_posix())
    return _files(folder, [(path, _lines_beside(path, ledger)) for path in paths], ledger, track)


def open_table(table: Path, track: Track = lambda items: items) -> Files:
    """The files that a table names, relative to the table's own folder, with its captions or those beside them."""
    ledger, listed = Ledger(), []
    for name, captions in named_in(table).items():
        path = table.parent / name
        if path.is_file():
            listed.append((path, captions or _lines_beside(path, ledger)))
        else:
            ledger.left_out["not on disk"].append(name)
    return _files(table.parent, listed, ledger, track)


def named_in(table: Path) -> dict[str, tuple[str, ...]]:
    """What a csv, parquet or jsonl table names in its column `path`, with `caption` or a list `captions`; a tsv has no
    head, and a name, a tab and a caption on each line.

    Several rows may name a file, each with words of its own.
    """
    captions_of: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(_rows(table), 1):
        name = row.get("path") or row.get("video") or row.get("file")
        if not name:
            raise UserError(
                f"'{table}', row {number}: a row needs a 'path' (or 'video', 'file'), got {sorted(map(str, row))}"
            )
        said = row.get("captions") or [row.get("caption") or row.get("text")]
        said = [said] if isinstance(said, str) else said
        if not isinstance(said, list):
            raise UserError(f"'{table}', row {number}: 'captions' must be a list of texts, got {said!r}")
        texts = (as_text(text) for text in said if text)
        name = str(Path(str(name)))  # ./a.mp4 and a.mp4 are one
        captions_of[name] = tuple(dict.fromkeys((*captions_of.get(name, ()), *filter(None, texts))))
    return captions_of


def as_text(said: object) -> str:
    """One caption. Halves of characters, which JSON may hold and no file can, are replaced."""
    return re.sub("[\ud800-\udfff]", "\ufffd", str(said)).strip()


def _files(folder: Path, listed: Sequence[tuple[Path, tuple[str, ...]]], ledger: Ledger, track: Track) -> Files:
    """Probe each file once; of two with the same content one is kept, with the captions of both."""
    captions_of, facts_of, first_of = dict(listed), {}, dict[str, Path]()
    for path in track([path for path, _ in listed]):
        name = os.path.relpath(path, folder)
        try:
            facts, content = examine(path)
        except UserError as error:
            ledger.left_out[str(error)].append(name)
            continue
        if content in first_of:
            first = first_of[content]
            captions_of[first] = tuple(dict.fromkeys((*captions_of[first], *captions_of[path])))
            ledger.left_out["the same content as another, which has its captions now"].append(name)
        else:
            first_of[content], facts_of[path] = path, facts
    if not facts_of:
        why = "; ".join(f"{len(names)} {reason}" for reason, names in ledger.left_out.items())
        raise UserError(f"'{folder}' holds no footage ({why or 'no video and no picture'}); see docs/data.md")
    samples = [Sample(os.path.relpath(path, folder), captions_of[path] or ("",), path) for path in first_of.values()]
    ledger.noted["without a caption"] = [one.key for one in samples if one.captions == ("",)]
    contents = zip(first_of, samples, strict=True)
    identity = digest_of(part.encode() for content, one in contents for part in (content, *one.captions))
    return Files(samples, [facts_of[path] for path in first_of.values()], identity, ledger.close())


def examine(path: Path) -> tuple[Facts, str]:
    """Facts of a file and a name for its content."""
    try:
        stat = path.stat()
        return _examine(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from error


@lru_cache(1 << 16)  # a run opens its footage several times
def _examine(path: Path, size: int, changed: int) -> tuple[Facts, str]:
    if not size:
        raise UserError("is empty")
    with open(path, "rb") as file:
        content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return probe(path), content


def _walk(folder: Path, ledger: Ledger) -> Iterator[Path]:
    """Files that look like footage; links to folders are not followed, so that no loop is walked."""

    def cannot(error: OSError) -> None:
        ledger.left_out[f"folder that cannot be read ({error.strerror})"].append(str(error.filename))

    for place, folders, files in os.walk(folder, onerror=cannot):
        for name in folders:
            if (Path(place) / name).is_symlink():
                ledger.left_out["link to a folder"].append(os.path.relpath(Path(place) / name, folder))
        for name in (*folders, *files):
            if name.startswith("."):
                ledger.left_out["hidden by its name"].append(os.path.relpath(Path(place) / name, folder))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(place) / name
            if name.startswith(".") or path.suffix.lower() == ".txt":
                continue
            if path.suffix.lower() not in ENDINGS:
                ledger.left_out[f"no video and no picture by its ending '{path.suffix}'"].append(
                    os.path.relpath(path, folder)
                )
            elif not path.is_file():
                ledger.left_out["link to nothing, or no file"].append(os.path.relpath(path, folder))
            else:
                yield path


def _lines_beside(path: Path, ledger: Ledger) -> tuple[str, ...]:
    text = path.with_suffix(".txt")
    try:
        lines = text.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError):
        ledger.noted["captions that cannot be read as UTF-8"].append(text.name)
        return ()
    return tuple(line.strip() for line in lines if line.strip())


def _objects(lines: Iterable[str]) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in lines if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("each line must be an object")
    return rows


def _rows(table: Path) -> list[dict[str, Any]]:
    try:
        if table.suffix.lower() == ".parquet":
            from pyarrow import ArrowException, parquet  # late: an extra

            try:
                return parquet.read_table(table).to_pylist()
            except ArrowException as error:
                raise ValueError(str(error)) from error
        with open(table, newline="", encoding="utf-8-sig") as file:
            if table.suffix.lower() == ".jsonl":
                return _objects(file)
            if table.suffix.lower() == ".tsv":
                lines = (line.rstrip("\r\n").partition("\t") for line in file if line.strip())
                return [{"path": path, "caption": caption} for path, _, caption in lines]
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"'{table}' is no readable csv, parquet, jsonl or tsv table ({error}); give a table or a folder"
        ) from error
    except ImportError as error:
        raise UserError(f"'{table}' needs pyarrow: {install('data')}") from error
