"""Whatever a folder holds: each file is read or dropped with a reason, nothing crashes, hangs or is lost in silence."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine.footage import waves, write
from engine.fuzz import final_bytes, fuzz
from vitascope import cli
from vitascope.config import override
from vitascope.engine import executors
from vitascope.engine.config import Curate
from vitascope.engine.run import RECORDS, curate
from vitascope.engine.sources import find
from vitascope.errors import UserError


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("good") / "good.mp4", waves(30, seed=1)).read_bytes()


def run(raw: Path, out: Path, *changes: str) -> dict:
    settings = Curate()
    for change in changes:
        settings = override(settings, *change.split("="))
    return curate(find([raw], out), out, settings, executors.in_process)


def became(raw: Path, out: Path, *changes: str) -> dict[str, str]:
    """Why each file was dropped, "" where it was read; sums are checked and a second run ends alike."""
    funnel = run(raw, out, *changes)
    before = final_bytes(out)
    assert run(raw, out, *changes) == funnel and final_bytes(out) == before
    records = json.loads((out / RECORDS).read_text())["files"]
    assert len(records) == funnel["files"]["given"]
    assert funnel["files"]["read"] + sum(funnel["files"]["dropped"].values()) == len(records)
    assert sum(count["frames"] for count in funnel["pieces"].values()) == funnel["frames"]["decoded"]
    return {record["name"]: record["dropped"] or record.get("damage", "") for record in records}


def say_ten_hours(path: Path) -> None:
    """Into the header of a Matroska file: its element of that name, in milliseconds."""
    content = bytearray(path.read_bytes())
    place = content.index(b"\x44\x89\x88") + 3
    content[place : place + 8] = struct.pack(">d", 36_000_000.0)
    path.write_bytes(content)


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def huge(path: Path) -> None:
    """Two frames of 7680x4320."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuvj420p"
        for light in (90, 160):
            frame = av.VideoFrame(7680, 4320, "yuvj420p")
            for plane in frame.planes:
                plane.update(bytes([light]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_every_kind_of_bad_file_is_counted_with_its_reason(good: bytes, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "a b" / "größe\n2").mkdir(parents=True)
    names = ["good.mp4", "a b/with space.mp4", "a b/größe\n2/日本 1.mp4", os.fsdecode(b"bytes \xff\xfe.mp4")]
    for number, name in enumerate(names):
        (raw / name).write_bytes(good + bytes(number))  # contents of their own
    (raw / "twin.mp4").write_bytes(good)
    (raw / "empty.mp4").touch()
    (raw / "random.mp4").write_bytes(random.Random(0).randbytes(4000))
    place = good.index(b"moov")
    (raw / "moov cut.mp4").write_bytes(good[: place + 300])
    say_ten_hours(write(raw / "ten hours.mkv", waves(30, seed=3)))
    write(raw / "one frame.mp4", waves(1, seed=2))
    sound(raw / "sound.mp4")
    huge(raw / "huge.avi")
    (raw / "loop").symlink_to(raw)
    (raw / "round.mp4").symlink_to(raw / "about.mp4")
    (raw / "about.mp4").symlink_to(raw / "round.mp4")
    os.mkfifo(raw / "pipe.mp4")  # reading it would wait for ever
    (raw / "folder.mp4").mkdir()
    (raw / "film.mp4.bak").write_bytes(good)
    (raw / "good.txt").write_text("waves go right")
    (raw / "shut.mp4").write_bytes(good + b"shut")
    (raw / "shut.mp4").chmod(0)

    told = became(raw, tmp_path / "out")
    reasons = {
        "good.mp4": "", "a b/with space.mp4": "", "a b/größe\n2/日本 1.mp4": "", "bytes \\xff\\xfe.mp4": "",
        "one frame.mp4": "", "huge.avi": "",
        "twin.mp4": "the same bytes", "empty.mp4": "is empty", "random.mp4": "cannot be opened",
        "moov cut.mp4": "holds no video", "ten hours.mkv": "ends after 1.25 of 36000.00 seconds",
        "sound.mp4": "holds sound but no video", "round.mp4": "leads to no file", "about.mp4": "leads to no file",
        "pipe.mp4": "leads to no file", "loop": "a link to a folder", "film.mp4.bak": "no video by its ending",
        "shut.mp4": "" if os.geteuid() == 0 else "cannot be read",
    }  # fmt: skip
    assert told.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert (reason in told[name]) if reason else not told[name], (name, told[name])


def test_a_file_is_counted_once_however_its_path_is_written(
    good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, beside = tmp_path / "raw", tmp_path / "beside"
    raw.mkdir()
    (raw / "good.mp4").write_bytes(good)
    (raw / "link.mp4").symlink_to("good.mp4")
    beside.symlink_to(raw)
    (tmp_path / "table.csv").write_text("path,caption\nraw/../beside/good.mp4,said\n")
    (tmp_path / "list.txt").write_text(f"{raw}/good.mp4\n\0/nothing.mp4\n")
    monkeypatch.chdir(tmp_path)
    told = {source.path.name: source for source in find([Path("raw"), Path("list.txt"), Path("table.csv")])}
    assert {*told} == {"good.mp4", "link.mp4", "nothing.mp4"} and told["good.mp4"].captions == ("said",)
    assert len(find([Path("raw"), Path("raw/good.mp4"), raw, beside])) == 2
    assert [source.name for source in find([Path("raw"), raw / "good.mp4"])] == ["good.mp4", "link.mp4"]


def test_footage_in_a_folder_named_report_is_curated(
    good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "good.mp4").write_bytes(good)
    monkeypatch.chdir(tmp_path)
    for words, code in (["./report"], 0), (["report"], 2):
        monkeypatch.setattr(sys, "argv", ["vitascope", "curate", *words, "--out", "out", "--engine", "here"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert (end.value.code or 0) == code
    told = capsys.readouterr()
    assert "1 of 1 files read" in told.err and "for footage in a folder of that name: ./report" in told.err


def test_what_an_earlier_run_wrote_is_no_footage(good: bytes, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "good.mp4").write_bytes(good)
    run(raw, raw / "first")
    funnel = run(raw, raw / "second")
    assert funnel["files"]["given"] == 2 and funnel["pieces"]["kept"]["pieces"] == 1
    assert funnel["files"]["dropped"] == {"sources: a folder that a run of the engine wrote": 1}
    with pytest.raises(UserError, match="no footage"):
        find([raw / "first"])


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no video"):
        run(tmp_path, tmp_path / "out")


def test_a_folder_of_another_config_ends_as_a_fresh_one(good: bytes, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "good.mp4").write_bytes(good)
    run(raw, tmp_path / "used", "lengths.most_seconds=0.6", "lengths.least_seconds=0.1", "measuring.small_pixels=128")
    run(raw, tmp_path / "used")
    run(raw, tmp_path / "fresh")
    assert final_bytes(tmp_path / "used") == final_bytes(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("ending", "damage"), [(".json", b"{}"), (".json", b"{"), (".frames", None), (".frames", b"cut"), (".npy", b"PK")]
)
def test_what_was_measured_and_is_damaged_or_gone_is_measured_again(
    good: bytes, tmp_path: Path, ending: str, damage: bytes | None
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    (raw / "good.mp4").write_bytes(good)
    run(raw, out)
    before = final_bytes(out)
    (kept,) = (out / "work" / "measured").glob(f"*{ending}")
    kept.unlink() if damage is None else kept.write_bytes(damage)
    run(raw, out)
    assert final_bytes(out) == before


def test_a_file_that_goes_while_it_is_needed_is_named_and_no_matter_of_space(good: bytes, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    (raw / "good.mp4").write_bytes(good)

    def loses_rows(work: executors.Work, tasks: Sequence[Any], limits: executors.Limits) -> Iterator[Any]:
        yield from executors.in_process(work, tasks, limits)
        for path in (out / "work" / "measured").glob("*.frames"):
            path.unlink()

    with pytest.raises(UserError, match=r"\.frames' could not be read .*run the same command again") as told:
        curate(find([raw], out), out, Curate(), loses_rows)
    assert "space" not in str(told.value)
    assert run(raw, out)["files"]["read"] == 1


def test_a_file_that_is_replaced_after_it_was_measured_is_not_cut(good: bytes, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    (raw / "good.mp4").write_bytes(good)
    other = write(tmp_path / "other.mp4", waves(30, seed=9)).read_bytes()

    def replaces(work: executors.Work, tasks: Sequence[Any], limits: executors.Limits) -> Iterator[Any]:
        yield from executors.in_process(work, tasks, limits)
        (raw / "good.mp4").write_bytes(other)

    funnel = curate(find([raw], out), out, Curate(), replaces)
    assert {*funnel["pieces"]} == {"cutting: is another file than when it was measured"}
    assert not [*(out / "work" / "clips").glob("*.mp4")]
    assert run(raw, out)["pieces"]["kept"]["frames"] == 30


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "none", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(not Path("/proc/self").exists() or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(
    good: bytes, small_disk: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "good.mp4").write_bytes(good)
    write(raw / "other.mp4", waves(60, seed=2))
    with pytest.raises(UserError, match=r"run the same command again"):
        run(raw, small_disk / "out")
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    run(raw, small_disk / "out")
    run(raw, tmp_path / "whole")
    assert final_bytes(small_disk / "out") == final_bytes(tmp_path / "whole")


def test_mutated_files_cost_themselves_alone(tmp_path: Path) -> None:
    """`python tests/engine/fuzz.py` does the same with 500 files."""
    told, _, kept = fuzz(tmp_path, 30, 7, executors.in_process)
    assert told.total() == 30 and 0 < told["read"] < 30 and kept
