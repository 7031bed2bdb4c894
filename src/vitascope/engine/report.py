"""What became of the footage, as one HTML page that needs nothing beside it: funnel, examples, thresholds to move."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from fractions import Fraction
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import cv2

from vitascope.config import from_json
from vitascope.engine.config import Curate
from vitascope.engine.decoding import NotAVideo, open_video, pictures
from vitascope.engine.pieces import QUALITY
from vitascope.engine.run import FUNNEL, RECORDS, SETTINGS, read_json
from vitascope.errors import UserError
from vitascope.media.writing import add_h264, to_yuv

EXAMPLES, KEPT_EXAMPLES = 3, 12  # of each reason, and of what was kept
PREVIEW_WIDTH, PREVIEW_SECONDS = 192, 2.0


def report(folder: Path) -> str:
    """The page for a folder that `curate` has finished; examples are cut out of the source files, if they are there."""
    funnel, records = read_json(folder / FUNNEL), read_json(folder / RECORDS)
    settings = from_json(read_json(folder / SETTINGS))
    if not isinstance(settings, Curate):
        raise UserError(
            f"'{folder / SETTINGS}' holds other settings; give a folder that `vitascope curate` has finished"
        )
    pieces = records["pieces"]
    paths = {record["name"]: Path(record["path"]) for record in records["files"]}
    features = [piece for piece in pieces if piece["features"]]
    data = {
        "pieces": [
            {
                "frames": piece["stop"] - piece["start"], "kept": not piece["dropped"],
                # Of what another stage dropped no threshold here decides.
                "free": not piece["dropped"] or piece["dropped"].startswith("quality:"),
                **{feature: piece["features"][feature] for feature in {row[0] for row in QUALITY}},
            }
            for piece in features
        ],
        "rules": [[feature, name, sign, getattr(settings.quality, name)] for feature, name, sign, _ in QUALITY],
    }  # fmt: skip
    page = resources.files("vitascope.engine").joinpath("report.html").read_text()
    return (
        page.replace("FILES", _files(funnel, records["files"]))
        .replace("FUNNEL", _funnel(funnel))
        .replace("EXAMPLES", _examples(pieces, paths))
        .replace("DATA", json.dumps(data).replace("<", "\\u003c"))
    )


def _files(funnel: dict[str, Any], files: Sequence[dict[str, Any]]) -> str:
    told = funnel["files"]
    rows = "".join(
        f"<tr><td>{html.escape(file['name'])}<td>{html.escape(file['dropped'] or file.get('damage', ''))}"
        for file in files
        if file["dropped"] or file.get("damage")
    )
    head = f"<p>{told['read']} of {told['given']} files could be read and are not copies of another.</p>"
    return head + (f"<table><tr><th>file<th>what is wrong with it{rows}</table>" if rows else "")


def _funnel(funnel: dict[str, Any]) -> str:
    total = max(1, funnel["frames"]["decoded"])
    rows = "".join(
        f"<tr><td>{html.escape(reason)}<td>{count['pieces']}<td>{count['frames']}<td>{count['seconds']:.1f}"
        f"<td><i class={_colour(reason)} style='width:{300 * count['frames'] / total:.1f}px'></i>"
        for reason, count in sorted(funnel["pieces"].items(), key=lambda item: (item[0] != "kept", -item[1]["frames"]))
    )
    tiers = ", ".join(f"{name} {number}" for name, number in funnel["tiers"].items())
    return (
        f"<table><tr><th>what became of it<th>pieces<th>frames<th>seconds<th>share{rows}"
        f"<tr><th>all<th><th>{funnel['frames']['decoded']}</table><p>Kept, by tier: {html.escape(tiers) or 'none'}.</p>"
    )


def _colour(reason: str) -> str:
    return "kept" if reason == "kept" else "lost"


def _examples(pieces: Sequence[dict[str, Any]], paths: dict[str, Path]) -> str:
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for piece in pieces:
        group = by_reason.setdefault(piece["dropped"] or "kept", [])
        if len(group) < (EXAMPLES if piece["dropped"] else KEPT_EXAMPLES):
            group.append(piece)
    parts = []
    for reason, group in sorted(by_reason.items(), key=lambda item: (item[0] != "kept", item[0])):
        parts.append(f"<h3>{html.escape(reason)}</h3><div class=clips>")
        for piece in group:
            movie = preview(paths[piece["file"]], piece["start"], piece["stop"])
            source = f"data:video/mp4;base64,{base64.b64encode(movie).decode()}"
            playing = f"<video autoplay loop muted playsinline src='{source}'></video>"
            shown = playing if movie else "<p>not to be read any more</p>"
            told = f"{piece['file']}, {piece['start']}–{piece['stop']}, {piece['features'].get('camera', '')}"
            parts.append(f"<figure>{shown}<figcaption>{html.escape(told)}</figcaption></figure>")
        parts.append("</div>")
    return "".join(parts)


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
                    size = PREVIEW_WIDTH, max(2, round(PREVIEW_WIDTH * height / width / 2) * 2)
                    rate = Fraction(video.fps).limit_denominator(1001)
                    stream = add_h264(written, rate, size, {"crf": "28", "preset": "veryfast"})
                written.mux(stream.encode(to_yuv(cv2.cvtColor(picture.small(size), cv2.COLOR_BGR2RGB))))
            if stream is None:
                return b""
            written.mux(stream.encode(None))
    except (NotAVideo, av.FFmpegError, OSError):
        return b""
    return file.getvalue()
