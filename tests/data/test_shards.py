"""Laws of shards: read as they were written, also by others; what is damaged is counted, and costs itself alone."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path

import pytest

from filming import film
from vitascope import media
from vitascope.data.shards import MANIFEST, SHARDS, Record, members, open_shards, write_shards
from vitascope.types import UserError

FILM = media.encode(film(6), ".mp4")
ABOUT = {"captions": ["one", "two", "one"], "caption": "two", "seconds": 0.25, "fps": 24.0, "width": 48, "height": 32}


def records(num: int) -> list[Record]:
    return [
        Record(f"clip-{n}", FILM, ".mp4", {**ABOUT, "source": f"a/{n}", "features": {"motion": n / 2}})
        for n in range(num)
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_shards(tmp_path, records(7), per_shard=3)
    shards = open_shards(tmp_path)
    assert [shards.sample(row).key for row in range(7)] == [f"clip-{n}" for n in range(7)]
    assert {shards.sample(row).file for row in range(7)} == {FILM}
    assert shards.sample(4).captions == ("two", "one")
    assert shards.table.shard.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert shards.table[6].num_frames == 6 and shards.table[6].width == 48
    assert not shards.told.left_out


def test_the_manifest_has_a_row_with_every_feature_for_each_sample(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_shards(tmp_path, records(4), per_shard=3)
    rows = parquet.read_table(tmp_path / MANIFEST).to_pylist()
    assert [(row["key"], row["offset"], row["motion"]) for row in rows] == [
        ("clip-0", 0, 0.0), ("clip-1", 1, 0.5), ("clip-2", 2, 1.0), ("clip-3", 0, 1.5),
    ]  # fmt: skip


def test_the_same_records_give_the_same_bytes_and_others_another_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_shards(tmp_path / name, records(4))
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0] == files[1]
    write_shards(tmp_path / "three", records(3))
    assert not {p.name for p in (tmp_path / "three").glob("*.tar")} & set(files[0])
    assert open_shards(tmp_path / "one").identity == open_shards(tmp_path / "two").identity
    assert open_shards(tmp_path / "one").identity != open_shards(tmp_path / "three").identity


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_others_are_read_as_tarfile_reads_them(tmp_path: Path, form: int) -> None:
    path, rng = tmp_path / "any.tar", random.Random(0)
    names = ["a.txt", "ümlaut\nnewline.json", "deep/" * 18 + "end.mp4", "empty.json"]
    if form != tarfile.USTAR_FORMAT:
        names.append("long" * 60 + ".mp4")
    with tarfile.open(path, "w", format=form) as tar:
        folder = tarfile.TarInfo("deep")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in names:
            content = b"" if "empty" in name else rng.randbytes(rng.randrange(1, 2000))
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        expected = {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}  # type: ignore[union-attr]
    assert {one.name: content[one.offset : one.offset + one.size] for one in members(path)} == expected
    assert set(expected) == set(names)


def test_a_shard_that_is_cut_off_gives_what_is_whole_and_the_rest_is_counted(tmp_path: Path) -> None:
    write_shards(tmp_path, records(6))
    (tar,) = tmp_path.glob("*.tar")
    content, inside, whole = tar.read_bytes(), list(members(tar)), open_shards(tmp_path)
    film, text = inside[6], inside[7]
    for length in (film.offset + 5, film.offset - 100, text.offset + 5, text.offset - 600):
        tar.write_bytes(content[:length])
        shards = open_shards(tmp_path)
        assert len(shards.table) == 3 and shards.identity != whole.identity
        lost = [name for names in shards.told.left_out.values() for name in names if name != tar.name]
        assert len(lost) == 3


def test_random_damage_is_counted_and_never_a_crash(tmp_path: Path) -> None:
    write_shards(tmp_path, records(3))
    (tar,) = tmp_path.glob("*.tar")
    whole, rng = tar.read_bytes(), random.Random(0)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.randrange(1, 40)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        tar.write_bytes(content[: rng.randrange(len(content))] if rng.random() < 0.2 else content)
        try:
            shards = open_shards(tmp_path)
        except UserError:
            continue
        for row in range(len(shards.table)):
            shards.sample(row)


def test_what_is_missing_or_malformed_is_told(tmp_path: Path) -> None:
    write_shards(tmp_path, records(4), per_shard=2)
    first, second = sorted(tmp_path.glob("*.tar"))
    second.unlink()
    shards = open_shards(tmp_path)
    assert len(shards.table) == 2
    assert [len(names) for names in shards.told.left_out.values()] == [2]
    first.unlink()
    with pytest.raises(UserError, match=r"holds no sample.*4 in a shard that is not on disk"):
        open_shards(tmp_path)
    (tmp_path / SHARDS).write_text(json.dumps({"shards": 3}))
    with pytest.raises(UserError, match="no readable list of shards"):
        open_shards(tmp_path)


def test_facts_that_the_json_lacks_come_from_the_file(tmp_path: Path) -> None:
    write_shards(tmp_path, [Record("bare", FILM, ".mp4", {"caption": "bare"})])
    facts = open_shards(tmp_path).table[0]
    assert (facts.width, facts.height, facts.num_frames, facts.fps) == (48, 32, 6, 24.0)
