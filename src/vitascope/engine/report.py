"""What became of the footage, as one HTML page that needs nothing beside it: funnel, examples, thresholds to move."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import cv2

from vitascope.config import from_json
from vitascope.engine.config import Curate
from vitascope.engine.cutting import clip_path
from vitascope.engine.decoding import NotAVideo, open_video, pictures
from vitascope.engine.embedding import AESTHETICS, HOW, THRESHOLDS
from vitascope.engine.pieces import QUALITY
from vitascope.engine.run import FUNNEL, RECORDS, SETTINGS, read_json
from vitascope.errors import UserError
from vitascope.media.writing import add_h264, to_yuv

EXAMPLES, KEPT_EXAMPLES = 4, 16  # of each reason, and of what was kept
PREVIEW_WIDTH, PREVIEW_HEIGHT, PREVIEW_SECONDS = 240, 480, 2.0
MOST_PIECES, MOST_FILES = 50_000, 200  # in the graphs, and in the table of files with something wrong
STAGES = (
    "judging", "annotations", "scenes", "damage", "lengths", "geometry", "quality", "duplicates", "cutting",
    "embedding", "captions",
)  # fmt: skip
SIDE = "side"  # the shorter one
# Feature, threshold, and 1 where more is worse and -1 where less is: what the page lets one move.
RULES = (
    (SIDE, "geometry.least_side", -1), ("aspect", "geometry.least_aspect", -1),
    ("aspect", "geometry.most_aspect", 1),
    *((feature, f"quality.{threshold}", sign) for feature, threshold, sign, _ in QUALITY),
    *((feature, f"embedding.{threshold}", sign) for feature, threshold, sign, _ in THRESHOLDS),
)  # fmt: skip
OTHERS = ("seconds", "camera_motion", "object_motion", "overexposed", "underexposed", "fps")


def report(folder: Path) -> str:
    """The page for a folder that `curate` has finished; examples are cut out of the source files, if they are there."""
    funnel, records = read_json(folder / FUNNEL), read_json(folder / RECORDS)
    settings = from_json(read_json(folder / SETTINGS))
    if not isinstance(settings, Curate):
        raise UserError(
            f"'{folder / SETTINGS}' holds other settings; give a folder that `vitascope curate` has finished"
        )
    pieces = records["pieces"]
    parts = {
        "title": html.escape(folder.resolve().name),
        "summary": _summary(funnel),
        "funnel": _funnel(funnel["pieces"]),
        "tiers": _tiers(funnel["tiers"]),
        "sets": _sets(funnel.get("sets", ())),
        "captions": _captions(funnel.get("captions")),
        "files": _files(funnel, records["files"]),
        "examples": _examples(pieces, folder / "work"),
        "data": json.dumps(_data(pieces, settings)).replace("<", "\\u003c"),
    }
    page = resources.files("vitascope.engine").joinpath("report.html").read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)


def _data(pieces: Sequence[dict[str, Any]], settings: Curate) -> dict[str, Any]:
    """Columns of features for the graphs; `free` are pieces about which the thresholds of the page decide."""
    measured = [piece for piece in pieces if piece["features"]]
    shown = measured[:: -(-len(measured) // MOST_PIECES) or 1]
    told = [{SIDE: min(one["width"], one["height"]), **one} for one in (piece["features"] for piece in shown)]
    columns = {name: [one.get(name) for one in told] for name in (*(feature for feature, *_ in RULES), *OTHERS)}
    stage_of = [piece["dropped"].partition(":")[0] for piece in shown]
    limits = settings.model_dump()
    return {
        "columns": {name: column for name, column in columns.items() if any(one is not None for one in column)},
        "frames": [piece["stop"] - piece["start"] for piece in shown],
        "kept": [not stage for stage in stage_of],
        "free": [stage in ("", "geometry", "quality", "embedding") for stage in stage_of],
        "camera": [piece["features"]["camera"] for piece in shown],
        "rules": [[feature, path, sign, _at(limits, path)] for feature, path, sign in RULES],
        "of": len(measured),
        "unmeasured": "" if any(AESTHETICS in piece["features"] for piece in shown) else HOW,
    }


def _at(tree: dict[str, Any], path: str) -> Any:
    group, _, name = path.partition(".")
    return tree[group][name] if tree[group]["on"] else None


# Parts of the page.


def _summary(funnel: dict[str, Any]) -> str:
    files, pieces = funnel["files"], funnel["pieces"]
    kept, seconds = pieces.get("kept", {"pieces": 0, "seconds": 0}), sum(one["seconds"] for one in pieces.values())
    told = (
        (f"{files['read']:,} of {files['given']:,}", "files read"),
        (_time(seconds), "of footage decoded"),
        (f"{kept['pieces']:,}", "clips kept"),
        (_time(kept["seconds"]), f"kept, {kept['seconds'] / max(seconds, 1e-9):.0%}"),
    )
    return "".join(f"<div><b>{number}</b><span>{what}</span></div>" for number, what in told)


def _time(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s"


def _funnel(pieces: dict[str, dict[str, Any]]) -> str:
    """A bar for what is left after each stage, and beside it what the stage took and why."""
    total = left = sum(one["seconds"] for one in pieces.values())
    rows = [_step("decoded", left, total, 0.0, "")]
    for stage in STAGES:
        lost = {reason: one for reason, one in pieces.items() if reason.partition(":")[0] == stage}
        if not lost:
            continue
        taken = sum(one["seconds"] for one in lost.values())
        left -= taken
        why = "".join(
            f"<li>{html.escape(reason.partition(': ')[2] or reason)} <small>{one['pieces']:,} pieces, "
            f"{one['frames']:,} frames, {_time(one['seconds'])}</small>"
            for reason, one in sorted(lost.items(), key=lambda item: -item[1]["seconds"])
        )
        rows.append(_step(stage, left, total, taken, f"<ul>{why}</ul>"))
    frames = sum(one["frames"] for one in pieces.values())
    kept = pieces.get("kept", {"frames": 0, "pieces": 0})
    return (
        f"<table class=funnel>{''.join(rows)}</table><p>{kept['frames']:,} frames kept and "
        f"{frames - kept['frames']:,} dropped are the {frames:,} that were decoded.</p>"
    )


def _step(name: str, left: float, total: float, taken: float, why: str) -> str:
    share, lost = (100 * part / max(total, 1e-9) for part in (max(left, 0.0), taken))
    return (
        f"<tr><th>{html.escape(name)}<td class=bar><i class=kept style='width:{share:.2f}%'></i>"
        f"<i class=lost style='width:{lost:.2f}%'></i><td class=number>{share:.0f} %<td>{why}"
    )


def _tiers(tiers: dict[str, int]) -> str:
    total = max(1, sum(tiers.values()))
    rows = "".join(
        f"<tr><th>{html.escape(name)}<td class=bar><i class=kept style='width:{100 * count / total:.2f}%'></i>"
        f"<td class=number>{count:,}<td>"
        for name, count in tiers.items()
    )
    return f"<table class=funnel>{rows}</table>" if rows else "<p>No clip was kept.</p>"


def _sets(sets: Iterable[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(one['set'])}<td>{one['rows']:,}<td>{sum(one['rows left out'].values()):,}"
        f"<td>{one['files']['on disk']:,}<td>{one['files']['missing']:,}<td>{one['files']['not named']:,}"
        f"<td>{one['files']['same named']:,}"
        f"<td>{one['clips']['of files on disk']:,}<td>{one['files that last otherwise']:,}"
        for one in sets
    )
    names = ("set", "rows", "unusable", "files there", "missing", "not named", "same named", "clips")
    head = "<tr>" + "".join(f"<th>{name}" for name in (*names, "files that last otherwise"))
    return f"<section><h2>Public sets</h2><table class=plain>{head}{rows}</table></section>" if rows else ""


def _captions(told: dict[str, Any] | None) -> str:
    if told is None:
        return ""
    rows = "".join(
        f"<tr><th>{when}<td>{one['captions']:,}<td>{one['unique_things']:,}<td>{one['dsg_video_i']:.1%}"
        f"<td>{one['dsg_video_s']:.1%}"
        for when, one in (("as they came", told["as they came"]), ("kept", told["kept"]))
    )
    head = "<tr><th><th>captions checked<th>different things<th>DSG-Video<sub>i</sub><th>DSG-Video<sub>s</sub>"
    return (
        f"<section><h2>Captions</h2><p>{told['clips']:,} clips, {told['no answer']:,} without an answer, "
        f"{told['rewritten']:,} captions rewritten.</p><table class=plain>{head}{rows}</table></section>"
    )


def _files(funnel: dict[str, Any], files: Sequence[dict[str, Any]]) -> str:
    counts = "".join(f"<li>{number:,} {html.escape(reason)}" for reason, number in funnel["files"]["dropped"].items())
    wrong = [
        (file["name"], why)
        for file in files
        if (why := file["dropped"] or file.get("damage", "") or file.get("differs", ""))
    ]
    rows = "".join(f"<tr><td>{html.escape(name)}<td>{html.escape(why)}" for name, why in wrong[:MOST_FILES])
    more = f"<p>and {len(wrong) - MOST_FILES:,} more in {RECORDS}</p>" if len(wrong) > MOST_FILES else ""
    table = f"<details><summary>{len(wrong):,} files with something wrong</summary><table class=plain>{rows}</table>"
    return f"<ul>{counts}</ul>" + (f"{table}{more}</details>" if wrong else "<p>Nothing is wrong with any file.</p>")


def _examples(pieces: Sequence[dict[str, Any]], work: Path) -> str:
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for piece in pieces:
        by_reason.setdefault(piece["dropped"] or "kept", []).append(piece)
    parts = []
    for reason, group in sorted(by_reason.items(), key=lambda item: (item[0] != "kept", item[0])):
        shown = _varied(group, KEPT_EXAMPLES if reason == "kept" else EXAMPLES)
        figures = "".join(_figure(piece, work) for piece in shown)
        count = f"{len(shown)} of {len(group):,}"
        parts.append(f"<h3>{html.escape(reason)} <small>{count}</small></h3><div class=clips>{figures}</div>")
    return "".join(parts)


def _varied(group: Sequence[dict[str, Any]], num: int) -> list[dict[str, Any]]:
    """One of each file before a second of any, early ones first: to show a late one all before it is decoded."""
    turn: dict[str, int] = {}
    order = []
    for piece in sorted(group, key=lambda piece: piece["start"]):
        turn[piece["path"]] = turn.get(piece["path"], 0) + 1
        order.append((turn[piece["path"]], piece["start"], piece["file"], piece))
    return [piece for *_, piece in sorted(order, key=lambda one: one[:3])[:num]]


def _figure(piece: dict[str, Any], work: Path) -> str:
    made = clip_path(work, piece["key"]) if piece["key"] else Path()
    movie = preview(made, 0, piece["stop"] - piece["start"]) if made.is_file() else b""
    movie = movie or preview(Path(piece["path"]), piece["start"], piece["stop"])
    source = f"data:video/mp4;base64,{base64.b64encode(movie).decode()}"
    shown = f"<video loop muted playsinline src='{source}'></video>" if movie else "<p>not to be read any more</p>"
    features, caption = piece["features"], piece.get("caption", "")
    told = [f"<b>{html.escape(piece['file'])}</b> {piece['start']}–{piece['stop']}"]
    if features:
        told.append(
            f"{features['width']}×{features['height']}, {features['seconds']:.1f} s, {features['camera']}, "
            f"motion {features['motion']:.1f}, clarity {features['clarity']:.0f}"
        )
    if caption:
        told.append(f"<q>{html.escape(caption)}</q>")
    return f"<figure>{shown}<figcaption>{'<br>'.join(told)}</figcaption></figure>"


def preview(path: Path, start: int, stop: int) -> bytes:
    """The beginning of a piece, small; nothing if the file cannot be read any more."""
    file = BytesIO()
    try:
        container, video = open_video(path)
        with container, av.open(file, "w", format="mp4") as written:
            stop = min(stop, start + max(1, round(PREVIEW_SECONDS * video.fps)))
            stream = None
            for number, picture in enumerate(pictures(container, video)):
                if number >= stop:
                    break
                if number < start:
                    continue
                if stream is None:
                    width, height = video.size
                    scale = min(PREVIEW_WIDTH / width, PREVIEW_HEIGHT / height) / 2
                    size = max(2, 2 * round(width * scale)), max(2, 2 * round(height * scale))
                    rate = Fraction(video.fps).limit_denominator(1001)
                    stream = add_h264(written, rate, size, {"crf": "28", "preset": "veryfast"})
                written.mux(stream.encode(to_yuv(cv2.resize(picture.rgb(), size, interpolation=cv2.INTER_AREA))))
            if stream is None:
                return b""
            written.mux(stream.encode(None))
    except (NotAVideo, av.FFmpegError, OSError):
        return b""
    return file.getvalue()
