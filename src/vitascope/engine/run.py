"""Raw footage to shards: measure each file, judge its pieces, cut what is kept, write; every frame is accounted for.

Everything but the final files lies in OUT/work under names made of what it was made from. So a run that was killed goes
on, and one with other thresholds does only what they touch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitascope.atomic import PARTS, NoLocks, locked, sweep
from vitascope.config import to_json
from vitascope.data.folder import as_text
from vitascope.engine import shards
from vitascope.engine.annotations import Told
from vitascope.engine.captions import Captioned, caption_clips, check_models, record_of, told_of
from vitascope.engine.config import Curate
from vitascope.engine.cutting import CutTask, cut_file
from vitascope.engine.duplicates import without_duplicates
from vitascope.engine.embedding import check_asked, embed_clips, judged_by
from vitascope.engine.executors import Executor, Failed, Limits, Work, results
from vitascope.engine.funnel import funnel_of, tier_of, told_of_sets
from vitascope.engine.judging import JudgeTask, judge_file
from vitascope.engine.keys import content_key, key_of
from vitascope.engine.lateness import keep, note_of
from vitascope.engine.measuring import MeasureTask, measure_file, stem_of
from vitascope.engine.pieces import Decoded, Piece
from vitascope.engine.sources import LOCK, Source
from vitascope.errors import FULL, UserError, first_line
from vitascope.media.writing import make_folder, replace_file
from vitascope.types import Progress

RECORDS, FUNNEL, SETTINGS = "records.json", "funnel.json", "curate.json"
PAGE = "report.html"
MISSING = "missing.txt"  # what annotations name and the disk lacks: too much of it for the records


def curate(
    sources: Sequence[Source],
    out: Path,
    settings: Curate,
    executor: Executor,
    progress: Callable[[str], Progress] = lambda _: lambda done, total: None,
    secret: str = "",
    sets: Sequence[Told] = (),
) -> dict[str, Any]:
    """Run every stage and write the shards; what comes back, and is kept as funnel.json, counts what became of all.

    `secret` is the key of the endpoints that write and check captions; it is written nowhere. `sets` tells what became
    of the annotations of public sets among the sources.
    """
    work = _own_folder(out)
    with ExitStack() as held:
        try:
            mine = held.enter_context(locked(out / LOCK))
        except NoLocks as error:
            raise UserError(f"'{out}' is on a file system without locks ({error}); choose another --out") from None
        if not mine:
            raise UserError(f"another run is writing to '{out}'; wait for it or choose another --out")
        sweep(out.glob(PARTS), work.rglob(PARTS))
        try:
            return _curate(_Run(work, settings, executor, progress), sources, out, secret, sets)
        except OSError as error:
            raise UserError(_told_why(error, out)) from None


def _told_why(error: OSError, out: Path) -> str:
    if error.errno in FULL:
        return f"'{out}' could not be written ({error.strerror}); free some space and run the same command again"
    return (
        f"'{error.filename or out}' could not be read or written ({error.strerror or first_line(error)}); "
        "run the same command again: it makes anew what is missing"
    )


def _own_folder(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is a file; give --out a folder")
    work = out / "work"
    # Old shards are deleted there: it must be certain that they are ours.
    is_ours = (out / LOCK).is_file() or (work.is_dir() and not any(work.iterdir()) and [*out.iterdir()] == [work])
    if out.is_dir() and any(out.iterdir()) and not is_ours:
        raise UserError(f"'{out}' holds other things; give --out an empty folder or one of an earlier run")
    make_folder(work)
    return work


@dataclass(frozen=True)
class _Run:
    """What every stage needs: where it keeps what it makes, its settings, and who does its tasks."""

    work: Path
    settings: Curate
    executor: Executor
    progress: Callable[[str], Progress]

    def each(self, doing: str, work: Work, tasks: Sequence[Any]) -> Iterator[Any]:
        """The results of tasks on one file each, in their order."""
        limits = Limits(self.settings.measuring.most_seconds, self.settings.measuring.most_megabytes)
        return results(self.executor, work, tasks, limits, self.progress(doing))


def _curate(run: _Run, sources: Sequence[Source], out: Path, secret: str, sets: Sequence[Told]) -> dict[str, Any]:
    work, settings = run.work, run.settings
    check_asked(settings)
    check_models(settings)
    files, records = _measure(sources, run)
    pieces = _cut(_judge(files, run), files, run)
    embedded = embed_clips([one.clip for one in pieces if not one.dropped], work, settings, run.progress("embedding"))
    pieces = [judged_by(piece, embedded.get(piece.clip), settings.embedding) for piece in pieces]
    told_by = {piece.clip: piece.captions for piece in pieces if not piece.dropped}
    captioned = caption_clips(told_by, work, settings, secret, run.executor, run.progress("captioning"))
    pieces = [_with_captions(piece, captioned.get(piece.clip)) for piece in pieces]
    samples = [_sample(piece, files[piece.file], settings) for piece in pieces if not piece.dropped]
    shards.write(out, work, samples, settings.shards.clips)
    funnel = funnel_of(records, pieces, files, settings, sets)
    (out / MISSING).unlink(missing_ok=True)
    if sets:
        funnel["sets"] = told_of_sets(sets, records, files)
        lines = [f"{told.name}: {name}\n" for told in sets for name in told.missing]
        replace_file(out / MISSING, "".join(lines).encode(errors="backslashreplace"))
    if captioned:
        funnel["captions"] = told_of(list(captioned.values()))
    told = {
        "files": records,
        "pieces": [_piece_record(piece, files[piece.file], settings) for piece in pieces],
        "captions": {key: record_of(one) for key, one in captioned.items()},
    }
    finished = {
        RECORDS: json.dumps(told).encode(),  # ASCII: paths may hold bytes that are no text
        SETTINGS: json.dumps(to_json(settings), indent=1).encode(),
        FUNNEL: json.dumps(funnel, indent=1, ensure_ascii=False).encode(),
    }
    if any(not (out / name).is_file() or (out / name).read_bytes() != content for name, content in finished.items()):
        (out / PAGE).unlink(missing_ok=True)  # it shows a run that is no more
    for name, content in finished.items():
        replace_file(out / name, content)
    return funnel


def _with_captions(piece: Piece, captioned: Captioned | None) -> Piece:
    if piece.dropped or captioned is None:
        return piece
    return piece.drop("captions", captioned.reason) if captioned.reason else replace(piece, captions=captioned.captions)


def _measure(sources: Sequence[Source], run: _Run) -> tuple[dict[str, Decoded], list[dict[str, Any]]]:
    """Files by content key, and a record for each source: `dropped` is empty, or why nothing came of it."""
    there = [source for source in sources if not source.missing]
    tasks = [MeasureTask(source.path.absolute(), run.work, run.settings.measuring) for source in there]
    measured = run.each("measuring", measure_file, tasks)
    result_of = {}
    for source, task, result in zip(there, tasks, measured, strict=True):
        result_of[source.path] = result
        if isinstance(result, Failed) and result.is_late:
            with suppress(OSError):  # a file that is gone needs no note
                stem = stem_of(run.work, content_key(task.path), task.settings)
                keep(note_of(run.work, task.settings, stem.name), result.reason)
    files: dict[str, Decoded] = {}
    records = []
    for source in sources:
        record: dict[str, Any] = {"name": source.name, "path": str(source.path.absolute()), "key": "", "dropped": ""}
        if "set" in source.about:
            record["set"] = source.about["set"]
        result = result_of.get(source.path, {})
        if source.missing:
            record["dropped"] = f"sources: {source.missing}"
        elif isinstance(result, Failed):
            record["dropped"] = f"decoding: {result.reason}"
        else:
            record |= result
            key = record["key"]
            if source.seconds is not None and abs(result["seconds"] - source.seconds) > max(1.0, 0.1 * source.seconds):
                record["differs"] = f"lasts {result['seconds']:.1f} s, its annotation says {source.seconds:.1f} s"
            if key in files:
                record["dropped"] = f"duplicates: the same bytes as '{files[key].name}'"
                captions = tuple(dict.fromkeys((*files[key].captions, *source.captions)))
                files[key] = replace(files[key], captions=captions)
            else:
                files[key] = Decoded(
                    key, source.path.absolute(), source.name, result, source.captions, source.clips, source.about
                )
        records.append(record)
    return files, records


def _judge(files: Mapping[str, Decoded], run: _Run) -> list[Piece]:
    """Each file by itself, then the near copies in all of them."""
    pieces, hashes = list[Piece](), list[tuple[int, ...]]()
    tasks = [JudgeTask(file, run.work, run.settings) for file in files.values()]
    for file, judged in zip(files.values(), run.each("judging", judge_file, tasks), strict=True):
        if isinstance(judged, Failed):
            pieces.append(Piece(file.key, 0, file.facts["num_frames"]).drop("judging", judged.reason))
        else:
            pieces += judged.pieces
            hashes += judged.hashes
    kept = [piece for piece in pieces if not piece.dropped]
    unlike = iter(without_duplicates(kept, hashes, run.settings.duplicates))
    return [piece if piece.dropped else next(unlike) for piece in pieces]


def _cut(pieces: Sequence[Piece], files: Mapping[str, Decoded], run: _Run) -> list[Piece]:
    """A clip for each kept piece; of files that could be read a moment ago and now cannot, all are dropped."""
    settings, limits = run.settings.cutting, run.settings.measuring
    wanted: dict[str, list[Piece]] = {}
    named = []
    for piece in pieces:
        if not piece.dropped:
            piece = replace(piece, clip=key_of(piece.file, piece.start, piece.stop, piece.crop, settings))
            wanted.setdefault(piece.file, []).append(piece)
        named.append(piece)
    tasks = [
        CutTask(
            files[key].path, key, run.work, settings, files[key].facts["fps"], tuple(clips), limits.most_seconds,
            note_of(run.work, limits, *sorted(piece.clip for piece in clips)),
        )
        for key, clips in wanted.items()
    ]  # fmt: skip
    made = dict(zip(wanted, run.each("cutting", cut_file, tasks), strict=True))
    for task in tasks:
        result = made[task.content]
        if isinstance(result, Failed) and result.is_late:
            keep(task.late, result.reason)
    failed = {key: result.reason for key, result in made.items() if isinstance(result, Failed)}
    lost = [not piece.dropped and piece.file in failed for piece in named]
    return [p.drop("cutting", failed[p.file]) if is_lost else p for p, is_lost in zip(named, lost, strict=True)]


def _sample(piece: Piece, file: Decoded, settings: Curate) -> dict[str, Any]:
    return {
        "key": piece.clip, "source": file.name, "start": piece.start, "stop": piece.stop,
        "tier": tier_of(piece.features, settings.tiers), "captions": piece.captions, "features": piece.features,
        # As text, since what one set says another does not.
        "annotation": as_text(json.dumps(piece.about, sort_keys=True, ensure_ascii=False)) if piece.about else "",
    }  # fmt: skip


def _piece_record(piece: Piece, file: Decoded, settings: Curate) -> dict[str, Any]:
    return {
        "key": piece.clip, "tier": "" if piece.dropped else tier_of(piece.features, settings.tiers),
        "file": file.name, "path": str(file.path), "start": piece.start, "stop": piece.stop, "fps": file.facts["fps"],
        "dropped": piece.dropped, "crop": piece.crop, "features": piece.features,
        "caption": piece.captions[0] if piece.captions else "",
    }  # fmt: skip


def read_json(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())
    raise UserError(f"'{path}' is missing or damaged: give a folder that `vitascope curate` has finished")
