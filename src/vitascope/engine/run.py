"""Raw footage to shards: measure each file, judge its pieces, cut what is kept, write; every frame is accounted for.

Everything but the final files lies in OUT/work under names made of what it was made from. So a run that was killed goes
on, and one with other thresholds does only what they touch.
"""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitascope.config import to_json
from vitascope.engine import shards
from vitascope.engine.captions import Captioned, caption_clips, record_of, told_of
from vitascope.engine.config import Curate, Tier
from vitascope.engine.duplicates import hashes_of, without_duplicates
from vitascope.engine.executors import Executor, Failed, Limits, Progress, results
from vitascope.engine.files import CutTask, MeasureTask, cut_file, key_of, measure_file, rows_of, stem_of
from vitascope.engine.pieces import Measured, Piece, pieces_of
from vitascope.engine.sources import Source
from vitascope.errors import UserError
from vitascope.media.writing import make_folder, replace_file

RECORDS, FUNNEL, SETTINGS = "records.json", "funnel.json", "curate.json"


def curate(
    sources: Sequence[Source],
    out: Path,
    settings: Curate,
    executor: Executor,
    progress: Callable[[str], Progress] = lambda _: lambda done, total: None,
    secret: str = "",
) -> dict[str, Any]:
    """Run every stage and write the shards; what comes back, and is kept as funnel.json, counts what became of all.

    `secret` is the key of the endpoints that write and check captions; it is written nowhere.
    """
    work = _own_folder(out)
    with open(work / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another run is writing to '{out}'; wait for it or choose another --out") from None
        try:
            return _curate(sources, out, work, settings, executor, progress, secret)
        except OSError as error:
            raise UserError(
                f"'{out}' could not be written ({error.strerror}); free some space and run the same command again"
            ) from None


def _own_folder(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is a file; give --out a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / "work").is_dir():
        raise UserError(f"'{out}' holds other things; give --out an empty folder or one of an earlier run")
    make_folder(out / "work")
    for left in out.rglob(".*.part"):  # of a run that was killed
        left.unlink()
    return out / "work"


def _curate(
    sources: Sequence[Source],
    out: Path,
    work: Path,
    settings: Curate,
    executor: Executor,
    progress: Callable[[str], Progress],
    secret: str,
) -> dict[str, Any]:
    limits = Limits(settings.measuring.most_seconds + 5, settings.measuring.most_megabytes)
    files, records = _measure(sources, work, settings, executor, limits, progress("measuring"))
    pieces = _judge(files, settings)
    kept = [piece for piece in pieces if not piece.dropped]
    failed = _cut(kept, files, work, settings, executor, limits, progress("cutting"))
    pieces = [piece.drop("cutting", failed[piece.file]) if _lost(piece, failed) else piece for piece in pieces]
    told_by = {clip_key(piece, settings): piece.captions for piece in pieces if not piece.dropped}
    captioned = caption_clips(told_by, work, settings, secret, executor, progress("captioning"))
    pieces = [_with_captions(piece, captioned.get(clip_key(piece, settings))) for piece in pieces]
    samples = [_sample(piece, files[piece.file], settings) for piece in pieces if not piece.dropped]
    shards.write(out, work, samples, settings.shards.clips)
    funnel = _funnel(records, pieces, files, settings)
    if captioned:
        funnel["captions"] = told_of(list(captioned.values()))
    told = {
        "files": records,
        "pieces": [_piece_record(piece, files[piece.file], settings) for piece in pieces],
        "captions": {key: record_of(one) for key, one in captioned.items()},
    }
    replace_file(out / RECORDS, json.dumps(told, ensure_ascii=False).encode())
    replace_file(out / SETTINGS, json.dumps(to_json(settings), indent=1).encode())
    replace_file(out / FUNNEL, json.dumps(funnel, indent=1, ensure_ascii=False).encode())
    return funnel


def _with_captions(piece: Piece, captioned: Captioned | None) -> Piece:
    if piece.dropped or captioned is None:
        return piece
    return piece.drop("captions", captioned.reason) if captioned.reason else replace(piece, captions=captioned.captions)


def _lost(piece: Piece, failed: dict[str, str]) -> bool:
    return not piece.dropped and piece.file in failed


def _measure(
    sources: Sequence[Source], work: Path, settings: Curate, executor: Executor, limits: Limits, progress: Progress
) -> tuple[dict[str, Measured], list[dict[str, Any]]]:
    """Files by content key, and a record for each source: `dropped` is empty, or why nothing came of it."""
    there = [source for source in sources if not source.missing]
    tasks = [MeasureTask(source.path.absolute(), work, settings.measuring) for source in there]
    result_of: dict[Path, Any] = {}
    for source, result in zip(there, results(executor, measure_file, tasks, limits, progress), strict=True):
        result_of[source.path] = result
    files: dict[str, Measured] = {}
    records = []
    for source in sources:
        name, path = _plain(source.name), _plain(str(source.path.absolute()))
        record: dict[str, Any] = {"name": name, "path": path, "key": "", "dropped": ""}
        result = result_of.get(source.path, {})
        if source.missing:
            record["dropped"] = f"sources: {source.missing}"
        elif isinstance(result, Failed):
            record["dropped"] = f"decoding: {result.reason}"
        else:
            record |= result
            key = record["key"]
            if key in files:
                record["dropped"] = f"duplicates: the same bytes as '{files[key].name}'"
            else:
                rows = rows_of(stem_of(work, key, settings.measuring))
                files[key] = Measured(key, source.path.absolute(), name, result, *rows, source.captions)
        records.append(record)
    return files, records


def _plain(name: str) -> str:
    """Bytes of a name that are no UTF-8 as what can be written: \\xff."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _judge(files: dict[str, Measured], settings: Curate) -> list[Piece]:
    pieces = [piece for file in files.values() for piece in pieces_of(file, settings)]
    kept = [piece for piece in pieces if not piece.dropped]
    hashes = [hashes_of(files[piece.file].frames, piece, settings.duplicates.pictures) for piece in kept]
    judged = iter(without_duplicates(kept, hashes, settings.duplicates))
    return [piece if piece.dropped else next(judged) for piece in pieces]


def clip_key(piece: Piece, settings: Curate) -> str:
    return key_of(piece.file, piece.start, piece.stop, piece.crop, settings.cutting)


def _cut(
    kept: Sequence[Piece],
    files: dict[str, Measured],
    work: Path,
    settings: Curate,
    executor: Executor,
    limits: Limits,
    progress: Progress,
) -> dict[str, str]:
    """Write the clips; of files that could be read a moment ago and now cannot, why."""
    wanted: dict[str, list[tuple[str, int, int, tuple[int, int, int, int]]]] = {}
    for piece in kept:
        wanted.setdefault(piece.file, []).append((clip_key(piece, settings), piece.start, piece.stop, piece.crop))
    tasks = [
        CutTask(files[key].path, work, settings.cutting, files[key].facts["fps"], tuple(clips))
        for key, clips in wanted.items()
    ]
    failed = {}
    for key, result in zip(wanted, results(executor, cut_file, tasks, limits, progress), strict=True):
        if isinstance(result, Failed):
            failed[key] = result.reason
    return failed


def tier_of(features: dict[str, Any], tiers: Sequence[Tier]) -> str:
    """The last tier, in order, whose every demand is met, each tier standing on the one before; "all" for none."""
    reached = "all"
    for tier in tiers:
        least = {
            "motion": tier.least_motion, "clarity": tier.least_clarity,
        }  # fmt: skip
        side = min(features["width"], features["height"])
        if any(limit is not None and features[name] < limit for name, limit in least.items()):
            break
        if tier.least_side is not None and side < tier.least_side:
            break
        reached = tier.name
    return reached


def _sample(piece: Piece, file: Measured, settings: Curate) -> dict[str, Any]:
    return {
        "key": clip_key(piece, settings), "source": file.name, "start": piece.start, "stop": piece.stop,
        "tier": tier_of(piece.features, settings.tiers), "captions": piece.captions, "features": piece.features,
    }  # fmt: skip


def _piece_record(piece: Piece, file: Measured, settings: Curate) -> dict[str, Any]:
    return {
        **_sample_or_nothing(piece, settings),
        "file": file.name, "start": piece.start, "stop": piece.stop, "fps": file.facts["fps"],
        "dropped": piece.dropped, "crop": piece.crop, "features": piece.features,
    }  # fmt: skip


def _sample_or_nothing(piece: Piece, settings: Curate) -> dict[str, Any]:
    if piece.dropped:
        return {"key": "", "tier": ""}
    return {"key": clip_key(piece, settings), "tier": tier_of(piece.features, settings.tiers)}


def _funnel(
    records: Sequence[dict[str, Any]], pieces: Sequence[Piece], files: dict[str, Measured], settings: Curate
) -> dict[str, Any]:
    """Counts of files, pieces, frames and seconds by what became of them; kept and dropped add up to the input."""
    by_reason: dict[str, Counter[str]] = {}
    for piece in pieces:
        count = by_reason.setdefault(piece.dropped or "kept", Counter())
        count.update(pieces=1, frames=piece.num_frames)
        count["seconds"] += piece.num_frames / files[piece.file].facts["fps"]
    tiers = Counter(tier_of(piece.features, settings.tiers) for piece in pieces if not piece.dropped)
    dropped_files = Counter(_reason(record["dropped"]) for record in records if record["dropped"])
    return {
        "files": {"given": len(records), "read": len(files), "dropped": dict(sorted(dropped_files.items()))},
        "frames": {"decoded": sum(len(file.frames) for file in files.values())},
        "pieces": {
            reason: {**count, "seconds": round(count["seconds"], 3)} for reason, count in sorted(by_reason.items())
        },
        "tiers": dict(sorted(tiers.items())),
    }


def _reason(told: str) -> str:
    """Without what differs from file to file."""
    if told.startswith("duplicates:"):
        return "duplicates: the same bytes as another file"
    return told


def read_json(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())
    raise UserError(f"'{path}' is missing or damaged: give a folder that `vitascope curate` has finished")
