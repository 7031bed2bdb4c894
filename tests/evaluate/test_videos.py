"""Laws of the videos that are measured: what is learned from can be measured, and captions find their videos."""

from __future__ import annotations

from pathlib import Path

from vitascope.data.folder import ENDINGS
from vitascope.evaluate.videos import find_videos, read_captions


def test_what_is_learned_from_as_a_video_is_found_to_be_measured(tmp_path: Path) -> None:
    endings = {".mp4", ".mov", ".mts", ".y4m", ".3gp", ".webm"}
    assert endings <= ENDINGS
    for number, ending in enumerate(sorted(endings)):
        (tmp_path / f"{number}{ending}").touch()
    assert {video.path.suffix for video in find_videos(tmp_path)} == endings


def test_a_caption_finds_its_video_however_its_ending_is_written(tmp_path: Path) -> None:
    names = ("a.MP4", "b.mp4", "c.Mts")
    for name in names:
        (tmp_path / name).touch()
    table = tmp_path / "captions.txt"
    table.write_text("".join(f"{name}\tsaid of {name}\n" for name in names))
    found = find_videos(tmp_path, read_captions(table))
    assert [video.caption for video in found] == [f"said of {name}" for name in names]
