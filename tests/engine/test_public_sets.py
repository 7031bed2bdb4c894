"""Small tables with the columns that the authors publish, and what is used, missing and wrong of each."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from beside import needs
from engine.footage import VIDEOS, waves, write
from vitascope.config import override
from vitascope.engine import executors
from vitascope.engine.annotations import Told, seconds_of
from vitascope.engine.config import Annotations, Curate
from vitascope.engine.public_sets import SETS, gather, read_set
from vitascope.engine.run import curate
from vitascope.engine.sources import Source
from vitascope.errors import UserError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no video, but a file")
    return path


def table(path: Path, columns: str, *rows: tuple[Any, ...]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns.split(), *rows])


def lines(path: Path, *rows: Any) -> None:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def read(name: str, folder: Path, **wanted: Any) -> tuple[dict[str, Source], Told]:
    sources, told = read_set(name, folder, Annotations(**wanted))
    return {source.name: source for source in sources}, told


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    for name in (
        "Archery/v_Archery_g01_c01",
        "HandstandPushups/v_HandStandPushups_g01_c01",
        "Archery/v_Archery_g09_c01",
    ):
        touch(tmp_path / "UCF-101" / f"{name}.avi")
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\n2 HandstandPushups\n")
    (lists / "trainlist01.txt").write_text(
        "Archery/v_Archery_g01_c01.avi 1\nArchery/v_Archery_g02_c01.avi 1\nArchery/v_Archery_g03_c01.avi 2\n"
        "Cooking/v_Cooking_g01_c01.avi 3\nHandstandPushups/v_HandStandPushups_g01_c01.avi 2\n"
    )
    (lists / "testlist01.txt").write_text("garbage\n")
    (lists / "testlist02.txt").write_text("Archery/v_Archery_g01_c01.avi\n")
    return tmp_path


def test_ucf101_has_classes_and_splits(ucf: Path) -> None:
    found, told = read("ucf101", ucf)
    archery = found["UCF-101/Archery/v_Archery_g01_c01.avi"]
    assert archery.captions == ("archery",)
    assert archery.about == {"set": "ucf101", "class": "Archery", "class_number": 1, "splits": ["test02", "train01"]}
    assert {source.captions for source in found.values()} == {("archery",), ("handstand pushups",)}
    assert [*told.missing] == ["Archery/v_Archery_g02_c01.avi"] and told.not_named == 1
    assert told.left_out == {"names no video of a known class": 2, "has the number of another class": 1}
    assert [*read("ucf101", ucf, split="test02")[0]] == ["UCF-101/Archery/v_Archery_g01_c01.avi"]
    with pytest.raises(UserError, match="did you mean 'train01'"):
        read("ucf101", ucf, split="train1")


@needs(VIDEOS)
def test_the_lists_of_ucf101_as_published(tmp_path: Path) -> None:
    for path in (VIDEOS.parent / "prompts" / "ucf101").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    _, told = read("ucf101", tmp_path)
    assert len(told.missing) == 13320 and told.rows == 3 * 13320 and not told.left_out
    assert len(read("ucf101", tmp_path, split="train01")[1].missing) == 9537


def test_msrvtt_takes_all_sentences_and_leaves_times_of_the_web_alone(tmp_path: Path) -> None:
    for number in (0, 1, 7):
        touch(tmp_path / "TrainValVideo" / f"video{number}.mp4")
    touch(tmp_path / "TrainValVideo" / "video0.webm")
    videos = [
        {"category": 9, "url": "u", "video_id": f"video{number}", "start time": 137.72, "end time": 149.44,
         "split": split, "id": number}
        for number, split in ((0, "train"), (1, "validate"), (2, "test"))
    ]  # fmt: skip
    sentences = [
        {"caption": text, "video_id": f"video{number}", "sen_id": 0}
        for number, text in ((0, "a car"), (0, "a red car"), (0, "a car"), (1, "a cat"), (5, "nobody"), (1, " "))
    ]
    told_in = {"info": {}, "videos": videos, "sentences": sentences}
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(told_in))
    found, told = read("msrvtt", tmp_path)
    first = found["TrainValVideo/video0.mp4"]
    assert first.captions == ("a car", "a red car") and not first.clips
    assert first.seconds == pytest.approx(11.72) and first.about["category"] == 9
    assert [*told.missing] == ["video2.mp4"] and told.not_named == 1
    assert told.same_named == told.record()["files"]["same named"] == 1
    assert told.left_out == {"sentences of an unknown video": 1, "sentence without words or video": 1}
    assert [*read("msrvtt", tmp_path, split="validate")[0]] == ["TrainValVideo/video1.mp4"]
    assert not read("msrvtt", tmp_path, captions=False)[0]["TrainValVideo/video0.mp4"].captions


def test_webvid_has_a_caption_a_video(tmp_path: Path) -> None:
    touch(tmp_path / "videos" / "000001_000050" / "4.mp4")
    table(
        tmp_path / "results_10M_train.csv", "videoid contentUrl duration page_dir name",
        (4, "https://x/4.mp4", "PT00H01M02S", "000001_000050", "Waves, at night"),
        (5, "https://x/5.mp4", "PT00H00M10S", "000051_000100", "Gone"), (6, "short"),
        (4, "https://x/4.mp4", "PT00H01M02S", "000001_000050", "Again"),
    )  # fmt: skip
    found, told = read("webvid10m", tmp_path)
    (waves,) = found.values()
    assert waves.captions == ("Waves, at night",) and waves.seconds == 62
    assert [*told.missing] == ["000051_000100/5.mp4"] and told.found == 1
    assert told.left_out == {"cannot be read": 1, "names a file for the second time": 1} and told.rows == 4
    with pytest.raises(UserError, match="no table is named after the split 'val'"):
        read("webvid10m", tmp_path, split="val")
    table(tmp_path / "results_10M_train.csv", "videoid name", (4, "Waves"))
    with pytest.raises(
        UserError, match=r"columns videoid, contentUrl.*found 'results_10M_train.csv' with name, videoid"
    ):
        read("webvid10m", tmp_path)


HDVILA = {
    "video_id": "QMi8x8o55Ns", "url": "https://y/QMi8x8o55Ns",
    "clip": [{"clip_id": f"QMi8x8o55Ns.{number}.mp4", "span": [f"00:00:0{number}.500", f"00:00:0{number + 2}.000"]}
             for number in (1, 4, 7)],
}  # fmt: skip


def test_hdvila_is_found_whole_or_cut_apart(tmp_path: Path) -> None:
    other, damaged = {**HDVILA, "video_id": "other"}, {**HDVILA, "clip": [{"clip_id": "x", "span": ["1", "0"]}]}
    lines(tmp_path / "meta_part0.jsonl", HDVILA, other, damaged, "{")
    touch(tmp_path / "download_videos" / "other.mp4")
    for number in (1, 7):
        touch(tmp_path / "video_clips" / "QMi8x8o55Ns" / f"QMi8x8o55Ns.{number}.mp4")
    found, told = read("hdvila100m", tmp_path)
    assert [*found] == [*(f"video_clips/QMi8x8o55Ns/QMi8x8o55Ns.{n}.mp4" for n in (1, 7)), "download_videos/other.mp4"]
    assert [clip.start for clip in found["download_videos/other.mp4"].clips] == [1.5, 4.5, 7.5]
    cut = found["video_clips/QMi8x8o55Ns/QMi8x8o55Ns.7.mp4"]
    assert cut.seconds == 1.5 and cut.about["clip_id"] == "QMi8x8o55Ns.7.mp4" and not cut.clips
    assert [*told.missing] == ["QMi8x8o55Ns.mp4, clip 1"] and told.left_out == {"cannot be read": 2}


def test_internvid_gathers_the_clips_of_a_video(tmp_path: Path) -> None:
    def row(video: str, start: str, stop: str, **more: Any) -> dict[str, Any]:
        return {"YoutubeID": video, "Start_timestamp": start, "End_timestamp": stop, "Caption": f"at {start}", **more}

    touch(tmp_path / "-a_b.webm")
    lines(
        tmp_path / "InternVid-10M-flt.jsonl", row("-a_b", "00:00:05.000", "00:00:06.500", UMT_Score=0.41),
        row("gone", "00:09:22.119", "00:09:25.590"), row("-a_b", "00:00:01.000", "00:00:02.000", Aesthetic_Score=4.3),
        row("gone", "00:10:22.119", "00:10:25.590"), row("-a_b", "later", "00:00:01.000"), "[]",
    )  # fmt: skip
    found, told = read("internvid10m", tmp_path)
    assert [(clip.start, clip.stop, clip.captions, clip.about) for clip in found["-a_b.webm"].clips] == [
        (1.0, 2.0, ("at 00:00:01.000",), {"aesthetic_score": 4.3}),
        (5.0, 6.5, ("at 00:00:05.000",), {"umt_score": 0.41}),
    ]
    assert [*told.missing] == ["gone.mp4"] and (told.clips, told.missing_clips) == (2, 2)
    assert told.clips + told.missing_clips + told.left_out["cannot be read"] == told.rows == 6


PANDA = "videoID url timestamp caption matching_score desirable_filtering shot_boundary_detection"


def panda(video: str, *spans: tuple[str, str]) -> tuple[str, ...]:
    captions = [f"it's {start}" for start, _ in spans]
    return (
        video, f"https://y/{video}", str([[*span] for span in spans]), str(captions), str([0.45] * len(spans)),
        str(["desirable"] * len(spans)), str([[["0:00:00.000", "0:00:03.069"]]] * len(spans)),
    )  # fmt: skip


def test_panda70m_is_found_whole_or_as_video2dataset_cuts_it(tmp_path: Path) -> None:
    spans = ("0:00:00.500", "0:00:01.500"), ("0:00:02.000", "0:00:03.069")
    broken = (*panda("broken", *spans)[:3], "['one caption']", *panda("broken", *spans)[4:])
    table(
        tmp_path / "panda70m_training_2m.csv", PANDA,
        panda("whole", *spans), panda("cut", *spans), panda("gone", *spans), broken,
    )  # fmt: skip
    touch(tmp_path / "whole.mp4")
    clip = touch(tmp_path / "00000" / "0000000_00001.mp4")
    about = {"url": "https://y/cut", "clips": "[('00:00:02.000', '00:00:03.069')]", "caption": "it's 0:00:02.000"}
    clip.with_suffix(".json").write_text(json.dumps(about))
    touch(tmp_path / "00000" / "0000001_00000.mp4").with_suffix(".json").write_text("{}")
    found, told = read("panda70m", tmp_path)
    first, second = found["whole.mp4"].clips
    assert first.captions == ("it's 0:00:00.500",) and (second.start, second.stop) == (2.0, 3.069)
    assert second.about == {"matching_score": 0.45, "desirable": "desirable"}
    assert found["00000/0000000_00001.mp4"].captions == ("it's 0:00:02.000",)
    assert [*told.missing] == ["cut.mp4, clip 0", "gone.mp4"] and told.not_named == 1
    assert told.left_out == {"cannot be read": 1} and (told.clips, told.missing_clips) == (2, 3)


@pytest.mark.parametrize("time", ["1:2:3:4", "-1:00", "", "soon", None])
def test_no_time_is_read_out_of_what_is_none(time: Any) -> None:
    with pytest.raises(ValueError):
        seconds_of(time)
    assert seconds_of("01:02:03.5") == 3723.5


# With videos that can be decoded.


def run(raw: Path, out: Path, *changes: str) -> dict[str, Any]:
    settings = override(Curate(), "lengths.least_seconds", "0.4")
    for change in changes:
        settings = override(settings, *change.split("="))
    sources, sets = gather([raw], out, settings.annotations)
    return curate(sources, out, settings, executors.in_process, sets=sets)


def test_clip_times_and_captions_of_an_annotation_replace_our_own_when_asked(tmp_path: Path) -> None:
    """Frames 0-12 in no clip, 12-36, a clip that overlaps it, a gap, one that the file's end cuts, one beyond it."""
    import pyarrow.parquet

    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    write(raw / "walk.mp4", waves(96, seed=1))
    times = (0.5, 1.5), (1.25, 2.25), (3.0, 9.0), (10.0, 11.0)
    spans = [(f"0:00:{start:06.3f}", f"0:00:{stop:06.3f}") for start, stop in times]
    table(raw / "panda70m_testing.csv", PANDA, panda("walk", *spans), panda("gone", *spans))

    set_named = Path(f"panda70m:{raw}")
    plain = run(set_named, out)
    assert plain["pieces"].keys() == {"kept"} and plain["pieces"]["kept"]["frames"] == 96
    funnel = run(set_named, out, "annotations.clips=true")
    assert {reason: count["frames"] for reason, count in funnel["pieces"].items()} == {
        "kept": 24 + 24, "annotations: in no clip of the annotation": 12 + 18,
        "annotations: overlaps the clip before it": 18,
    }  # fmt: skip
    rows = pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()
    assert {(row["start"], row["stop"], row["caption"]) for row in rows} == {
        (12, 36, "it's 0:00:00.500"), (72, 96, "it's 0:00:03.000"),
    }  # fmt: skip
    assert {json.loads(row["annotation"])["matching_score"] for row in rows} == {0.45}
    assert funnel["files"] == {
        "given": 2, "read": 1, "dropped": {"sources: named in an annotation and not on disk": 1},
    }  # fmt: skip
    (told,) = funnel["sets"]
    assert told["clips after the end of their file"] == 1 and told["clips"] == {
        "of files on disk": 4, "of missing files": 4,
    }  # fmt: skip
    assert (out / "missing.txt").read_text() == "panda70m: gone.mp4\n"
    assert not any(row["caption"] for row in captionless(run(set_named, out, "annotations.clips=true",
                                                             "annotations.captions=false"), out))  # fmt: skip


def captionless(_: Any, out: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()


def test_a_file_that_lasts_otherwise_than_its_annotation_says_is_counted(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for number, seconds in ((1, 2), (2, 30)):
        (raw / "videos" / "1_2").mkdir(parents=True, exist_ok=True)
        write(raw / "videos" / "1_2" / f"{number}.mp4", waves(48, seed=number))
        row = (number, "u", f"PT00H00M{seconds}S", "1_2", "waves")
        table(raw / f"results_{number}.csv", "videoid contentUrl duration page_dir name", row)
    funnel = run(Path(f"webvid10m:{raw}"), tmp_path / "out")
    assert funnel["sets"][0]["files that last otherwise"] == 1 and funnel["sets"][0]["rows"] == 2
    records = json.loads((tmp_path / "out" / "records.json").read_text())["files"]
    assert [record.get("differs") for record in records] == [None, "lasts 2.0 s, its annotation says 30.0 s"]


def test_what_the_user_can_mend_is_told(ucf: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'panda70m'"):
        gather([Path(f"panda:{ucf}")], None, Annotations())
    with pytest.raises(UserError, match="must be the folder"):
        gather([Path(f"ucf101:{tmp_path / 'none'}")], None, Annotations())
    with pytest.raises(UserError, match="none is given"):
        gather([ucf], None, Annotations(split="train"))
    for path in ucf.rglob("*.avi"):
        path.unlink()
    with pytest.raises(UserError, match="none of the 3 videos that ucf101 names"):
        gather([Path(f"ucf101:{ucf}")], None, Annotations())
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in SETS:
        with pytest.raises(UserError, match="needs"):
            read_set(name, empty, Annotations())
