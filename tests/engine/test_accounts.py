"""Whatever comes in, kept and dropped add up to it; settings may change and return; the page reckons as the run did."""

import itertools
import json
import os
import re
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from engine.footage import waves, write
from engine.fuzz import final_bytes
from vitascope.config import override
from vitascope.data.opening import open_footage
from vitascope.engine import executors
from vitascope.engine.config import Curate
from vitascope.engine.report import report
from vitascope.engine.run import curate
from vitascope.engine.sources import find
from vitascope.errors import UserError


def run(raw: list[Path], out: Path, *changes: str) -> dict[str, Any]:
    settings = Curate()
    for change in changes:
        settings = override(settings, *change.split("="))
    return curate(find(raw, out), out, settings, executors.in_process)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders that use the same names: shots, a bar of black, a still picture, tiny and dark ones, and no video."""
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    write(one / "a.mp4", np.concatenate([waves(26, seed=1), waves(10, seed=2)]))
    boxed = waves(26, seed=3)
    boxed[:, :24] = boxed[:, -24:] = 0
    write(other / "a.mp4", boxed)
    write(one / "{{data}} FUNNEL <b>.mp4", waves(26, seed=4, speed=0))
    (one / os.fsdecode(b"\xff\n.mp4")).write_bytes(write(other / "b.mp4", waves(26, seed=7)).read_bytes())
    (other / "b.mp4").unlink()
    write(other / "tiny.mp4", waves(26, seed=5, width=96, height=64))
    write(other / "dark.mp4", waves(26, seed=6) // 40)
    (other / "copy.mp4").write_bytes((one / "a.mp4").read_bytes())
    (other / "noise.mp4").write_bytes(b"\x00" * 999)
    (other / "noise.txt").write_text("words about nothing")
    return [one, other]


@pytest.fixture(scope="module")
def first(raw: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("run") / "out"
    return out, run(raw, out)


def balanced(funnel: dict[str, Any], out: Path) -> bool:
    files, records = funnel["files"], json.loads((out / "records.json").read_text())
    by_file: dict[str, list[tuple[int, int]]] = {}
    for piece in records["pieces"]:
        by_file.setdefault(piece["path"], []).append((piece["start"], piece["stop"]))
    whole = {file["path"]: [(0, file["num_frames"])] for file in records["files"] if not file["dropped"]}
    for spans in by_file.values():  # side by side, from the first frame to the last
        spans.sort()
        assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    return (
        files["given"] == files["read"] + sum(files["dropped"].values()) == len(records["files"])
        and {path: [(spans[0][0], spans[-1][1])] for path, spans in by_file.items()} == whole
        and sum(one["frames"] for one in funnel["pieces"].values()) == funnel["frames"]["decoded"]
    )


def test_kept_and_dropped_are_the_input_under_any_settings(raw: list[Path], first: tuple[Path, dict[str, Any]]) -> None:
    """In one folder, each time with other settings; at last with those of the first time, which make nothing anew."""
    out, funnel = first
    assert balanced(funnel, out) and len(funnel["pieces"]) >= 5
    before = final_bytes(out)
    for changes in (
        ("scenes.on=false", "lengths.most_seconds=0.3", "lengths.least_seconds=0.1"),
        ("quality.on=false", "geometry.least_side=16", "duplicates.on=false"),
        ("lengths.least_seconds=0", "lengths.most_seconds=0.01"),
        ("geometry.on=false", "shards.clips=1", "quality.least_light=0.5"),
    ):
        assert balanced(run(raw, out, *changes), out), changes
    made = {path: path.stat().st_mtime_ns for path in (out / "work").rglob("*") if path.is_file()}
    assert run(raw, out) == funnel and final_bytes(out) == before
    assert {path: path.stat().st_mtime_ns for path in made if path.name != "lock"} == {
        path: changed for path, changed in made.items() if path.name != "lock"
    }


def test_the_page_reckons_as_the_run_did(first: tuple[Path, dict[str, Any]]) -> None:
    """With every threshold where it was, the pieces that no threshold speaks against are those that were kept."""
    out, funnel = first
    page = report(out)
    data = json.loads(re.search(r"const data = (.*);\n", page)[1])
    kept = [
        piece
        for piece, free in enumerate(data["free"])
        if free and not any(
            limit is not None and sign * data["columns"][feature][piece] > sign * limit
            for feature, _, sign, limit in data["rules"]
            if feature in data["columns"]
        )
    ]  # fmt: skip
    assert len(kept) == funnel["pieces"]["kept"]["pieces"] > 0 and all(data["kept"][piece] for piece in kept)
    assert sum(data["frames"][piece] for piece in kept) == funnel["pieces"]["kept"]["frames"]
    assert "{{data}} FUNNEL &lt;b&gt;.mp4" in page and page.count("<script>") == 1
    assert "\\xff" in page
    assert page.count("not to be read any more") == 0 and "Not measured: aesthetics" in page


def test_a_folder_of_other_things_is_refused_and_one_of_another_version_made_anew(
    raw: list[Path], first: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = first
    settings = out / "curate.json"
    whole = settings.read_text()
    for changed, told in (
        (whole.replace("engine.config:Scenes", "engine.config:Shots"), "another version"),
        (whole.replace('"least_content"', '"least_matter"'), "least_matter"),
        (json.dumps({"class": "vitascope.engine.config:Scenes"}), "holds other settings"),
        ("{", "missing or damaged"),
    ):
        settings.write_text(changed)
        with pytest.raises(UserError, match=told):
            report(out)
    run(raw, out)
    assert settings.read_text() == whole
    (tmp_path / "run.json").write_text("{}")  # a folder of a training, say
    with pytest.raises(UserError, match="holds other things"):
        run(raw, tmp_path)


def test_more_files_than_a_process_may_hold_open(raw: list[Path], tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    content = (raw[0] / "a.mp4").read_bytes()
    for number in range(40):
        (many / f"{number}.mp4").write_bytes(content + bytes([number]))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, most[1]))
    try:
        funnel = run([many], tmp_path / "out", "lengths.most_seconds=1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert funnel["files"]["read"] == 40


def test_what_others_keep_in_a_folder_stays(raw: list[Path], tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "work").mkdir(parents=True)
    (theirs / "backup.tar").touch()
    with pytest.raises(UserError, match="other things"):
        run(raw, theirs)
    out = tmp_path / "out"
    run(raw, out)
    (out / "backup.tar").touch()
    run(raw, out, "shards.clips=1")
    assert (out / "backup.tar").is_file() and (theirs / "backup.tar").is_file()


def test_every_word_that_is_said_of_a_content_is_kept(raw: list[Path], tmp_path: Path) -> None:
    folder, words = tmp_path / "raw", tmp_path / "words.jsonl"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes((raw[0] / "a.mp4").read_bytes())
    half = "\ud83d"  # of a character: JSON may hold it and no file can
    said = [("a", "one"), ("./a", "two"), ("b", f"half {half}"), (f"c{half}", "three")]
    rows = [{"path": f"{tmp_path}/raw/{name}.mp4", "caption": text} for name, text in said]
    words.write_text("\n".join(map(json.dumps, rows)))
    funnel = run([words], tmp_path / "out")
    assert funnel["files"]["given"] == 3 and funnel["files"]["dropped"]["sources: is not there"] == 1
    table = parquet.read_table(tmp_path / "out" / "manifest.parquet")
    assert table["caption"].to_pylist() == ["one"]
    clip = open_footage(tmp_path / "out").sample(0)
    assert clip.captions == ("one", "two", "half \ufffd")
