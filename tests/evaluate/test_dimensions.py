"""VBench's own dimensions: laws of each rule, known answers, and files with their names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from beside import SHARED, needs
from vitascope import media
from vitascope.errors import UserError
from vitascope.evaluate.vbench import dimensions
from vitascope.evaluate.vbench.aggregate import SUITES, VBENCH, VBENCH_2, VBENCH_I2V, slow_fast
from vitascope.evaluate.vbench.camera import camera_moves
from vitascope.evaluate.vbench.dimensions import Sum, dis_flow, halfway
from vitascope.evaluate.vbench.files import (
    PROMPTS,
    Prompt,
    export,
    find_videos,
    incomplete,
    numbers_by_dimension,
    read_prompts,
)
from vitascope.evaluate.vbench.long import read_knots
from vitascope.evaluate.vbench.networks import (
    Files,
    Networks,
    cut,
    for_clip,
    for_dino,
    in_batches,
    load_networks,
    read_head,
    squashed,
)
from vitascope.evaluate.vbench.report import over_videos
from vitascope.evaluate.vbench.run import measure
from vitascope.evaluate.vbench.ways import DIMENSIONS, Given
from vitascope.toyland import Scene, Thing, render
from vitascope.types import Clip, generator_for

needs_shared = needs(SHARED)
FEATURES = torch.randn(5, 8, generator=generator_for(0))


def moving(amount: float = 0.9, num_frames: int = 9, size: int = 64) -> Clip:
    thing = Thing("square", "red", "large", "moves right", radius=0.35, x=-0.45, amount=amount)
    return render(Scene((thing,), "meadow"), num_frames, size, size, 8.0)


# Rules.


def test_a_still_video_is_perfectly_consistent_and_calm():
    still = moving().pixels[:1].expand(6, 3, 64, 64)
    assert dimensions.consistency(FEATURES[:1].expand(6, 8)).value == pytest.approx(1)
    assert dimensions.temporal_flickering(still).value == 1
    assert dimensions.motion_smoothness(still, lambda one, other: one).value == 1
    assert dimensions.appearance_style(FEATURES[:1].expand(6, 8), FEATURES[0]).value == pytest.approx(1)


def test_consistency_looks_at_the_frame_before_and_at_the_first():
    a, b, minus_a = torch.eye(8)[0], torch.eye(8)[1], -torch.eye(8)[0]
    assert dimensions.consistency(torch.stack([a, b, b])).value == pytest.approx((0 + 0.5) / 2)
    assert dimensions.consistency(torch.stack([a, b, a])).value == pytest.approx((0 + 0.5) / 2)
    assert dimensions.consistency(torch.stack([a, minus_a])).value == 0  # never below nothing


def test_long_videos_weigh_more_by_frames_than_by_videos(tmp_path: Path):
    parts = [Sum(1.0, 1), Sum(0.0, 3)]
    assert sum(parts, Sum()).value == 0.25
    one = over_videos([part.total for part in parts], [part.count for part in parts])
    assert one.value == 0.25 and one.n == 2 and one.interval[0] < 0.25 < one.interval[1]
    assert over_videos([0.5], [1]).interval is None


def test_flickering_is_the_mean_step_in_8_bit_values():
    frames = torch.stack([torch.full((3, 4, 4), level) for level in (0.0, 51 / 255, 0.0)])
    assert dimensions.temporal_flickering(frames).value == pytest.approx((255 - 51) / 255)


def test_smoothness_is_perfect_where_the_interpolator_is_right():
    frames = torch.linspace(0, 1, 9).mul(16).floor().div(16)[:, None, None, None].expand(9, 3, 4, 4)
    assert dimensions.motion_smoothness(frames, lambda one, other: (one + other) / 2).value > 0.99
    assert dimensions.motion_smoothness(frames, lambda one, other: 1 - one).value < 0.7


def steady(pixels: float) -> dimensions.Flow:
    return lambda one, other: torch.tensor([pixels, 0.0])[:, None, None].expand(2, *one.shape[1:])


@pytest.mark.parametrize(("speed", "dynamic"), [(1.4, 0.0), (1.6, 1.0)])
def test_the_threshold_of_motion_is_six_pixels_of_256(speed: float, dynamic: float):
    clip = Clip(torch.zeros(16, 3, 64, 64), fps=8.0)  # 6 * 64 / 256 = 1.5
    assert dimensions.dynamic_degree(clip, steady(speed)).value == dynamic


def test_two_frames_are_always_dynamic_as_in_the_official_code():
    assert dimensions.dynamic_degree(Clip(torch.zeros(2, 3, 64, 64)), steady(0.0)).value == 1
    sparse = Clip(torch.zeros(8, 3, 64, 64), fps=32.0)
    assert dimensions.dynamic_degree(sparse, steady(0.0)).value == 1
    assert dimensions.dynamic_degree(sparse, steady(0.0), few_frames_are_dynamic=False).value == 0
    assert dimensions.dynamic_degree(sparse, steady(9.0), few_frames_are_dynamic=False).value == 1


@pytest.mark.parametrize("clip", [Clip(torch.zeros(1, 3, 8, 8)), Clip(torch.zeros(3, 3, 8, 8), fps=32.0)])
def test_a_single_frame_is_neither_dynamic_nor_still(clip: Clip):
    with pytest.raises(UserError, match="motion needs at least 2 frames"):
        dimensions.dynamic_degree(clip, steady(0.0))


def test_static_videos_are_found():
    clip = Clip(torch.zeros(16, 3, 64, 64))
    assert dimensions.is_static(clip, steady(0.7)) and not dimensions.is_static(clip, steady(0.8))


def test_flow_follows_what_moves():
    clip = moving()
    flow = dis_flow(clip.pixels[0], clip.pixels[4])  # 0.9 units in 2 s are 14.4 pixels at 64, a frame 1.8
    square = clip.pixels[0][0] > 0.8
    assert flow[0][square].median().item() == pytest.approx(4 * 1.8, abs=1.0)
    assert dimensions.dynamic_degree(clip, dis_flow).value == 1
    still = Clip(clip.pixels[:1].repeat(9, 1, 1, 1))
    assert dimensions.dynamic_degree(still, dis_flow).value == 0
    assert dimensions.is_static(still, dis_flow) and not dimensions.is_static(clip, dis_flow)


def test_halfway_along_the_flow_is_nearer_than_the_mean_of_both():
    frames = moving().pixels
    mean = dimensions.motion_smoothness(frames, lambda one, other: (one + other) / 2).value
    warped = dimensions.motion_smoothness(frames, halfway(dis_flow)).value
    jumbled = dimensions.motion_smoothness(frames[[0, 5, 2, 8, 4, 1, 6, 3, 7]], halfway(dis_flow)).value
    assert warped > mean and warped > jumbled


@needs_shared
@pytest.mark.parametrize("kind", ["l_14", "b_32"])
def test_the_aesthetic_head_has_its_published_answers(kind: str):
    known = {
        "l_14": [-2.4579, -0.1379, 1.8951, 3.5849, 5.0997, 6.4701, 7.7870, 9.0480, 10.2264, 11.3044],
        "b_32": [-1.4700, 0.2728, 1.9900, 3.6114, 5.0874, 6.3926, 7.6682, 8.9155, 9.9166, 11.0056],
    }[kind]
    folder = SHARED / "weights" / "laion_aesthetic_linear"
    weight, bias = read_head(folder / f"sa_0_4_vit_{kind}_linear.pth")
    for rating, value in enumerate(known):
        mean = torch.from_numpy(np.load(folder / "mean_embeddings" / f"vit_{kind}_rating{rating}.npy")).float()
        score = dimensions.aesthetic_quality(7 * mean.reshape(1, -1), weight, bias)  # whatever its length
        assert 10 * score.value == pytest.approx(value, abs=2e-3)


def test_style_of_all_frames_or_as_parallel_official_runs_have_it():
    one = dimensions.appearance_style(FEATURES, FEATURES[-1], last_frame_only=True)
    assert one.value == pytest.approx(1) and one.count == 1
    assert dimensions.appearance_style(FEATURES, FEATURES[-1]).count == 5


def test_the_first_frame_alone_earns_four_tenths():
    image, frames = torch.eye(8)[0], torch.eye(8)[:4]
    assert dimensions.image_consistency(image, frames).value == pytest.approx(0.4)
    assert dimensions.image_consistency(image, image.expand(4, 8)).value == pytest.approx(1)


@pytest.mark.parametrize(
    ("edges", "move"),
    [
        ([(-9, 0), (-9, 0), (-9, 0), (-9, 0)], {"pan_right"}),
        ([(0, 9), (0, 9), (0, 9), (0, 9)], {"tilt_up"}),
        ([(0, -9), (0, 9), (-9, 0), (9, 0)], {"zoom_in"}),
        ([(0, 9), (0, -9), (9, 0), (-9, 0)], {"zoom_out"}),
        ([(0, 0.1), (0, 0), (0.1, 0), (0, 0)], {"static"}),
        ([(-9, 0), (-9, 0), (0, 9), (0, 9)], {"pan_right", "tilt_up"}),
        ([(-9, 9), (-9, 9), (-9, 9), (-9, 9)], {"pan_right", "tilt_up"}),  # slanting: both of its parts
        ([(-9, 0), (9, 0), (0, 9), (0, -9)], set()),  # turning is none of the moves, and not standing still either
    ],
)  # fmt: skip
def test_camera_moves_are_told_from_the_edges(edges: list[tuple[float, float]], move: set[str]):
    assert camera_moves(torch.tensor(edges, dtype=torch.float32), 256) == move


def test_pictures_are_prepared_as_the_official_code_does():
    frames = torch.rand(2, 3, 90, 160)
    assert for_clip(frames).shape == (2, 3, 224, 224) and for_dino(frames).shape == (2, 3, 224, 398)
    assert for_clip(torch.zeros(1, 3, 64, 64))[0, :, 0, 0].tolist() == pytest.approx(
        [-1.7923, -1.7521, -1.4802], abs=1e-3
    )


# Files.


@needs_shared
def test_the_official_prompts_are_read():
    prompts = read_prompts(SHARED / "prompts" / "vbench" / "VBench_full_info.json")
    assert len(prompts) == 946
    numbers = numbers_by_dimension(prompts)
    assert set(numbers) == set(VBENCH.dimensions) and numbers == PROMPTS["vbench"]
    of_image = read_prompts(SHARED / "prompts" / "vbench_i2v" / "vbench2_i2v_full_info.json", VBENCH_I2V)
    assert len(of_image) == 1118 and numbers_by_dimension(of_image) == PROMPTS["vbench_i2v"]
    second = read_prompts(SHARED / "prompts" / "vbench2" / "VBench2_full_info.json", VBENCH_2)
    assert len(second) == 1230 and numbers_by_dimension(second) == PROMPTS["vbench_2.0"]
    assert sum(prompt.samples for prompt in second) == 1220 * 3 + 10 * 20


@needs_shared
@pytest.mark.parametrize("what", ["subject", "background"])
def test_the_tables_of_long_videos_are_read_and_rise(what: str):
    knots = read_knots(SHARED / "prompts" / "vbench_long" / f"{what}_mapping_table.yaml")
    values = [slow_fast(0.0, score / 1000, knots, (0.0, 1.0)) for score in range(1001)]
    assert values == sorted(values) and len(knots) > 50 and 0 <= values[0] < values[-1] <= 1


def test_other_tables_are_refused(tmp_path: Path):
    path = tmp_path / "table.yaml"
    for text, told in (("0.0: 0.0\n", "from 0 to 1"), ("a: b\n", "line 'knot: value'"), ("", "from 0 to 1")):
        path.write_text(text)
        with pytest.raises(UserError, match=told):
            read_knots(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "list of prompts"),
        ([{"prompt_en": ""}], "record 1 has no sentence"),
        ([{"prompt_en": "a cat", "dimension": ["colour"]}], "dimensions of vbench, got colour"),
        ([{"prompt_en": "a cat", "dimension": "color"}], "dimensions of vbench, got 'color'"),
        ([{"prompt_en": "a cat", "dimension": []}], r"dimensions of vbench, got \[\]"),
        ([{"prompt_en": "a cat/dog", "dimension": ["color"]}], "cannot be a file's name"),
        ([{"prompt_en": "a cat", "dimension": ["color"]}] * 2, "record 2 repeats 'a cat' for color"),
    ],
)
def test_other_lists_are_refused(tmp_path: Path, content: object, told: str):
    path = tmp_path / "info.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=told):
        read_prompts(path)


CAT = Prompt(
    "a cat", ("subject_consistency", "temporal_flickering", "dynamic_degree", "motion_smoothness"), {}, samples=25
)


def videos(folder: Path, clips: list[Clip]) -> Path:
    folder.mkdir()
    for index, clip in enumerate(clips):
        media.write(clip, folder / f"a cat-{index}.mp4")
    return folder


def test_videos_are_found_by_their_names(tmp_path: Path):
    source = videos(tmp_path / "made", [moving(num_frames=4)] * 2)
    given = {"a cat": sorted(source.iterdir()), "a bat": [tmp_path / "bat.mp4"]}
    done = export(given, [CAT, Prompt("a cow", ("color",), {})], tmp_path / "named")
    assert [path.name for path in done.made] == ["a cat-0.mp4", "a cat-1.mp4"]
    assert len(done.missing) == 23 + 5 and done.missing[-1] == "a cow-4.mp4" and done.strange == (tmp_path / "bat.mp4",)
    found, missing = find_videos(tmp_path / "named", [CAT])
    assert len(found) == 2 and len(missing) == 23  # flickering wants 25
    with pytest.raises(UserError, match=r"name them like 'a dog-0\.mp4'"):
        find_videos(source, [Prompt("a dog", ("color",), {})])
    with pytest.raises(UserError, match="empty folder"):
        export(given, [CAT], tmp_path / "named")
    with pytest.raises(UserError, match=r"no video has a prompt for its caption; .*'a cow'"):
        export(given, [Prompt("a cow", ("color",), {})], tmp_path / "other")
    with pytest.raises(UserError, match=r"one ending for all"):
        export({**given, "a cow": [tmp_path / "cow.webm"]}, [CAT], tmp_path / "other")


def test_a_part_of_a_suite_is_marked_and_the_whole_is_not():
    prompts = [Prompt(str(number), ("scene",), {}) for number in range(86)]
    found = {Path(prompt.file(index)): prompt for prompt in prompts for index in range(5)}
    assert incomplete("scene", VBENCH, prompts, found) == ()
    del found[Path("7-3.mp4")]
    assert incomplete("scene", VBENCH, prompts, found) == ("429 videos of 430",)
    assert incomplete("scene", VBENCH, prompts[:5], found) == ("5 prompts of 86",)


def test_of_a_prompt_that_serves_flickering_too_each_dimension_asks_its_own_number_of_videos():
    found = {Path(CAT.file(index)): CAT for index in range(5)}
    assert incomplete("dynamic_degree", VBENCH, [CAT], found) == ("1 prompts of 72",)
    assert incomplete("temporal_flickering", VBENCH, [CAT], found) == ("1 prompts of 75", "5 videos of 25")
    for number in range(2):
        del found[Path(CAT.file(number))]
    assert incomplete("dynamic_degree", VBENCH, [CAT], found) == ("1 prompts of 72", "3 videos of 5")
    whole = {Path(CAT.file(index)): CAT for index in range(25)}
    assert incomplete("dynamic_degree", VBENCH, [CAT, CAT], whole) == ("2 prompts of 72",)


def test_a_folder_is_measured_with_what_there_is(tmp_path: Path):
    still = Clip(moving().pixels[:1].repeat(9, 1, 1, 1))
    folder = videos(tmp_path / "made", [moving(), still])
    (folder / "a cat-2.mp4").write_bytes(b"no video")
    (folder / "a cat-3.mp4").symlink_to(tmp_path / "nowhere.mp4")

    def embed(frames: torch.Tensor) -> torch.Tensor:
        return frames.flatten(1)[:, ::97]

    report = measure(folder, [CAT], Given(Networks(dino=embed)), model="m", progress=lambda done, total: None)
    assert report.dimensions["dynamic_degree"].value == 0.5 and report.dimensions["dynamic_degree"].n == 2
    assert report.dimensions["temporal_flickering"].n == 1  # the moving one is no test of flickering
    assert report.protocol["not_counted"] == {"temporal_flickering": "1 of 2 videos are not static"}
    assert report.dimensions["subject_consistency"].departures == (
        "1 prompts of 72", "4 videos of 5", "2 videos that could not be measured",
    )  # fmt: skip
    assert "DIS" in report.dimensions["motion_smoothness"].departures[0]
    broken, dangling = report.protocol["skipped"]
    assert "a cat-2.mp4" in broken and "a cat-3.mp4" in dangling and "cannot be opened" in dangling
    assert "clip" in report.protocol["left_out"]["background_consistency"]
    assert list(report.dimensions["dynamic_degree"].videos.values()) == [1, 0]
    low, high = report.dimensions["dynamic_degree"].interval
    assert low <= 0.5 <= high
    with pytest.raises(UserError, match="did you mean 'dynamic_degree'"):
        measure(folder, [CAT], Given(), model="m", wanted=["dynamic_degre"], progress=lambda done, total: None)
    for suite in SUITES.values():
        assert set(DIMENSIONS[suite.name]) <= set(suite.dimensions)


def test_a_network_that_fails_on_a_video_or_gives_no_numbers_costs_this_dimension_alone(tmp_path: Path):
    folder = videos(tmp_path / "made", [moving()])

    def fails(frames: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("sizes do not match\nand more")

    for embed, why in ((fails, "sizes do not match"), (lambda frames: frames.flatten(1) * torch.nan, "no finite")):
        report = measure(folder, [CAT], Given(Networks(dino=embed)), model="m", progress=lambda done, total: None)
        assert "subject_consistency" not in report.dimensions and "dynamic_degree" in report.dimensions
        told = "1 of 1 videos are not static, so that it has no value"
        assert report.protocol["not_counted"] == {"temporal_flickering": told}
        assert any(why in line and "subject_consistency" in line for line in report.protocol["skipped"])


def test_networks_come_from_folders(tmp_path: Path):
    from transformers import ViTConfig, ViTModel

    tiny = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, patch_size=56)
    ViTModel(tiny).save_pretrained(tmp_path / "dino")
    networks = load_networks(Files(dino=tmp_path / "dino"))
    assert networks.dino is not None and networks.names["dino"]["file"] == "dino"
    assert networks.dino(torch.rand(3, 3, 60, 100)).shape == (3, 16)
    elsewhere = torch.device("meta")
    for prepare in (for_clip, for_dino, cut, squashed):  # all on the device of the frames
        assert prepare(torch.rand(2, 3, 60, 100, device=elsewhere)).device == elsewhere
    seen = []
    embed = in_batches(lambda frames: seen.append(frames.device) or torch.zeros(len(frames), 4), elsewhere)
    assert embed(torch.rand(40, 3, 8, 8)).shape == (40, 4) and seen == [elsewhere] * 2
    with pytest.raises(UserError, match="is no vit"):
        load_networks(Files(dino=tmp_path))
    (tmp_path / "head.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match="no linear head"):
        load_networks(Files(head=tmp_path / "head.pth"))
