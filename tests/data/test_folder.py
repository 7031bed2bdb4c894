"""Laws of plain footage: every file is kept or left out with a reason, whatever it is."""

from __future__ import annotations

import csv
import json
import random
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from beside import SHARED, needs
from filming import film, numbers_of
from vitascope import media
from vitascope.data.decoding import probe, read_frames
from vitascope.data.folder import Files, open_folder, open_table
from vitascope.types import Clip, UserError

REAL = SHARED / "videos"


def keys(files: Files) -> list[str]:
    return [files.sample(row).key for row in range(len(files.table))]


def left(files: Files) -> dict[str, list[str]]:
    return {reason.split(" (")[0]: list(names) for reason, names in files.told.left_out.items()}


def test_lines_beside_a_file_are_its_captions(tmp_path: Path) -> None:
    (tmp_path / "deep ünd").mkdir()
    media.write(film(3), tmp_path / "deep ünd" / "b\n c.mp4")
    (tmp_path / "deep ünd" / "b\n c.txt").write_text("one\n\n two ünd \n")
    media.write(film(4), tmp_path / "a.gif")
    files = open_folder(tmp_path)
    assert keys(files) == ["a.gif", "deep ünd/b\n c.mp4"]
    assert [files.sample(row).captions for row in range(2)] == [("",), ("one", "two ünd")]
    assert files.told.noted["without a caption"] == ["a.gif"]
    assert files.table[0].num_frames == 4


def test_everything_is_kept_or_left_out_with_its_reason(tmp_path: Path) -> None:
    media.write(film(5), tmp_path / "good.mp4")
    media.write(film(1), tmp_path / "one.mp4")
    content = (tmp_path / "good.mp4").read_bytes()
    (tmp_path / "again.mp4").write_bytes(content)
    (tmp_path / "again.txt").write_text("the same")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "random.mp4").write_bytes(random.Random(0).randbytes(5000))
    (tmp_path / "moov.mp4").write_bytes(content[: content.index(b"moov") + 50])
    (tmp_path / "notes.pdf").write_text("no video")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux([*stream.encode(sound), *stream.encode(None)])
    files = open_folder(tmp_path)
    assert keys(files) == ["again.mp4", "one.mp4"]
    assert files.sample(0).captions == ("the same",)
    assert left(files) == {
        "no video and no picture by its ending '.pdf'": ["notes.pdf"],
        "link to a folder": ["loop"],
        "link to nothing, or no file": ["gone.mp4"],
        "is empty": ["empty.mp4"],
        "damaged or no video": ["random.mp4"],
        "holds no video": ["moov.mp4", "sound.mp4"],
        "the same content as another, which has its captions now": ["good.mp4"],
    }


def test_a_folder_without_footage_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no footage.*no video and no picture"):
        open_folder(tmp_path)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match=r"holds no footage.*1 is empty"):
        open_folder(tmp_path)
    with pytest.raises(UserError, match="there is none"):
        open_folder(tmp_path / "nowhere")


def test_a_table_without_words_leaves_them_to_the_text_beside_the_file_and_both_readers_agree(tmp_path: Path) -> None:
    from vitascope.engine.sources import find  # late: an extra

    media.write(film(3), tmp_path / "a.mp4")
    media.write(film(4), tmp_path / "b.mp4")
    (tmp_path / "b.mp4").rename(tmp_path / "b.3gp")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"beside {name}\n")
    table = tmp_path / "table.csv"
    table.write_text("path,caption\na.mp4,said\nb.3gp,\n")
    files = open_table(table)
    told = {files.sample(row).key: files.sample(row).captions for row in range(2)}
    assert told == {"a.mp4": ("said",), "b.3gp": ("beside b",)}
    assert {source.name: source.captions for source in find([table])} == told
    table.unlink()
    assert keys(open_folder(tmp_path)) == [source.name for source in find([tmp_path])] == [*told]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_name_files_and_captions(tmp_path: Path, ending: str) -> None:
    media.write(film(3), tmp_path / "a.mp4")
    media.write(film(4), tmp_path / "b, c.mp4")
    rows = [{"path": "b, c.mp4", "caption": "second, with a comma"}, {"path": "a.mp4", "caption": "first"}]
    rows.append({"path": "missing.mp4", "caption": "third"})
    table = tmp_path / f"table.{ending}"
    if ending == "csv":
        with open(table, "w", newline="") as file:
            writer = csv.DictWriter(file, ["path", "caption"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        from pyarrow import Table, parquet

        parquet.write_table(Table.from_pylist(rows), table)
    files = open_table(table)
    assert keys(files) == ["b, c.mp4", "a.mp4"]
    assert files.sample(0).captions == ("second, with a comma",)
    assert left(files) == {"not on disk": ["missing.mp4"]}
    table.write_bytes(b"\xff\xfe no table")
    with pytest.raises(UserError, match=r"no readable csv, parquet, jsonl or tsv|needs a 'path'"):
        open_table(table)


# Decoding


@pytest.mark.parametrize("ending", [".mp4", ".webp"])
def test_any_frames_are_found_by_their_numbers(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"film{ending}"
    media.write(film(60, fps=20.0), path)
    facts = probe(path)
    assert (facts.width, facts.height, facts.num_frames) == (48, 32, 60)
    assert facts.fps == pytest.approx(20, rel=1e-6)
    rng = random.Random(0)
    for _ in range(6):
        numbers = sorted(rng.sample(range(60), 5))
        frames = read_frames(path, facts, numbers, (24, 16))
        assert frames.shape == (5, 3, 16, 24)
        assert numbers_of(frames.float() / 255) == numbers
    assert torch.equal(read_frames(path.read_bytes(), facts, [7], (24, 16)), read_frames(path, facts, [7], (24, 16)))


@pytest.mark.parametrize("ending", [".gif", ".png"])
def test_frames_that_do_not_say_for_how_long_follow_each_other(tmp_path: Path, ending: str) -> None:
    """As they do where a video is made into a clip whole."""
    path = tmp_path / f"film{ending}"
    pixels = (film(6).pixels * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    first, *others = (Image.fromarray(one) for one in pixels)
    first.save(path, save_all=True, append_images=others)
    facts = probe(path)
    shown = numbers_of(read_frames(path, facts, range(6), (24, 16)).float() / 255)
    assert shown == [0, 1, 2, 3, 4, 5] == numbers_of(media.read_video(path).pixels)
    assert facts.fps == media.read_video(path).fps


def test_far_frames_are_sought(tmp_path: Path) -> None:
    pixels = film(60).pixels.repeat_interleave(2, 0)
    path = tmp_path / "slow.mp4"
    media.write(Clip(pixels, fps=1.0), path)
    assert numbers_of(read_frames(path, probe(path), [0, 40, 80, 119], (16, 16)).float() / 255) == [0, 20, 40, 59]


def test_pace_that_varies_is_followed_in_time(tmp_path: Path) -> None:
    """Each third frame is shown three times as long: what is read at a moment is what is shown then."""
    path, shown = tmp_path / "varying.mp4", []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        time = 0
        for number, picture in enumerate((film(30).pixels * 255).byte().permute(0, 2, 3, 1).numpy()):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 24)
            length = 3 if number % 3 == 0 else 1
            shown += [number] * length
            time += length
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    facts = probe(path)
    seconds = len(shown) / 24
    assert facts.seconds == pytest.approx(seconds, abs=0.15)
    numbers = list(range(0, 30, 3))
    told = numbers_of(read_frames(path, facts, numbers, (16, 16)).float() / 255)
    expected = [shown[int((number + 0.5) / facts.fps * 24)] for number in numbers]
    assert [abs(a - b) <= 1 for a, b in zip(told, expected, strict=True)] == [True] * 10


def test_random_damage_costs_a_file_alone(tmp_path: Path) -> None:
    media.write(film(24), tmp_path / "whole.mp4")
    whole, rng = (tmp_path / "whole.mp4").read_bytes(), random.Random(1)
    path, num_read, num_refused = tmp_path / "damaged.mp4", 0, 0
    for _ in range(120):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 10, 100))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.randrange(len(content))] if rng.random() < 0.3 else content)
        try:
            facts = probe(path)
            numbers = sorted({0, facts.num_frames // 2, facts.num_frames - 1})
            assert read_frames(path, facts, numbers, (16, 16)).shape == (len(numbers), 3, 16, 16)
            num_read += 1
        except UserError:
            num_refused += 1
    assert num_read >= 5 and num_refused >= 5


@needs(REAL)
def test_real_clips_have_their_facts(tmp_path: Path) -> None:
    with open(REAL / "manifest.csv") as file:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    wanted = ["mdn_rabbit320.mp4", "intel_classroom.gif", "intel_asl_milk.mkv", "moviepy_bbb_0_30.webm"]
    for name in wanted:
        facts, row = probe(REAL / "real" / name), rows[name]
        assert (facts.width, facts.height) == (int(row["width"]), int(row["height"])), name
        assert facts.num_frames == int(row["frames"]), name
        assert facts.fps == pytest.approx(float(row["fps"]), rel=0.12 if name.endswith("gif") else 0.01), name
    shutil.copy(REAL / "real" / "mdn_rabbit320.mp4", tmp_path)
    assert keys(open_folder(tmp_path)) == ["mdn_rabbit320.mp4"]


def test_a_table_may_say_several_things_of_a_file_and_what_it_must_not_say_is_told(tmp_path: Path) -> None:
    media.write(film(6), tmp_path / "a.mp4")
    table = tmp_path / "table.jsonl"

    def say(*rows: dict) -> Path:
        table.write_text("\n".join(map(json.dumps, rows)))
        return table

    rows = say({"path": "a.mp4", "caption": "one"}, {"path": "./a.mp4", "caption": "two \ud83d"})
    found = open_table(rows)
    assert found.sample(0).captions == ("one", "two \ufffd") and not found.told.left_out
    with pytest.raises(UserError, match="'captions' must be a list of texts, got 5"):
        open_table(say({"path": "a.mp4", "captions": 5}))
    (tmp_path / "table.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(UserError, match="needs a 'path'"):
        open_table(tmp_path / "table.csv")
