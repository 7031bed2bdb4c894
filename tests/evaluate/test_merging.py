"""Parts of a set, evaluated apart and merged: value, interval and what stands beside are those of one run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from vitascope import cli, media
from vitascope.errors import UserError
from vitascope.evaluate.catalogue import Networks, metrics_named
from vitascope.evaluate.measured import Report, read_report
from vitascope.evaluate.merging import Part, merge
from vitascope.evaluate.metrics.metric import Bootstrap, InceptionScore, Metric, VideoMetric
from vitascope.evaluate.metrics.paired import FlickerReader
from vitascope.evaluate.networks.features import ClipReader
from vitascope.evaluate.protocol import Prepare, Protocol
from vitascope.evaluate.run import evaluate
from vitascope.evaluate.store import Store
from vitascope.evaluate.videos import VideoFile, find_videos
from vitascope.types import Clip, generator_for

PROTOCOL = Protocol(frames=3, divisor="n", seed=3)
SETS, PAIRS = ("frechet-random", "kernel-random", "flicker"), ("psnr", "ssim")


def classes(clips: torch.Tensor) -> torch.Tensor:
    """A classifier of four classes."""
    return torch.nn.functional.softmax(8 * clips[:, :, :, :2, :2].mean(1).flatten(1)[:, :4], 1)


def metrics(names: Sequence[str] = SETS, protocol: Protocol = PROTOCOL) -> list[Metric]:
    reader = ClipReader(classes, {"network": "brightness of corners"}, Prepare(resize="none", range=(0.0, 1.0)))
    beside = VideoMetric(
        "steady", FlickerReader(), lambda rows, _: rows.mean().item(), "1 is still",
        beside=lambda made: {"mean": float(made.rows.double().mean())},
    )  # fmt: skip
    return [*metrics_named(names, Networks({}, protocol)), InceptionScore("inception-score", reader), beside]


def clip_of(number: int, noise: float) -> Clip:
    rough = torch.rand(3, 3, 16, 16, generator=generator_for(0, "rough", number)) * noise
    still = torch.rand(3, 1, 1, generator=generator_for(0, "still", number))
    return Clip((still + rough).clamp(0, 1), 8.0, f"number {number}")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("sets")
    for name, num, noise in (("made", 26, 0.3), ("real", 26, 0.5)):
        (place / name).mkdir()
        for number in range(num):
            media.write(clip_of(number, noise), place / name / f"{number:02d}.webp")
    return place / "made", place / "real"


def measured(made: Sequence[VideoFile], real: Sequence[VideoFile], store: Store, some: Sequence[Metric]) -> Report:
    return evaluate(made, real, some, PROTOCOL, store=store, bootstrap=Bootstrap(30, PROTOCOL.seed))


Cut = Callable[[list[VideoFile], int], list[VideoFile]]


@pytest.mark.parametrize("cut_real", [lambda real, part: real, lambda real, part: real[part::2]])
def test_parts_are_one_run(folders: tuple[Path, Path], tmp_path: Path, cut_real: Cut):
    """Whether the parts share their real videos or have some each, and after a merge of a merge."""
    made, real = (find_videos(folder) for folder in folders)
    whole = measured(made, real, Store(None), metrics())
    cuts = [made[:9], made[9:20], made[20:]]  # each too few for the ten splits of an Inception Score, but the second
    parts = []
    for number, some in enumerate(cuts):
        store = Store(tmp_path / f"{number}.sqlite")
        report = measured(some, cut_real(real, number % 2), store, metrics())
        parts.append(Part(Path(f"{number}.json"), report, store))
    assert "inception-score" in parts[0].report.missing
    both = Store(tmp_path / "both.sqlite")
    joined = Part(Path("both.json"), merge(parts[:2], both), both)
    found = merge([joined, parts[2]], Store(None))
    assert found.complete and not found.missing and found.clips == whole.clips and found.rows == whole.rows
    agree(found, whole)


def agree(found: Report, whole: Report) -> None:
    """To the rounding of float64."""
    others = {one.metric: one for one in whole.measured}
    assert {one.metric for one in found.measured} == others.keys()
    for one in found.measured:
        other = others[one.metric]
        assert one.protocol == other.protocol and one.n == other.n and one.videos == other.videos
        assert one.value == pytest.approx(other.value, rel=1e-12) and one.lower_is_better == other.lower_is_better
        assert one.replicates == pytest.approx(other.replicates, rel=1e-9)
        assert one.beside.keys() == other.beside.keys()
        for name, value in other.beside.items():
            assert one.beside[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


def test_pairs_that_were_compared_apart(folders: tuple[Path, Path], tmp_path: Path):
    """Each part is held against the whole real set: what is without a partner there is not so in the merged report."""
    made, real = (find_videos(folder) for folder in folders)
    broken = tmp_path / "broken.webp"
    broken.write_bytes(b"no video")
    made = [*made[:20], VideoFile(broken, made[20].name)]  # and five real ones have no partner in any part

    def run(some: Sequence[VideoFile], name: str) -> Part:
        store, wanted = Store(tmp_path / name), metrics_named(PAIRS, Networks({}, PROTOCOL))
        report = evaluate(some, real, wanted, PROTOCOL, store=store, paired=True, bootstrap=Bootstrap(30, 3))
        return Part(Path(name), report, store)

    found, whole = merge([run(made[::2], "even"), run(made[1::2], "odd")], Store(None)), run(made, "all").report
    agree(found, whole)
    assert set(found.unusable) == set(whole.unusable) and len(found.unusable) == 6


def test_parts_may_name_their_metrics_in_any_order(folders: tuple[Path, Path]):
    made, real = (find_videos(folder) for folder in folders)

    def run(some: Sequence[VideoFile], names: Sequence[str]) -> Part:
        store = Store(None)
        return Part(Path(names[0]), measured(some, real, store, metrics_named(names, Networks({}, PROTOCOL))), store)

    whole = run(made, SETS[:2]).report
    agree(merge([run(made[::2], SETS[:2]), run(made[1::2], SETS[1::-1])], Store(None)), whole)


def test_what_does_not_belong_together_is_refused(folders: tuple[Path, Path], tmp_path: Path):
    made, real = (find_videos(folder) for folder in folders)

    def part(some: Sequence[VideoFile], protocol: Protocol = PROTOCOL, names: Sequence[str] = SETS) -> Part:
        store = Store(None)
        report = evaluate(some, real, metrics_named(names, Networks({}, protocol)), protocol, store=store)
        return Part(Path(f"{protocol.frames}.json"), report, store)

    one = part(made[:4], names=["flicker"])
    for other, told in (
        (part(made[4:8], Protocol(frames=2, divisor="n", seed=3), ["flicker"]), "flicker: frames 3 and 2"),
        (part(made[4:8], names=["flicker", "kernel-random"]), "kernel-random is in one of them"),
        (replace(one, report=replace(one.report, complete=False)), "stopped before its end"),
        (replace(one, report=replace(one.report, resamples=1)), "differ in --resamples"),
        (replace(one, report=replace(one.report, rows=())), "does not say what it read"),
        (replace(part(made[4:8], names=["flicker"]), store=Store(None)), "not kept there any more"),
        (part([replace(made[9], name=made[0].name)], names=["flicker"]), "two videos of one set are named '00'"),
    ):
        with pytest.raises(UserError, match=told):
            merge([one, other], Store(None))
    with pytest.raises(UserError, match="two reports at least"):
        merge([one], Store(None))
    again = merge([one, one], Store(None))
    assert "4 videos are in several parts, and count once" in again.notes and again.measured[0].n == 4


def run_command(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.app, ["evaluate", *words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_finds_what_was_kept_beside_each_report(folders: tuple[Path, Path], tmp_path: Path):
    made, real = folders
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for path in sorted(made.iterdir())[number::2]:
            shutil.copy(path, tmp_path / name)

    def words(folder: Path, out: Path) -> list[str]:
        named = [word for name in SETS for word in ("--metric", name)]
        return ["videos", str(folder), "--real", str(real), *named, "--set", "frames=3", "--out", str(out)]

    for name in "ab":
        (tmp_path / f"on_{name}").mkdir()
        run_command(*words(tmp_path / name, tmp_path / f"on_{name}" / "part.json"))
    run_command(*words(made, tmp_path / "whole.json"))
    parts = [str(tmp_path / f"on_{name}" / "part.json") for name in "ab"]
    assert "of 2 parts" in run_command("merge", *parts, "--out", str(tmp_path / "merged.json"))
    agree(read_report(tmp_path / "merged.json"), read_report(tmp_path / "whole.json"))
    (tmp_path / "on_b" / "features.sqlite").unlink()
    with pytest.raises(UserError, match="name the file that the evaluation kept, with --cache"):
        run_command("merge", *parts, "--out", str(tmp_path / "again.json"))


def test_shards_of_toyland_are_merged_by_the_same_command(tmp_path: Path):
    from vitascope.evaluate import questions, toyland

    def truthful(requests: Sequence[Any]) -> list[Clip]:
        return [questions.question("seen", "one", request.seed, "both", "text").truth for request in requests]

    paths = [tmp_path / f"{number}.json" for number in range(2)]
    for number, path in enumerate(paths):
        path.write_text(toyland.evaluate(truthful, num=4, shard=(number, 2)).to_json())
    run_command("merge", *map(str, paths), "--out", str(tmp_path / "whole.json"))
    whole = json.loads((tmp_path / "whole.json").read_text())
    assert whole["complete"] and toyland.Report.from_json(json.dumps(whole)) == toyland.evaluate(truthful, num=4)
    paths[1].write_text(toyland.evaluate(truthful, num=4, shard=(1, 2), seed=1).to_json())
    with pytest.raises(UserError, match="differ in seed"):
        run_command("merge", *map(str, paths), "--out", str(tmp_path / "other.json"))
