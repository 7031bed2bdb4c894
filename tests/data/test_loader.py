"""Laws of the loader: a batch is its number, whoever fetches it; ranks, epochs, weights, buckets and stand-ins."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filming import film, numbers_of, shoot
from vitascope import media
from vitascope.data.buckets import BucketsConfig, Limits, sizes_of
from vitascope.data.loader import Loader, LoaderConfig, MixedConfig, PixelBatch, interleaved
from vitascope.data.opening import open_footage
from vitascope.data.shards import Record, write_shards

BUCKETS = BucketsConfig(area=16 * 32, multiple=8, lengths=(1, 4), fps=8.0, batch_tokens=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shoot(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 films of two aspects in five shards."""
    folder = tmp_path_factory.mktemp("shards")
    contents = [media.encode(film(12, size), ".mp4") for size in ((32, 16), (16, 32))]
    about = {"fps": 24.0, "num_frames": 12, "seconds": 0.5}
    records = [
        Record(
            f"film{n:02d}",
            contents[n % 3 == 0],
            ".mp4",
            {"caption": f"film {n}", "width": 16 if n % 3 == 0 else 32, "height": 32 if n % 3 == 0 else 16, **about},
        )
        for n in range(22)
    ]
    write_shards(folder, records, per_shard=5)
    return folder


def loader(*paths: Path, weights: tuple[float | None, ...] = (None, None), **changes: object) -> Loader:
    sources = tuple(MixedConfig(path=str(path), weight=weight) for path, weight in zip(paths, weights, strict=False))
    return LoaderConfig.model_validate({"sources": sources, "buckets": BUCKETS, **changes}).build()


def same(one: PixelBatch, other: PixelBatch) -> bool:
    tensors = ((one.pixels, other.pixels), (one.micro, other.micro), (one.fps, other.fps))
    return all(torch.equal(a, b) for a, b in tensors) and (one.captions, one.places) == (other.captions, other.places)


@settings(max_examples=200, deadline=None)
@given(rates=st.lists(st.integers(1, 50), min_size=1, max_size=7), start=st.integers(0, 3000))
def test_interleaving_from_anywhere_is_interleaving_from_the_start(rates: list[int], start: int) -> None:
    whole = list(itertools.islice(interleaved(rates, 0), start + 5))
    assert list(itertools.islice(interleaved(rates, start), 5)) == whole[start:]
    counts = Counter(which for which, _ in whole)
    for which, rate in enumerate(rates):  # evenly: never more than one turn of each other away from its share
        assert abs(counts[which] - len(whole) * rate / sum(rates)) <= len(rates) / 2 + 1


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_their_numbers_with_any_workers_and_from_any_step(shards: Path, workers: int) -> None:
    one, other = loader(shards), loader(shards)
    for start in (0, 3):
        fetched = itertools.islice(one.batches(start, workers=workers), 4)
        assert all(same(batch, other.batch(start + step)) for step, batch in enumerate(fetched))


def test_an_epoch_shows_every_sample_once_and_each_epoch_in_an_order_of_its_own(shards: Path) -> None:
    whole = loader(shards)
    seen: dict[tuple[int, int], list[int]] = {}
    for number in range(40):
        bucket, places = whole.places(number)
        for place, _ in places:
            seen.setdefault((whole.buckets.index(bucket), place.epoch), []).append(place.row)
    for which, bucket in enumerate(whole.buckets):
        rows = bucket.rows[0].tolist()
        assert sorted(seen[which, 0]) == sorted(seen[which, 1]) == rows
        assert len(rows) < 3 or seen[which, 0] != seen[which, 1]


def test_two_ranks_see_disjoint_data_and_together_the_epoch_of_one(shards: Path) -> None:
    whole = loader(shards)
    num = 5  # batches of a rank: an epoch has 11, of two clips
    by_rank = [[whole.places(step * 2 + rank)[1] for step in range(num)] for rank in range(2)]
    rows = [{(p.epoch, p.row) for places in batches for p, _ in places} for batches in by_rank]
    assert not rows[0] & rows[1]
    alone = {(p.epoch, p.row) for number in range(2 * num) for p, _ in whole.places(number)[1]}
    assert rows[0] | rows[1] == alone
    fetched = list(itertools.islice(whole.batches(1, rank=1, ranks=2), 2))
    assert same(fetched[0], whole.batch(3)) and same(fetched[1], whole.batch(5))


def test_shards_are_read_a_few_at_a_time(shards: Path) -> None:
    whole = loader(shards, shuffled_shards=1)
    for which in range(len(whole.buckets)):
        read = [whole._place(which, 0, count).shard for count in range(len(whole.buckets[which].rows[0]))]
        assert len(list(itertools.groupby(read))) == len(set(read))


def test_sources_are_mixed_by_weight_and_else_by_what_they_have(folder: Path, shards: Path) -> None:
    def shares(*weights: float | None) -> float:
        mixed = loader(folder, shards, weights=weights)
        places = [place for number in range(150) for place, _ in mixed.places(number)[1]]
        return sum(place.source == 0 for place in places) / len(places)

    assert shares(3.0, 1.0) == pytest.approx(0.75, abs=0.02)
    assert shares(None, None) == pytest.approx(5 / 27, abs=0.02)


def test_every_batch_costs_the_same_and_every_sample_goes_where_least_is_cut(folder: Path) -> None:
    mixed = loader(folder)
    for bucket in mixed.buckets:
        each = BUCKETS.tokens(bucket.size, bucket.num_frames)
        assert BUCKETS.batch_tokens - each < each * bucket.batch <= BUCKETS.batch_tokens
    keys = {mixed.sources[0].sample(row).key: row for row in range(5)}
    placement = mixed.placements[0]
    shapes = {name: placement.shape(row) for name, row in keys.items()}
    assert {name: (shape.num_frames, shape.stride) for name, shape in shapes.items()} == {
        "slow.mp4": (4, 1), "tall.mp4": (4, 3), "wide.mp4": (4, 3), "short.mp4": (1, 3), "still.png": (1, 1),
    }  # fmt: skip
    for name, row in keys.items():
        facts, shape = mixed.sources[0].table[row], shapes[name]
        assert 0.5 <= (shape.width / shape.height) / (facts.width / facts.height) <= 2
        assert placement.cropped[row] < 0.34


def test_pictures_and_videos_come_in_one_stream_with_what_is_told_of_them(folder: Path) -> None:
    mixed = loader(folder)
    batches = [mixed.batch(number) for number in range(12)]
    assert {batch.pixels.shape[1] for batch in batches} == {1, 4}
    for batch in batches:
        for row, (caption, place) in enumerate(zip(batch.captions, batch.places, strict=True)):
            sample, facts = mixed.sources[0].sample(place.row), mixed.sources[0].table[place.row]
            assert caption in sample.captions
            stride = mixed.placements[0].shape(place.row).stride
            told = [facts.height, facts.width, stride, batch.pixels.shape[1]]
            assert batch.micro[row, [0, 1, 4, 5]].tolist() == told
            assert batch.fps[row].item() == pytest.approx(facts.fps / stride)


def test_what_is_mirrored_says_nothing_of_sides(tmp_path: Path) -> None:
    for name, caption in (("a", "a film"), ("b", "it moves to the LEFT"), ("c", "a rightmost thing")):
        media.write(film(12, (32, 16)), tmp_path / f"{name}.mp4")
        (tmp_path / f"{name}.txt").write_text(caption)
        (tmp_path / f"{name}.txt").touch()
        media.write(film(13 + ord(name) % 3, (32, 16)), tmp_path / f"{name}.mp4", force=True)
    mixed = loader(tmp_path, mirror=True)
    mirrored: Counter[str] = Counter()
    for number in range(30):
        batch = mixed.batch(number)
        for pixels, caption in zip(batch.pixels, batch.captions, strict=True):
            rising = pixels[0, 1].float().mean(0)
            mirrored[caption] += int(rising[0] > rising[-1])
    assert mirrored["it moves to the LEFT"] == mirrored["a rightmost thing"] == 0 < mirrored["a film"] < 30


def test_a_damaged_sample_is_replaced_alike_for_everyone_and_told(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    films = {f"film{n}": media.encode(film(12, (32, 16)), ".mp4") for n in range(4)}
    films["film1"] = films["film1"][:300] + b"\0" * (len(films["film1"]) - 300)
    about = {"fps": 24.0, "num_frames": 12, "seconds": 0.5, "width": 32, "height": 16}
    write_shards(tmp_path, [Record(k, v, ".mp4", {"caption": k, **about}) for k, v in films.items()])
    one, other = loader(tmp_path), loader(tmp_path)
    with caplog.at_level(logging.WARNING):
        batches = [one.batch(number) for number in range(4)]
    assert [len(message) > 0 for message in caplog.messages if "film1" in message] == [True]
    assert sum(len(batch.stand_ins) for batch in batches) > 0
    assert not any("film1" in batch.captions for batch in batches)
    assert all(same(batch, other.batch(number)) for number, batch in reversed(list(enumerate(batches))))


def test_frames_are_those_of_the_cut(shards: Path) -> None:
    batch = loader(shards).batch(0)
    told = numbers_of(batch.pixels[0].float() / 255)
    assert [number - told[0] for number in told] == [0, 3, 6, 9]


@pytest.mark.parametrize("area, multiple", [(64 * 64, 16), (256 * 256, 16), (240 * 416, 32)])
def test_sizes_are_multiples_that_use_their_area(area: int, multiple: int) -> None:
    sizes = sizes_of(area, multiple, 2.0)
    assert len(sizes) >= 3
    for width, height in sizes:
        assert width % multiple == height % multiple == 0
        assert area / 2 < width * height <= area
        assert 0.5 <= width / height <= 2
        assert (height, width) in sizes


def test_what_is_left_out_and_what_is_kept_add_up(folder: Path) -> None:
    table = open_footage(folder).table
    for limits in (Limits(), Limits(most_cropped=0.0), Limits(most_enlarged=0.4), Limits(most_off_pace=1.0)):
        config = BUCKETS.model_copy(update={"limits": limits, "lengths": (4,), "fps": 7.0})
        placement = config.place(table)
        assert len(placement.rows()) + sum(map(len, placement.left_out.values())) == len(table)
