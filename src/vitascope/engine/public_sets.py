"""Public sets as their authors lay them out, from local files: what each annotation names, and what is there of it.

A set is named together with the folder that holds its tables and its videos: `panda70m:/data/panda`. Videos are found
by name anywhere below; what an annotation names and the disk lacks is counted and listed, and so is every row that
cannot be used.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vitascope.config import nearest
from vitascope.data.folder import as_text
from vitascope.engine.annotations import UNUSABLE, Files, Told, files_in, rows_of, seconds_of, span_of, tables_of
from vitascope.engine.config import Annotations
from vitascope.engine.sources import Source, Span, find, in_order
from vitascope.errors import UserError


@dataclass(frozen=True, slots=True)
class Named:
    """A video as an annotation has it. `name`: where its authors' own tools put it; `seconds` what it should last."""

    name: str
    captions: tuple[str, ...] = ()
    clips: tuple[Span, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def stem(self) -> str:
        return Path(self.name).stem


Read = Callable[[Files, str, Told], Iterable[Named]]
FindCut = Callable[[Named, Span], Path | None]
Row = TypeVar("Row")


@dataclass(frozen=True)
class PublicSet:
    """How one set is read. `cut` finds the file of a single clip, where the authors' tools cut videos apart."""

    read: Read
    cut: Callable[[Files], FindCut] = lambda files: lambda named, span: None


def gather(raw: Sequence[Path], out: Path | None, wanted: Annotations) -> tuple[list[Source], list[Told]]:
    """What `find` finds, and public sets named as SET:FOLDER."""
    named = [(path, str(path).partition(":")) for path in raw]
    sets = [(parts[0], Path(parts[2])) for path, parts in named if parts[1] and not path.exists()]
    plain = [path for path, parts in named if not parts[1] or path.exists()]
    if wanted.split and not sets:
        raise UserError(f"annotations.split={wanted.split} chooses a part of a public set, and none is given")
    read = [read_set(name, folder, wanted) for name, folder in sets]
    found = find(plain, out) if plain else []
    for sources, told in read:
        if not sources:
            raise UserError(
                f"none of the {len(told.missing)} videos that {told.name} names is in its folder, not even "
                f"'{next(iter(told.missing), '')}'; put them below it"
            )
    return in_order([*found, *(one for sources, _ in read for one in sources)]), [told for _, told in read]


def read_set(name: str, folder: Path, wanted: Annotations) -> tuple[list[Source], Told]:
    """The videos of a set that are on disk, in the order of the annotation, and what became of everything else."""
    if name not in SETS:
        raise UserError(f"there is no public set '{name}'; {nearest(name, list(SETS))}")
    if not folder.is_dir():
        raise UserError(f"'{folder}' must be the folder with the tables and videos of {name}, and there is none")
    files, told = files_in(folder), Told(name)
    find_cut, given = SETS[name].cut(files), dict[Path, Source]()
    for named in SETS[name].read(files, wanted.split, told):
        for source in _on_disk(named, files, find_cut, told, wanted):
            if source.path in given:
                told.left_out["names a file for the second time"] += 1
                told.found, told.clips = told.found - 1, told.clips - len(source.clips)
            else:
                given[source.path] = source
    told.not_named, told.same_named = len(files.videos) - len(given), files.same_named
    if not told.rows:
        raise UserError(f"the tables of {name} in '{folder}' hold no row; copy them again")
    return list(given.values()), told


def _on_disk(named: Named, files: Files, find_cut: FindCut, told: Told, wanted: Annotations) -> Iterator[Source]:
    """The whole video if it is there, else those of its clips that were cut out of it before."""
    about = {"set": told.name, **named.about}
    whole = files.videos.get(named.stem)
    if whole is not None:
        told.found, told.clips = told.found + 1, told.clips + len(named.clips)
        captions = named.captions if wanted.captions else ()
        clips = tuple(
            Span(one.start, one.stop, one.captions if wanted.captions else (), one.about) for one in named.clips
        )
        yield Source(whole, _below(files, whole), captions, clips=clips, about=about, seconds=named.seconds)
        return
    cut = [(span, find_cut(named, span)) for span in named.clips]
    if not any(path for _, path in cut):
        told.missing[named.name], told.missing_clips = None, told.missing_clips + len(named.clips)
        return
    for number, (span, path) in enumerate(cut):
        if path is None:
            told.missing[f"{named.name}, clip {number}"], told.missing_clips = None, told.missing_clips + 1
            continue
        told.found += 1
        captions = span.captions if wanted.captions else ()
        seconds = span.stop - span.start
        yield Source(path, _below(files, path), captions, about={**about, **span.about}, seconds=seconds)


def _below(files: Files, path: Path) -> str:
    return path.relative_to(files.folder).as_posix()


# The sets.


def ucf101(files: Files, split: str, told: Told) -> Iterator[Named]:
    """CLASS/v_CLASS_gGG_cCC.avi, and lists: classInd.txt, trainlist01 to 03 and testlist01 to 03."""
    lists = {path.stem: path for path in files.tables if re.fullmatch(r"(train|test)list\d\d", path.stem)}
    index = next((path for path in files.tables if path.name == "classInd.txt"), None)
    if index is None or not lists:
        raise UserError(f"'{files.folder}' needs classInd.txt, trainlist01.txt and so on, as ucfTrainTestlist has them")
    known = {words[2]: words[1] for line in _lines(index) if (words := re.fullmatch(r"(\d+)\s+(\w+)", line))}
    chosen = {name.replace("list", ""): path for name, path in lists.items()}
    if split and split not in chosen:
        raise UserError(f"UCF-101 has no split '{split}'; {nearest(split, sorted(chosen))}")
    splits_of = dict[str, list[str]]()
    for name, path in sorted(chosen.items()):
        for line in _lines(path) if not split or name == split else ():
            told.rows += 1
            video, _, number = line.partition(" ")
            words = re.fullmatch(r"(\w+)/v_(\w+)_g\d+_c\d+\.avi", video)
            # One class is spelled in two ways: HandstandPushups/v_HandStandPushups_g01_c01.avi.
            if not words or words[1].lower() != words[2].lower() or words[1] not in known:
                told.left_out["names no video of a known class"] += 1
            elif number and number != known[words[1]]:
                told.left_out["has the number of another class"] += 1
            else:
                splits_of.setdefault(video, []).append(name)
    for video, splits in splits_of.items():
        label = video.partition("/")[0]
        words_of_label = " ".join(re.findall(r"[A-Z][a-z]*|\d+", label)).lower() or label
        about = {"class": label, "class_number": int(known[label]), "splits": splits}
        yield Named(video, (words_of_label,), about=about)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]


def msrvtt(files: Files, split: str, told: Told) -> Iterator[Named]:
    """videoN.mp4, and json files with `videos` and `sentences`. Their times are those of the whole video on the web."""
    said = [one for path in files.tables if path.suffix == ".json" and (one := _videos_and_sentences(path))]
    if not said:
        raise UserError(f"'{files.folder}' needs a .json with 'videos' and 'sentences', such as MSRVTT_data.json")
    captions, videos = dict[str, dict[str, None]](), dict[str, dict[str, Any]]()
    for one in said:
        for video in one["videos"]:
            if isinstance(video, dict) and "video_id" in video:
                videos.setdefault(str(video["video_id"]), video)
        for sentence in one["sentences"]:
            with_text = isinstance(sentence, dict) and as_text(sentence.get("caption") or "")
            if with_text and "video_id" in sentence:
                captions.setdefault(str(sentence["video_id"]), {})[with_text] = None
            else:
                told.left_out["sentence without words or video"] += 1
                told.rows += 1
    splits = sorted({str(video.get("split")) for video in videos.values()})
    if split and split not in splits:
        raise UserError(f"MSR-VTT has no split '{split}' here; {nearest(split, splits)}")
    orphans = len(captions.keys() - videos.keys())
    told.rows, told.left_out["sentences of an unknown video"] = told.rows + orphans, orphans
    told.left_out += Counter()  # keeps what is more than nothing
    for name, video in videos.items():
        if split and video.get("split") != split:
            continue
        told.rows += 1
        about: dict[str, Any] = {key: video[key] for key in ("split", "category", "url") if key in video}
        try:
            seconds = float(video["end time"]) - float(video["start time"])
        except (KeyError, TypeError, ValueError):
            seconds = None
        yield Named(f"{name}.mp4", tuple(captions.get(name, ())), about=about, seconds=seconds)


def _videos_and_sentences(path: Path) -> dict[str, Any] | None:
    try:
        said = json.loads(path.read_text(errors="replace"))
    except (OSError, ValueError):
        return None
    fits = isinstance(said, dict) and all(isinstance(said.get(key), list) for key in ("videos", "sentences"))
    return said if fits else None


def webvid(files: Files, split: str, told: Told) -> Iterator[Named]:
    """videos/PAGE_DIR/VIDEOID.mp4; csv with videoid, contentUrl, duration, page_dir, name."""
    for table in tables_of(files, ".csv", ("videoid", "contentUrl", "duration", "page_dir", "name"), split):
        for row in rows_of(table, told):
            if not row["videoid"] or row["name"] is None:
                told.left_out["cannot be read"] += 1
                continue
            caption, about = (row["name"].strip(),), {"split": table.stem, "url": row["contentUrl"]}
            name = f"{row['page_dir']}/{row['videoid']}.mp4"
            yield Named(name, tuple(filter(None, caption)), about=about, seconds=_duration(row["duration"]))


def _duration(text: str | None) -> float | None:
    """`PT00H01M02S`."""
    found = re.fullmatch(r"P(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)", text or "")
    return (
        sum(float(part or 0) * 60**place for part, place in zip(found.groups(), (2, 1, 0), strict=True))
        if found
        else None
    )


def _usable(tables: Iterable[Path], told: Told, read: Callable[[Path, dict[str, Any]], Row]) -> Iterator[Row]:
    """What the rows of tables say; damaged ones are counted."""
    for table in tables:
        for row in rows_of(table, told):
            try:
                said = read(table, row)
            except UNUSABLE:
                told.left_out["cannot be read"] += 1
            else:
                yield said


def hdvila(files: Files, split: str, told: Told) -> Iterator[Named]:
    """download_videos/ID.mp4 or video_clips/ID/CLIP_ID; jsonl with video_id, url, clip. No captions."""

    def read(table: Path, row: dict[str, Any]) -> Named:
        clips = [span_of(*one["span"], clip_id=str(one["clip_id"])) for one in row["clip"]]
        return Named(f"{row['video_id']}.mp4", clips=_in_order(clips), about={"url": str(row["url"])})

    return _usable(tables_of(files, ".jsonl", ("video_id", "url", "clip"), split), told, read)


def hdvila_clips(files: Files) -> FindCut:
    return lambda named, span: files.videos.get(Path(span.about["clip_id"]).stem)


def internvid(files: Files, split: str, told: Told) -> Iterator[Named]:
    """YOUTUBEID.mp4; jsonl with a clip a row: YoutubeID, Start_timestamp, End_timestamp, Caption and two scores."""
    clips_of = dict[str, list[Span]]()
    scores = {"Aesthetic_Score": "aesthetic_score", "UMT_Score": "umt_score"}
    columns = ("YoutubeID", "Start_timestamp", "End_timestamp", "Caption")

    def read(table: Path, row: dict[str, Any]) -> tuple[str, Span]:
        about = {name: float(row[column]) for column, name in scores.items() if row.get(column) is not None}
        span = span_of(row["Start_timestamp"], row["End_timestamp"], [row["Caption"]], **about)
        return str(row["YoutubeID"]), span

    for video, span in _usable(tables_of(files, ".jsonl", columns, split), told, read):
        if video in files.videos:
            clips_of.setdefault(video, []).append(span)
        else:  # by far the most: none of their clips is held
            told.missing[f"{video}.mp4"], told.missing_clips = None, told.missing_clips + 1
    for video, clips in clips_of.items():
        yield Named(f"{video}.mp4", clips=_in_order(clips))


def panda70m(files: Files, split: str, told: Told) -> Iterator[Named]:
    """VIDEOID.mp4, or what its video2dataset cuts; csv with lists in its columns."""

    def read(table: Path, row: dict[str, Any]) -> Named:
        times, captions, scores = (ast.literal_eval(row[key]) for key in ("timestamp", "caption", "matching_score"))
        wishes = ast.literal_eval(row.get("desirable_filtering") or "None") or [None] * len(times)
        clips = [
            span_of(start, stop, [caption], matching_score=float(score), **({"desirable": wish} if wish else {}))
            for (start, stop), caption, score, wish in zip(times, captions, scores, wishes, strict=True)
        ]
        about = {"split": table.stem, "url": str(row["url"])}
        return Named(f"{row['videoID']}.mp4", clips=_in_order(clips), about=about)

    columns = ("videoID", "url", "timestamp", "caption", "matching_score")
    return _usable(tables_of(files, ".csv", columns, split), told, read)


def panda70m_clips(files: Files) -> FindCut:
    """Of `0000000_00000.mp4` only the .json beside it says which clip it is: by its address and its time."""
    path_of = dict[tuple[str, float, float], Path]()
    for path in files.videos.values():
        if re.fullmatch(r"\d+_\d+", path.stem):
            try:
                said = json.loads(path.with_suffix(".json").read_text(errors="replace"))
                ((start, stop),) = ast.literal_eval(said["clips"]) if isinstance(said["clips"], str) else said["clips"]
                path_of[str(said["url"]), seconds_of(start), seconds_of(stop)] = path
            except (OSError, *UNUSABLE):
                continue
    return lambda named, span: path_of.get((named.about["url"], span.start, span.stop))


def _in_order(clips: Iterable[Span]) -> tuple[Span, ...]:
    return tuple(sorted(clips, key=lambda clip: (clip.start, clip.stop)))


SETS = {
    "ucf101": PublicSet(ucf101),
    "msrvtt": PublicSet(msrvtt),
    "webvid10m": PublicSet(webvid),
    "hdvila100m": PublicSet(hdvila, hdvila_clips),
    "internvid10m": PublicSet(internvid),
    "panda70m": PublicSet(panda70m, panda70m_clips),
}
