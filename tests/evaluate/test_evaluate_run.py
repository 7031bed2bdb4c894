"""Laws of an evaluation: no order, company or interruption changes a number, and nothing is left out silently."""

from __future__ import annotations

import io
import json
import math
import shutil
import struct
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from rich.console import Console

from beside import SHARED, needs
from vitascope import media
from vitascope.evaluate.catalogue import Networks, metrics_named
from vitascope.evaluate.compare import compare
from vitascope.evaluate.measured import Measured, Report, Unusable, read_report
from vitascope.evaluate.metrics.kernel import KVD
from vitascope.evaluate.metrics.metric import Bootstrap, KernelDistance, SetMetric
from vitascope.evaluate.networks.features import ClipReader
from vitascope.evaluate.protocol import PROTOCOLS, Prepare, Protocol, protocol_named
from vitascope.evaluate.run import evaluate
from vitascope.evaluate.store import Store
from vitascope.evaluate.videos import MadeVideo, VideoFile, find_videos, read_captions
from vitascope.types import Clip, Request, UserError, generator_for

PROTOCOL = Protocol(frames=4)
ONE = 1 << 16
MATRIX, QUARTER = (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30)
"""Of an mp4: as it lies, and turned by a quarter."""
SETS = ["frechet-random", "kernel-random", "flicker"]
PAIRS = ["psnr", "psnr-clip", "ssim"]
DERIVED = SHARED / "videos" / "derived"


def clip_of(number: int, num_frames: int = 6, noise: float = 0.0, size: tuple[int, int] = (24, 16)) -> Clip:
    width, height = size
    t, _y, x = torch.meshgrid(*(torch.arange(n).float() for n in (num_frames, height, width)), indexing="ij")
    waves = [torch.sin(x / (3 + number % 5) + t * k + number) / 2 + 0.5 for k in (0.2, 0.4, 0.6)]
    pixels = torch.stack(waves, 1)
    rough = torch.randn(pixels.shape, generator=generator_for(0, "rough", number)) * noise
    return Clip((pixels + rough).clamp(0, 1), 8.0, f"waves number {number}")


def folder_of(place: Path, num: int, noise: float = 0.0) -> Path:
    place.mkdir()
    for number in range(num):
        media.write(clip_of(number, noise=noise), place / f"{number:02d}.webp")
    return place


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("videos") / "real", 8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("videos") / "made", 7, noise=0.1)


def run(
    made: Sequence[VideoFile] | Sequence[MadeVideo],
    real: Path | None,
    names: Sequence[str] = SETS,
    protocol: Protocol = PROTOCOL,
    **options: Any,
) -> Report:
    metrics = metrics_named(names, Networks({}, protocol))
    videos = None if real is None else find_videos(real)
    return evaluate(made, videos, metrics, protocol, bootstrap=Bootstrap(20), **options)


def numbers(report: Report) -> dict[str, float]:
    return {one.metric: one.value for one in report.measured}


def test_each_number_carries_its_protocol_its_interval_and_its_count(made: Path, real: Path):
    report = run(find_videos(made), real)
    assert numbers(report).keys() == set(SETS) and report.complete and not report.unusable
    for one in report.measured:
        low, high = one.interval or (math.nan, math.nan)
        assert low < one.value < high and one.n == 7
        assert {"frames", "stride", "clip", "resolution", "seed", "vitascope"} <= one.protocol.keys()
    distance = report.measured[0]
    assert {"divisor", "prepare", "network", "real", "num_real", "num_made"} <= distance.protocol.keys()
    assert distance.protocol["num_real"] == 8
    assert distance.beside["floor n"] == 4


def test_the_order_of_videos_and_what_is_kept_change_nothing(made: Path, real: Path, tmp_path: Path):
    whole = run(find_videos(made), real)
    store = Store(tmp_path / "features.sqlite")
    assert run(list(reversed(find_videos(made))), real, store=store, workers=1) == whole
    assert run(find_videos(made), real, store=store) == whole


def test_a_stopped_evaluation_goes_on_and_decodes_nothing_twice(made: Path, real: Path, tmp_path: Path):
    store = Store(tmp_path / "features.sqlite")

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(find_videos(made), real, store=store, progress=stop)
    seen: list[str] = []

    class Watched(VideoFile):
        def take(self, protocol: Protocol) -> Any:
            seen.append(self.name)
            return super().take(protocol)

    videos = [Watched(video.path, video.name) for video in find_videos(made)]
    assert numbers(run(videos, real, store=store)) == numbers(run(find_videos(made), real))
    assert len(seen) == 2  # 5 of the 7 were kept


def test_shards_that_share_what_they_keep_are_one_run(made: Path, real: Path, tmp_path: Path):
    for part in (slice(0, 3), slice(3, 7)):
        run(find_videos(made)[part], real, store=Store(tmp_path / "features.sqlite"))
    assert run(find_videos(made), real, store=Store(tmp_path / "features.sqlite")) == run(find_videos(made), real)


def test_a_report_says_where_its_clips_lie_and_what_they_were_asked_for(made: Path, real: Path, tmp_path: Path):
    store = Store(tmp_path / "features.sqlite")
    report = run(find_videos(made), real, store=store)
    assert report.clips["03"].caption == "waves number 3" and report.clips["03"].path == str(made / "03.webp")
    assert run(find_videos(made), real, store=store).clips == report.clips


def test_numbers_are_written_as_they_come(made: Path, real: Path):
    written: list[Report] = []
    last = run(find_videos(made), real, written=written.append)
    assert [len(report.measured) for report in written] == [1, 2, 3, 3]
    assert [report.complete for report in written] == [False, False, False, True]
    assert written[-1] == last


def test_pairs_have_the_error_that_was_made(real: Path, tmp_path: Path):
    place = tmp_path / "brighter"
    place.mkdir()
    for video in find_videos(real):
        clip = media.read_video(video.path)
        media.write(replace(clip, pixels=clip.pixels * 0.5 + 0.5 * (clip.pixels > 0.5)), place / f"{video.name}.webp")
    same = run(find_videos(real), real, PAIRS, paired=True)
    assert numbers(same) == {"psnr": 100, "psnr-clip": 100, "ssim": pytest.approx(1, abs=1e-12)}
    other = run(find_videos(place), real, PAIRS, paired=True)
    one, truth = (media.read_video(folder / "03.webp").pixels[:4].double() for folder in (place, real))
    wanted = (-10 * (one - truth).square().mean((1, 2, 3)).log10()).mean().item()
    assert other.measured[0].videos["03"] == pytest.approx(wanted, rel=1e-6)
    assert other.measured[1].value <= other.measured[0].value  # the mean of logarithms lies above that of the errors
    assert other.measured[0].beside["worst frame"] <= min(other.measured[0].videos.values())


def test_a_function_that_generates_is_measured_like_files(real: Path):
    def generate(requests: Sequence[Request]) -> list[Clip]:
        return [clip_of(request.seed) for request in requests]

    videos = [MadeVideo(Request("waves", seed=seed), generate, "waves, version 1") for seed in range(8)]
    report = run(videos, real)
    assert numbers(report)["frechet-random"] == pytest.approx(0, abs=0.02)  # the same clips, but for their encoding
    assert len({video.digest for video in videos}) == 8
    assert MadeVideo(videos[0].request, generate, "waves, version 2").digest != videos[0].digest
    with pytest.raises(UserError, match="two videos of one set"):
        run([*videos, videos[0]], real)


def written_by_ffmpeg(path: Path, times: Sequence[int], size: tuple[int, int], **options: Any) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(options.get("codec", "libx264"), rate=Fraction(25))
        stream.width, stream.height = size
        stream.pix_fmt = options.get("pix_fmt", "yuv420p")
        stream.codec_context.time_base = Fraction(1, 25)
        for number, time in enumerate(times):
            grey = np.full((size[1], size[0], 3), 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_what_cannot_be_used_is_listed_with_its_reason_and_the_rest_goes_on(real: Path, tmp_path: Path):
    place = shutil.copytree(real, tmp_path / "bad")
    content = (place / "00.webp").read_bytes()
    (place / "cut.webp").write_bytes(content[: len(content) // 2])
    (place / "empty.mp4").touch()
    (place / "text.mp4").write_text("no video\n" * 20)
    media.write(clip_of(0, 3), place / "short.mp4")
    with av.open(str(place / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    written_by_ffmpeg(place / "uneven.mp4", [0, 1, 2, 12, 13], (32, 32))
    written_by_ffmpeg(place / "ten_bits.mp4", range(5), (32, 32), pix_fmt="yuv420p10le")
    written_by_ffmpeg(place / "alpha.mkv", range(5), (32, 32), codec="ffv1", pix_fmt="bgra")
    media.write(clip_of(0, size=(23, 15)), place / "odd.mp4")
    (place / "notes.txt").write_text("no video, and not counted as one")
    report = run(find_videos(place), real)
    reasons = {bad.name: bad.reason for bad in report.unusable}
    assert reasons.keys() == {"cut", "empty", "text", "short", "sound"}
    assert "has 3 frames and the protocol takes 4" in reasons["short"]
    assert "holds no video" in reasons["sound"]
    assert all(bad.set == "made" and bad.metric == "all" for bad in report.unusable)
    assert report.measured[0].n == 12  # eight, and uneven, ten_bits, alpha, odd
    assert any("varying frame rate, such as 'uneven'" in note for note in report.notes)
    assert any("8 videos are in both sets" in note for note in report.notes)


def test_a_video_of_no_frame_and_one_that_cannot_be_opened_are_told(real: Path, tmp_path: Path):
    place = shutil.copytree(real, tmp_path / "bad")
    (place / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    whole = io.BytesIO()
    with av.open(whole, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        packets = stream.encode(frame.reformat(format="yuv420p")) + stream.encode(None)
        container.mux(packets)
    (place / "no_frame.ts").write_bytes(whole.getvalue()[: 3 * 188])  # the tables of its streams, and nothing of them
    report = run(find_videos(place), real)
    reasons = {bad.name: bad.reason for bad in report.unusable}
    assert reasons.keys() == {"gone", "no_frame"} and "cannot be opened" in reasons["gone"]
    assert report.measured[0].n == 8


def test_a_turned_video_is_measured_upright(tmp_path: Path):
    lying = torch.zeros(5, 3, 16, 24)
    lying[..., :8, :] = torch.linspace(0.2, 1.0, 5).view(5, 1, 1, 1)  # bright above
    media.write(Clip(lying), tmp_path / "lying.mp4")
    content = (tmp_path / "lying.mp4").read_bytes()
    upright, quarter = (struct.pack(">9i", *matrix) for matrix in (MATRIX, QUARTER))
    at = content.index(upright, content.index(b"tkhd"))
    (tmp_path / "turned.mp4").write_bytes(content[:at] + quarter + content[at + len(quarter) :])
    (clip,) = VideoFile(tmp_path / "turned.mp4", "turned").take(PROTOCOL).clips
    assert clip.shape == (4, 3, 24, 16)
    left, right = clip[..., :8].float().mean(), clip[..., 8:].float().mean()
    assert abs(left - right) > 100


def test_pairs_of_unequal_length_and_equal_pairs_are_not_mixed_up(real: Path, tmp_path: Path):
    place = shutil.copytree(real, tmp_path / "made")
    (place / "00.webp").unlink()
    media.write(clip_of(0, 9), place / "00.webp")  # two clips of four, where the real one has one
    report = run(find_videos(place), real, [*PAIRS, *SETS], Protocol(frames=4, clip="all"), paired=True)
    assert {bad.name for bad in report.unusable} == {"00"}
    assert "not as long" in report.unusable[0].reason
    sets = {one.metric: one for one in report.measured}
    # Seven videos are the same in both sets: each of them counts in either.
    assert sets["frechet-random"].n == sets["frechet-random"].protocol["num_real"] == 8
    assert sets["psnr"].n == 7 and sets["psnr"].value == 100


def test_features_that_are_no_numbers_are_left_out_and_told(made: Path, real: Path):
    (metric,) = metrics_named(["frechet-random"], Networks({}, PROTOCOL))
    network = metric.reader.network  # type: ignore[union-attr]

    def broken(clips: torch.Tensor) -> torch.Tensor:
        rows = network(clips)
        return (
            torch.where(rows.mean(1, keepdim=True) > rows.mean(), torch.nan, rows)
            if len(rows) > 1
            else rows * torch.nan
        )

    reader = replace(metric.reader, network=broken)  # type: ignore[type-var]
    report = evaluate(find_videos(made), find_videos(real), [replace(metric, reader=reader)], PROTOCOL)  # type: ignore[type-var]
    assert len(report.unusable) == 15
    assert "not finite" in report.unusable[0].reason
    assert report.missing == {"frechet-random": "no video made could be used"}


def test_pairs_without_a_partner_or_of_another_size_are_told(real: Path, tmp_path: Path):
    place = tmp_path / "made"
    place.mkdir()
    for number in range(3):
        media.write(clip_of(number), place / f"{number:02d}.webp")
    media.write(clip_of(3, size=(20, 20)), place / "03.webp")
    report = run(find_videos(place), real, PAIRS, paired=True)
    assert [one.n for one in report.measured] == [3, 3, 3]
    sizes = [bad for bad in report.unusable if "must be of one size, got 20x20 and 24x16" in bad.reason]
    assert {bad.metric for bad in sizes} == {"psnr", "psnr-clip", "ssim"}
    assert sum("no partner" in bad.reason for bad in report.unusable) == 4
    media.write(clip_of(0), tmp_path / "elsewhere.webp")
    with pytest.raises(UserError, match="no name is in both sets"):
        run(find_videos(tmp_path / "elsewhere.webp"), real, PAIRS, paired=True)
    with pytest.raises(UserError, match="pass --paired"):
        run(find_videos(place), real, PAIRS)
    with pytest.raises(UserError, match="frame by frame"):
        run(find_videos(place), real, PAIRS, protocol_named("styleganv"), paired=True)
    with pytest.raises(UserError, match="give them with --real"):
        run(find_videos(place), None)


def test_clips_are_taken_as_the_protocol_says(tmp_path: Path):
    shades = torch.arange(20).view(-1, 1, 1, 1).expand(-1, 3, 8, 8) * 10 / 255
    media.write(Clip(shades), tmp_path / "film.mp4")
    (video,) = find_videos(tmp_path)

    def taken(**changes: Any) -> list[list[int]]:
        clips = video.take(Protocol(**changes)).clips
        return [[round(frame.float().mean().item() / 10) for frame in clip] for clip in clips]

    assert taken(frames=3, stride=2) == [[0, 2, 4]]
    assert taken(frames=4, clip="middle") == [[8, 9, 10, 11]]
    assert taken(frames=6, clip="all") == [list(range(k, k + 6)) for k in (0, 6, 12)]
    assert taken(frames=3, stride=3, clip="all") == [[0, 3, 6], [7, 10, 13]]
    drawn = [taken(frames=3, clip="random", seed=seed)[0] for seed in range(6)]
    assert len({row[0] for row in drawn}) > 2
    assert all(row == list(range(row[0], row[0] + 3)) for row in drawn)
    assert drawn[0] == taken(frames=3, clip="random", seed=0)[0]
    assert video.caption == "" == video.take(PROTOCOL).caption
    assert next(video.take(Protocol(frames=3, resolution=4)).clips).shape == (3, 3, 4, 4)


def test_a_long_film_is_read_a_few_clips_at_a_time(tmp_path: Path):
    """Of one video of fifty clips and its pair: no reader is handed, and nothing prepares, all of them together."""
    for name in ("made", "real"):
        (tmp_path / name).mkdir()
        media.write(clip_of(len(name), num_frames=50, size=(8, 8)), tmp_path / name / "film.webp")
    handed: list[int] = []
    batches: list[int] = []

    def network(clips: torch.Tensor) -> torch.Tensor:
        batches.append(len(clips))
        return clips.mean((3, 4)).flatten(1)

    class Watched(ClipReader):
        def __call__(self, clips: Sequence[torch.Tensor]) -> torch.Tensor:
            handed.append(len(clips))
            return super().__call__(clips)

    protocol = Protocol(frames=1, clip="all")
    reader = Watched(network, {}, Prepare(size=8), batch=3)
    metrics = [SetMetric("distance", reader, KernelDistance(KVD)), *metrics_named(["psnr"], Networks({}, protocol))]
    videos = [find_videos(tmp_path / name) for name in ("made", "real")]
    report = evaluate(*videos, metrics, protocol, paired=True, workers=1)
    assert report.measured[0].protocol["rows_made"] == 50 and sum(handed) == sum(batches) == 100
    assert max(handed) == 8 and max(batches) == 3 and report.measured[1].metric == "psnr"
    media.write(clip_of(4, num_frames=49, size=(8, 8)), tmp_path / "made" / "film.webp", force=True)
    report = evaluate(find_videos(tmp_path / "made"), videos[1], metrics, protocol, paired=True, workers=1)
    assert report.measured[0].protocol["rows_made"] == 49 and "not as long" in report.unusable[0].reason
    (bad,) = report.unusable
    assert bad.metric == "psnr"


def test_a_protocol_of_so_many_videos_draws_them_by_its_seed_and_passes_over_broken_ones(
    made: Path, real: Path, tmp_path: Path
):
    def measured(folder: Path, **changes: Any) -> Report:
        protocol = PROTOCOL.model_copy(update={"made_count": 3, "real_count": 5, **changes})
        return run(find_videos(folder), real, protocol=protocol)

    report = measured(made)
    drawn = set(report.clips)
    for one in report.measured:
        assert one.n == 3 and one.departures == () and one.protocol["made_count"] == 3
    assert report.measured[0].protocol["num_real"] == 5 and len(drawn) == 3
    assert run(find_videos(made)[::-1], real, protocol=Protocol(frames=4, made_count=3, real_count=5)) == report
    assert any(set(measured(made, seed=seed).clips) != drawn for seed in (1, 2, 3))
    place = shutil.copytree(made, tmp_path / "made")
    broken = sorted(drawn)[0]
    (place / f"{broken}.webp").write_bytes(b"no video")
    again = measured(place)
    assert drawn - {broken} < set(again.clips) - {broken} and {one.n for one in again.measured} == {3}
    assert [bad.name for bad in again.unusable] == [broken]
    few = measured(place, made_count=2048)
    assert {one.departures for one in few.measured} == {("6 videos made, and the protocol takes 2048",)}
    console = Console(file=io.StringIO(), width=200)
    few.print(console)
    shown = console.file.getvalue()
    assert "departs: 6 videos made, and the protocol takes 2048 (frechet-random, kernel-random, flicker)" in shown
    with pytest.raises(UserError, match="all pairs are compared"):
        run(find_videos(made), real, PAIRS, Protocol(frames=4, made_count=3), paired=True)


def test_published_protocols_have_their_numbers_of_videos():
    counts = {name: (one.real_count, one.made_count) for name, one in PROTOCOLS.items() if one.made_count}
    assert counts == {
        **dict.fromkeys(("styleganv", "styleganv_stride8", "styleganv_128"), (2048, 2048)),
        "cd": (None, 2048),
    }


def test_the_first_few_that_do_not_count_are_shown_with_their_reasons():
    bad = tuple(Unusable("made", f"film{number}", "all", f"it is broken in way {number}") for number in range(7))
    console = Console(file=io.StringIO(), width=200)
    Report("made", None, "1", unusable=bad).print(console)
    shown = console.file.getvalue()
    assert "all: 7 videos not counted" in shown and "... and 2 more" in shown
    assert all((f"made film{number}: it is broken in way {number}" in shown) == (number < 5) for number in range(7))


def test_folders_of_something_else_say_what_they_hold(tmp_path: Path):
    with pytest.raises(UserError, match="nothing of that name"):
        find_videos(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"holds no video \(1 other files\)"):
        find_videos(tmp_path)
    media.write(clip_of(0), tmp_path / "a.mp4")
    media.write(clip_of(0), tmp_path / "a.gif")
    with pytest.raises(UserError, match="two videos named 'a'"):
        find_videos(tmp_path)


def test_captions_come_from_a_file_or_from_the_videos(tmp_path: Path):
    media.write(clip_of(7), tmp_path / "a.mp4")
    assert find_videos(tmp_path)[0].caption == "waves number 7" == find_videos(tmp_path)[0].take(PROTOCOL).caption
    (tmp_path / "said.tsv").write_text("a.mp4\ta calm sea\n")
    (said,) = find_videos(tmp_path, read_captions(tmp_path / "said.tsv"))
    assert said.caption == "a calm sea" == said.take(PROTOCOL).caption
    (tmp_path / "said.tsv").write_text("a.mp4 a calm sea\n")
    with pytest.raises(UserError, match="line 1"):
        read_captions(tmp_path / "said.tsv")


@needs(DERIVED)
def test_flickering_knows_a_still_from_a_flickering_film():
    videos = [VideoFile(DERIVED / f"{name}.mp4", name) for name in ("static", "static_noise", "flicker")]
    (one,) = run(videos, None, ["flicker"], Protocol(frames=16)).measured
    assert one.videos["static"] > 0.999 > one.videos["static_noise"]
    assert one.videos["static"] > one.videos["flicker"]


def test_reports_come_back_from_their_file_and_compare(made: Path, real: Path, tmp_path: Path):
    report = run(find_videos(made), real)
    (tmp_path / "a.json").write_text(report.to_json())
    assert json.loads(report.to_json())["measured"][0]["interval"]
    again = read_report(tmp_path / "a.json")
    assert [(one.metric, one.value, one.interval) for one in again.measured] == [
        (one.metric, one.value, one.interval) for one in report.measured
    ]
    for difference in compare(again, again):
        assert difference.value == 0 and difference.is_significant is False
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(UserError, match="is no report"):
        read_report(tmp_path / "b.json")


def test_reports_of_other_protocols_are_refused_and_the_differences_named(made: Path, real: Path, tmp_path: Path):
    one = run(find_videos(made), real)
    other = run(find_videos(made), real, protocol=Protocol(frames=5, divisor="n"))
    with pytest.raises(UserError, match=r"frames 4 and 5.*divisor n-1 and n") as error:
        compare(one, other)
    assert "flicker: frames 4 and 5)" in str(error.value)  # and not the divisor, which it does not use
    fewer = run(find_videos(made)[:5], real)
    with pytest.raises(UserError, match="num_made 7 and 5"):
        compare(one, fewer)
    assert [difference.metric for difference in compare(one, fewer, ["flicker"])] == ["flicker"]
    with pytest.raises(UserError, match="'fvd' is not in both"):
        compare(one, fewer, ["flicker", "fvd"])


def measured(values: Sequence[float], names: Sequence[str]) -> Report:
    from vitascope.evaluate.metrics.metric import mean_of

    one = mean_of("psnr", tuple(names), list(values), {}, Bootstrap(400), {})
    return Report("made", "real", "0", (one,))


def test_differences_of_the_same_videos_are_judged_video_by_video():
    rng = generator_for(0)
    names = [f"{k:02d}" for k in range(40)]
    first = (30 + 5 * torch.randn(40, generator=rng)).tolist()
    second = [value + 0.3 + 0.1 * noise for value, noise in zip(first, torch.randn(40, generator=rng), strict=True)]
    second = [float(value) for value in second]
    (paired,) = compare(measured(first, names), measured(second, names))
    assert paired.paired and paired.is_significant
    (apart,) = compare(measured(first, names), measured(second, [f"x{name}" for name in names]))
    assert not apart.paired and apart.is_significant is False


def test_chance_is_called_significant_one_time_in_twenty():
    found = 0
    for draw in range(60):
        values = torch.randn(2, 50, generator=generator_for(draw)).tolist()
        (one,) = compare(
            measured(values[0], [str(k) for k in range(50)]), measured(values[1], [f"x{k}" for k in range(50)])
        )
        found += bool(one.is_significant)
    assert found <= 8  # of a binomial (60, 0.05) more come once in a hundred times


def test_a_value_without_resamples_has_no_interval():
    one = Measured("psnr", 30.0, 1, {})
    assert one.interval is None
    (difference,) = compare(Report("a", None, "0", (one,)), Report("b", None, "0", (one,)))
    assert difference.is_significant is None
