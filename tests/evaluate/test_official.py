"""The official packages as programs: a stand-in that takes their words and writes their files, and misbehaves."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vitascope.errors import UserError
from vitascope.evaluate.vbench.aggregate import VBENCH, VBENCH_2, VBENCH_I2V, VBENCH_LONG, Suite
from vitascope.evaluate.vbench.files import export, read_prompts
from vitascope.evaluate.vbench.official import Bridge, measure_official
from vitascope.evaluate.vbench.report import SuiteReport

PACKAGE = """
import json, os, pathlib, signal, subprocess, sys, time
told = dict(zip(sys.argv[1::2], sys.argv[2::2]))
name, out = told["--dimension"], pathlib.Path(told["--output_path"])
print("VBench 0.1.5, asked for", sys.argv[1:], flush=True)
videos = sorted(pathlib.Path(told["--videos_path"]).iterdir())
listed = [{"video_path": str(path), "video_results": 0.25 + 0.5 * (k % 2)} for k, path in enumerate(videos)]
mean = sum(one["video_results"] for one in listed) / len(listed)
content = {name: [mean, listed]}
if name == "imaging_quality":
    content = {name: [mean, [{**one, "video_results": 100 * one["video_results"]} for one in listed]]}
elif name == "camera_motion":
    content = {name: [mean, {"pan_left": 0.5}, listed]}
elif name == "scene":
    sys.exit("no weights for scene")
elif name == "color":
    sys.exit(0)
elif name == "human_action":
    content = {"human_motion": [0.5, listed]}
elif name == "object_class":
    content = {name: [float("nan"), []]}
elif name == "multiple_objects":
    out.joinpath("results_0_eval_results.json").write_text('{"multiple_objects": [0.')
    sys.exit(0)
elif name == "spatial_relationship":
    os.kill(os.getpid(), signal.SIGKILL)
elif name == "temporal_style":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    out.joinpath("child").write_text(str(child.pid))
    time.sleep(60)
count = len(list(out.glob("*_eval_results.json")))
out.joinpath(f"results_{count}_eval_results.json").write_text(json.dumps(content))
"""


def nothing(done: int, total: int) -> None: ...


@pytest.fixture
def package(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "package.py").write_text(PACKAGE)
    return sys.executable, str(tmp_path / "package.py")


def bridge_to(folder: Path, package: tuple[str, ...], suite: Suite, records: list[dict[str, Any]]) -> Bridge:
    """Two empty files for each prompt: the stand-in does not read them."""
    path = folder / "info.json"
    path.write_text(json.dumps(records))
    prompts = read_prompts(path, suite)
    texts = dict.fromkeys(one.text for one in prompts)
    (folder / "raw").mkdir()
    for number in range(len(texts)):
        for index in range(2):
            (folder / "raw" / f"{number}-{index}.mp4").touch()
    given = {text: [folder / "raw" / f"{n}-{k}.mp4" for k in range(2)] for n, text in enumerate(texts)}
    export(given, prompts, folder / "named")
    return Bridge(package, folder / "named", path, folder / "out", suite, "m", timeout_seconds=60.0)


def log(bridge: Bridge, dimension: str) -> str:
    return (bridge.out / dimension / "log.txt").read_text()


def test_what_works_is_read_and_what_fails_is_listed(tmp_path: Path, package: tuple[str, ...]):
    good = ["overall_consistency", "imaging_quality"]
    bad = {
        "scene": "ended with 1 at scene: .*no weights for scene",
        "color": "wrote no .*_eval_results.json",
        "human_action": "has no 'human_action'; it has human_motion",
        "object_class": "found no video for object_class",
        "multiple_objects": "is no JSON",
        "spatial_relationship": "was ended by signal 9",
    }
    records = [{"prompt_en": "a cat. And a dog", "dimension": [*good, *bad]}]
    bridge = bridge_to(tmp_path, package, VBENCH, records)
    report = measure_official(bridge, progress=nothing)
    assert set(report.dimensions) == set(good)
    for name in good:
        measured = report.dimensions[name]
        assert measured.value == 0.5 and measured.n == 2
        assert measured.departures == ("1 prompts of 93", "2 videos of 5")
        assert measured.interval is not None and measured.interval[0] < 0.5 < measured.interval[1]
        assert list(measured.videos.values()) == [0.25, 0.75] and all(map(Path.is_file, map(Path, measured.videos)))
    failed = report.protocol["failed"]
    assert set(failed) == set(bad)
    for name, told in bad.items():
        assert re.search(told, failed[name], re.DOTALL), failed[name]
    part = report.protocol["parts"]["imaging_quality"]
    assert part["version"] == "0.1.5" and part["missing_videos"] == 3 and part["videos_found"] == 2
    with pytest.raises(UserError, match=r"(?s)measured nothing; .*no weights"):
        measure_official(bridge, ["scene"], progress=nothing)


def test_what_hangs_is_stopped_with_all_that_it_started(tmp_path: Path, package: tuple[str, ...]):
    bridge = bridge_to(tmp_path, package, VBENCH, [{"prompt_en": "a", "dimension": ["temporal_style"]}])
    short = Bridge(**{**vars(bridge), "timeout_seconds": 1.0})
    for _ in range(20):  # a busy machine may need longer to start the program
        with pytest.raises(UserError, match=r"did not end within .* --timeout"):
            measure_official(short, progress=nothing)
        if (bridge.out / "temporal_style" / "child").is_file():
            break
        short = Bridge(**{**vars(short), "timeout_seconds": 2 * (short.timeout_seconds or 1)})
    child = Path("/proc", (bridge.out / "temporal_style" / "child").read_text())
    for _ in range(100):
        if not child.exists() or "Z" in (child / "stat").read_text().rpartition(")")[2].split()[:1]:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the program's child outlived it")


def test_a_dimension_that_is_done_is_not_asked_for_again(tmp_path: Path, package: tuple[str, ...]):
    records = [{"prompt_en": "a", "dimension": ["overall_consistency"]}]
    bridge = bridge_to(tmp_path, package, VBENCH, records)

    def runs() -> int:
        measure_official(bridge, progress=nothing)
        return len(list((bridge.out / "overall_consistency").glob("*_eval_results.json")))

    assert runs() == runs() == 1
    video = tmp_path / "raw" / "0-0.mp4"
    video.write_bytes(b"another")
    assert runs() == 2
    video.unlink()
    with pytest.raises(UserError, match=r"measured nothing; .*cannot be opened"):
        measure_official(bridge, progress=nothing)


@pytest.mark.parametrize(
    ("suite", "record", "name", "words"),
    [
        (VBENCH_I2V, {"dimension": ["camera_motion"], "image_name": "a.jpg"}, "camera_motion", ["camera_motion"]),
        (VBENCH_LONG, {"dimension": ["dynamic_degree"]}, "dynamic_degree", ["--mode", "long_vbench_standard"]),
        (VBENCH_2, {"dimension": ["Multi-View_Consistency"]}, "multi_view_consistency", ["Multi-View_Consistency"]),
    ],
    ids=lambda value: value.name if isinstance(value, Suite) else None,
)
def test_each_suite_is_asked_in_its_own_words(
    tmp_path: Path, package: tuple[str, ...], suite: Suite, record: dict[str, Any], name: str, words: list[str]
):
    long = "a very long story, " * 20
    bridge = bridge_to(tmp_path, package, suite, [{"prompt_en": long[:200], **record}])
    report = measure_official(bridge, progress=nothing)
    assert report.suite == suite.name and report.dimensions[name].value == 0.5 and report.dimensions[name].n == 2
    assert all(f"'{word}'" in log(bridge, name) for word in words)
    made = [path.relative_to(bridge.videos).as_posix() for path in bridge.videos.rglob("*.mp4")]
    if suite is VBENCH_2:
        assert sorted(made)[0] == f"Multi-View_Consistency/{long[:180]}-0.mp4"
        assert f"'{bridge.videos / 'Multi-View_Consistency'}'" in log(bridge, name)
    else:
        assert sorted(made)[0] == f"{long[:200]}-0.mp4"
    assert SuiteReport.model_validate_json(report.model_dump_json()) == report


def test_what_cannot_work_is_told_before_anything_runs(tmp_path: Path, package: tuple[str, ...]):
    bridge = bridge_to(tmp_path, package, VBENCH, [{"prompt_en": "a", "dimension": ["scene"]}])
    with pytest.raises(UserError, match="no program that can be started"):
        measure_official(Bridge(**{**vars(bridge), "command": ("./nothing",)}), progress=nothing)
    with pytest.raises(UserError, match="no prompt for 'color'; it has scene"):
        measure_official(bridge, ["color"], progress=nothing)
    with pytest.raises(UserError, match="must be a folder of videos"):
        measure_official(Bridge(**{**vars(bridge), "videos": tmp_path / "no"}), progress=nothing)
    assert not bridge.out.exists()
