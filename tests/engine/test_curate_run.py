"""Every frame is kept or dropped with a reason; the same input gives the same bytes, whatever happened on the way."""

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.footage import waves, write
from engine.fuzz import final_bytes
from vitascope import media
from vitascope.config import override
from vitascope.engine import executors
from vitascope.engine.config import Curate
from vitascope.engine.cutting import cut_file
from vitascope.engine.decoding import NotAVideo
from vitascope.engine.judging import judge_file
from vitascope.engine.measuring import measure_file
from vitascope.engine.pieces import Measured, Piece, lengths
from vitascope.engine.report import report
from vitascope.engine.run import PAGE, curate
from vitascope.engine.sources import find
from vitascope.errors import UserError

ROOM = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots in one file, one with a caption, a copy, a still picture, and things that are no video."""
    folder = tmp_path_factory.mktemp("raw")
    write(folder / "two shots.mp4", np.concatenate([waves(30, seed=1), waves(30, seed=2)]))
    write(folder / "größe\n1.mkv", waves(30, seed=3, width=162, height=130))
    (folder / "größe\n1.txt").write_text("waves go right\nstripes\n")
    (folder / "zwilling.mp4").write_bytes((folder / "two shots.mp4").read_bytes())
    write(folder / "still.mp4", waves(30, seed=4, speed=0))
    (folder / "empty.mp4").touch()
    (folder / "random.mp4").write_bytes(random.Random(5).randbytes(5000))
    (folder / "words.mp4").write_text("#EXTM3U\nfile:///etc/passwd\n")
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere.mp4").symlink_to(folder / "nothing")
    whole = (folder / "two shots.mp4").read_bytes()
    (folder / "no moov.mp4").write_bytes(whole[: len(whole) // 2])
    write(folder / "one frame.mp4", waves(1, seed=6))
    return folder


def run(raw: Path, out: Path, *changes: str) -> dict:
    settings = Curate()
    for change in changes:
        settings = override(settings, *change.split("="))
    return curate(find([raw], out), out, settings, executors.in_process)


def test_kept_and_dropped_add_up_to_the_input(raw: Path, tmp_path: Path) -> None:
    funnel = run(raw, tmp_path / "out")
    dropped = funnel["files"]["dropped"]
    assert funnel["files"]["given"] == funnel["files"]["read"] + sum(dropped.values()) == 11
    assert (
        sum(count["frames"] for count in funnel["pieces"].values()) == funnel["frames"]["decoded"] == 60 + 30 + 30 + 1
    )
    pieces = funnel["pieces"]
    assert pieces["kept"]["pieces"] == 3 and pieces["kept"]["frames"] == 90
    assert pieces["lengths: too short"]["frames"] == 1 and pieces["quality: stands still"]["frames"] == 30
    reasons = " ".join(dropped)
    for told in ("is empty", "the same bytes", "leads to no file", "a link to a folder", "cannot be opened"):
        assert told in reasons


def test_shards_hold_what_the_index_and_the_manifest_say(raw: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    out = tmp_path / "out"
    run(raw, out, "shards.clips=2")
    index = json.loads((out / "shards.json").read_text())["shards"]
    rows = {row["key"]: row for row in pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()}
    seen = []
    for entry in index:
        with tarfile.open(out / entry["name"]) as tar:
            names = tar.getnames()
            assert len(names) == 2 * entry["samples"]
            for name in names[::2]:
                key = name.removesuffix(".mp4")
                (tmp_path / name).write_bytes(tar.extractfile(name).read())
                told, clip = json.load(tar.extractfile(f"{key}.json")), media.read_video(tmp_path / name)
                assert clip.size == (told["width"], told["height"]) and clip.fps == pytest.approx(told["fps"])
                assert clip.seconds == pytest.approx(told["seconds"]) == rows[key]["seconds"]
                assert told["features"].keys() <= rows[key].keys() and rows[key]["shard"] == entry["name"]
                seen.append((key, told["source"], told["caption"], clip.size))
    assert len(rows) == len(seen) == 3
    assert {caption for _, source, caption, _ in seen if source.startswith("größe")} == {"waves go right"}


def test_clips_are_the_very_frames(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out, "cutting.crf=1")
    told = json.loads((out / "records.json").read_text())["pieces"]
    second = next(piece for piece in told if piece["file"] == "two shots.mp4" and piece["start"] == 30)
    clip = media.read_video(out / "work" / "clips" / f"{second['key']}.mp4").pixels
    source = media.read_video(raw / "two shots.mp4").pixels[30:]
    assert clip.shape == source.shape and (clip - source).abs().mean() < 0.01


def test_the_same_input_twice_gives_the_same_bytes_in_other_places_and_executors(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "here")
    curate(find([raw]), tmp_path / "pool", Curate(), executors.pool(2))
    assert final_bytes(tmp_path / "here") == final_bytes(tmp_path / "pool")


def test_another_threshold_decodes_and_cuts_nothing_again(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    before = {path: path.stat().st_mtime_ns for path in (out / "work").rglob("*") if path.suffix}
    funnel = run(raw, out, "quality.most_static=null", "quality.least_motion=null", "quality.most_duplicated=null")
    assert funnel["pieces"]["kept"]["pieces"] == 4
    after = {path: path.stat().st_mtime_ns for path in (out / "work").rglob("*") if path.suffix}
    assert {path: after[path] for path in before} == before
    new = [path for path in after if path not in before]
    assert [path.parent.name for path in new] == ["clips"]
    assert len(list(out.glob("*.tar"))) == 1


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "whole")
    out, paths = tmp_path / "killed", {**os.environ, "PYTHONPATH": str(ROOM / "src")}
    code = (
        "import sys; from pathlib import Path; from vitascope.engine import executors, run, sources, config;"
        "raw, out = map(Path, sys.argv[1:]);"
        "run.curate(sources.find([raw], out), out, config.Curate(), executors.in_process)"
    )
    for wish in ("measured/*.json", "clips/*.mp4"):
        child = subprocess.Popen([sys.executable, "-c", code, raw, out], env=paths, cwd=ROOM)
        while child.poll() is None and not list((out / "work").glob(wish)):
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
    run(raw, out)
    assert final_bytes(out) == final_bytes(tmp_path / "whole")
    assert not list(out.rglob(".*.part"))


def test_each_stage_can_be_left_out(raw: Path, tmp_path: Path) -> None:
    off = [f"{stage}.on=false" for stage in ("scenes", "lengths", "geometry", "quality", "duplicates")]
    funnel = run(raw, tmp_path / "out", *off)
    assert funnel["pieces"]["kept"]["pieces"] == funnel["files"]["read"]


def test_a_file_that_cannot_be_judged_costs_itself_alone(raw: Path, tmp_path: Path) -> None:
    def fails(work: executors.Work, tasks: Sequence[Any], limits: executors.Limits) -> Iterator[Any]:
        for number, result in enumerate(executors.in_process(work, tasks, limits)):
            yield executors.Failed("took longer") if work is judge_file and number == 0 else result

    funnel = curate(find([raw]), tmp_path / "out", Curate(), fails)
    assert funnel["pieces"]["judging: took longer"]["pieces"] == 1 and len(funnel["pieces"]) > 1
    assert sum(one["frames"] for one in funnel["pieces"].values()) == funnel["frames"]["decoded"]


@pytest.mark.parametrize("late", [measure_file, cut_file])
def test_what_was_late_once_stays_aside_until_the_limit_is_another(
    late: executors.Work, raw: Path, tmp_path: Path
) -> None:
    def crowded(work: executors.Work, tasks: Sequence[Any], limits: executors.Limits) -> Iterator[Any]:
        """The first task that would be done is ended after it did most of its work."""
        has_ended = False
        for result in executors.in_process(work, tasks, limits):
            ends = work is late and not has_ended and not isinstance(result, executors.Failed)
            has_ended |= ends
            yield executors.Failed("took longer", is_late=True) if ends else result

    out = tmp_path / "out"
    funnel = curate(find([raw]), out, Curate(), crowded)
    assert "took longer" in json.dumps(funnel)
    before = final_bytes(out)
    assert run(raw, out) == funnel and final_bytes(out) == before
    again = run(raw, out, "measuring.most_seconds=700")
    assert "took longer" not in json.dumps(again) and again["pieces"]["kept"]["frames"] == 90


def test_a_file_may_take_longer_the_more_of_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write(tmp_path / "raw" / "long.mp4", np.tile(waves(25), (60, 1, 1, 1)), preset="ultrafast")
    for share, told in (
        ("0.001", {"decoding: took longer than measuring.most_seconds=0.2 and most_share=0.001 allow": 1}),
        ("100", {}),
    ):
        changes = ("measuring.most_seconds=0.2", f"measuring.most_share={share}", "scenes.on=false")
        assert run(tmp_path / "raw", tmp_path / "out", *changes)["files"]["dropped"] == told


@pytest.mark.parametrize(("least", "most"), [(0.0, 0.1), (1.0, 10.0), (3.0, 4.0), (4.0, 4.0), (5.0, 4.0)])
def test_clips_are_neither_shorter_than_the_least_nor_longer_than_the_most(least: float, most: float) -> None:
    fps, settings = (
        10.0,
        override(override(Curate(), "lengths.least_seconds", f"{least}"), "lengths.most_seconds", f"{most}"),
    )
    file = Measured("", Path(), "", {"fps": fps}, frames=np.zeros(0), samples=np.zeros(0), changes=())
    for num in range(1, 130):
        made = lengths(Piece("", 7, 7 + num), file, settings)
        assert [one.start for one in made] + [7 + num] == [7] + [one.stop for one in made]
        kept = [one.num_frames for one in made if not one.dropped]
        assert all(least * fps <= length <= most * fps for length in kept)
        # What goes is less than the shortest clip: no more could have been kept.
        assert num - sum(kept) < max(least * fps, 1) or least > most


def naps(task: tuple[float, int]) -> float:
    """So long a rest so many times, with a sign of life before each."""
    seconds, times = task
    pulse = executors.Pulse(0.0)
    for _ in range(times):
        pulse.beat()
        time.sleep(seconds)
    return seconds * times


def grows(megabytes: int) -> int:
    return len(bytearray(megabytes * 2**20))


def dies(number: int) -> int:
    if number:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


def raises(told: str) -> str:
    raise NotAVideo(told)


def test_limits_of_time_and_memory_hold_for_each_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "GRACE", 4.0)
    limits = executors.Limits(seconds=1.0, megabytes=300)
    slow = list(executors.pool(2)(naps, [(0.0, 1), (60.0, 1), (0.5, 16)], limits))
    assert [slow[0], slow[2]] == [0.0, 8.0]  # the last one longer than its limit, never resting for so long
    assert "measuring.most_seconds=1 allows" in slow[1].reason and slow[1].is_late
    large = list(executors.pool(1)(grows, [1, 2000, 2], limits))
    assert [large[0], large[2]] == [2**20, 2**21] and "memory" in large[1].reason
    dead = list(executors.pool(1)(dies, [0, 1, 0], limits))
    assert [dead[0], dead[2]] == [0, 0] and "exit code -11" in dead[1].reason


def test_workers_that_cannot_start_are_told_of_once_and_no_task_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = types.ModuleType("nowhere")  # where no other process finds it
    exec("def work(task): return task", nowhere.__dict__)
    monkeypatch.setitem(sys.modules, "nowhere", nowhere)
    limits, said = executors.Limits(60.0, 300), list[int]()
    with pytest.raises(UserError, match=r"no process could be started to work in \(exit code 1.*--engine here"):
        list(executors.results(executors.pool(2), nowhere.work, [1, 2, 3], limits, lambda done, _: said.append(done)))
    assert not said


def test_a_worker_that_is_killed_while_it_is_idle_is_replaced() -> None:
    strangers = {*multiprocessing.active_children()}
    answers = executors.pool(1)(dies, [0, 0, 1, 0], executors.Limits(seconds=60.0, megabytes=300))
    assert next(answers) == 0
    (idle,) = {*multiprocessing.active_children()} - strangers
    idle.kill()
    idle.join()
    answered, failed, last = answers
    assert (answered, last) == (0, 0) and "exit code -11" in failed.reason


def test_what_the_user_can_mend_is_told(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no video"):
        find([tmp_path / "bare"])
    with pytest.raises(UserError, match="does not exist"):
        find([tmp_path / "none"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").touch()
    with pytest.raises(UserError, match="other things"):
        run(raw, tmp_path / "other")
    with pytest.raises(UserError, match="missing or damaged"):
        report(tmp_path / "bare")


def test_the_page_holds_all_it_shows(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "out")
    page = report(tmp_path / "out")
    assert "quality: stands still" in page and page.count("data:video/mp4;base64,") >= 5
    assert not re.search(r"(src|href)=['\"]?(https?:|//)", page) and "import" not in page
    assert "{{" not in page


def test_a_page_of_a_run_that_is_no_more_goes(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    (out / PAGE).write_text(report(out))
    run(raw, out)
    assert (out / PAGE).is_file()
    run(raw, out, "quality.most_static=null")
    assert not (out / PAGE).exists()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")
def test_what_workers_are_forked_from_has_no_threads() -> None:
    """A thread is not forked, and who waits for it in the copy (OpenCV does) waits for ever."""
    alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    code = "import os, vitascope.engine.judging; print(len(os.listdir('/proc/self/task')))"
    told = subprocess.run([sys.executable, "-c", code], env={**os.environ, **alone}, capture_output=True, text=True)
    assert told.stdout.strip() == "1", told.stderr
