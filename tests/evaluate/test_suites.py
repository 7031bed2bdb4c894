"""VBench-I2V and VBench-Long, and VBench with networks of the user's, tiny and random: through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from beside import SHARED, needs
from tiny import save_tiny_clip
from vitascope import cli, media
from vitascope.errors import UserError
from vitascope.evaluate.vbench import camera
from vitascope.evaluate.vbench.aggregate import VBENCH_I2V, VBENCH_LONG
from vitascope.evaluate.vbench.dimensions import Sum
from vitascope.evaluate.vbench.files import Prompt
from vitascope.evaluate.vbench.long import Slow, over_clips, read_slow, split
from vitascope.evaluate.vbench.networks import Networks, cut
from vitascope.evaluate.vbench.run import measure
from vitascope.evaluate.vbench.ways import Given, Quirks
from vitascope.types import Clip, generator_for

needs_shared = needs(SHARED)


def nothing(done: int, total: int) -> None: ...


def embed(frames: torch.Tensor) -> torch.Tensor:
    """Colours of nine places."""
    return nn.functional.adaptive_avg_pool2d(frames, 3).flatten(1)


def noisy(num_frames: int, seed: int = 0, fps: float = 4.0) -> Clip:
    return Clip(torch.rand(num_frames, 3, 16, 24, generator=generator_for(seed, "noisy")), fps)


# VBench-Long.


@pytest.mark.parametrize(
    ("frames", "fps", "starts"),
    [(5, 4.0, [0]), (8, 4.0, [0]), (16, 4.0, [0, 8]), (20, 4.9, [0, 8, 12]), (9, 4.0, [0, 1])],
)
def test_long_videos_are_cut_and_the_last_clip_reaches_back(frames: int, fps: float, starts: list[int]):
    clip = Clip(torch.arange(float(frames))[:, None, None, None].expand(frames, 3, 2, 2) / 100, fps)
    parts = split(clip)
    assert [round(100 * part.pixels[0, 0, 0, 0].item()) for part in parts] == starts
    assert {part.num_frames for part in parts} == {min(8, frames)}
    with pytest.raises(UserError, match="cannot be cut"):
        split(Clip(clip.pixels, 0.5))


def test_clips_without_a_score_do_not_count():
    parts = split(noisy(20))
    assert over_clips(parts, lambda part: None) is None
    scores = iter([Sum(3.0, 4), None, Sum(1.0, 4)])
    assert over_clips(parts, lambda part: next(scores)) == Sum(0.5, 1)


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    """A video of three clips and one of a single clip."""
    for index, num in enumerate((20, 8)):
        media.write(noisy(num, index), tmp_path / f"a-{index}.mp4")
    return tmp_path


def test_clips_are_compared_with_each_other_where_the_tables_are_given(long_folder: Path):
    prompt = Prompt("a", ("subject_consistency", "motion_smoothness"), {})
    kept = long_folder / "kept.jsonl"

    def value(slow: dict[str, Slow]) -> float:
        given = Given(Networks(dino=embed, dino2=embed), slow=slow)
        report = measure(long_folder, [prompt], given, model="m", suite=VBENCH_LONG, kept=kept, progress=nothing)
        assert report.suite == "vbench_long" and report.dimensions["subject_consistency"].n == 2
        assert "cut in memory" in report.dimensions["subject_consistency"].departures[0]
        return report.dimensions["subject_consistency"].value

    zero = {0.0: 0.0, 1.0: 0.0}  # whatever clips look like beside each other, nothing
    within = value({})
    assert within == value({"subject_consistency": Slow(zero, (1.0, 0.0))})
    fused = value({"subject_consistency": Slow(zero, (0.5, 0.5))})
    single = json.loads(kept.read_text().splitlines()[-1])  # the video of one clip keeps its score
    assert single["video"] == "a-1.mp4"
    alone = json.loads(single["answer"])[0]
    assert fused == pytest.approx(((2 * within - alone) / 2 + alone) / 2)


@needs_shared
def test_the_official_configs_are_read():
    slow = read_slow(SHARED / "prompts" / "vbench_long")
    assert set(slow) == {"subject_consistency", "background_consistency"}
    assert slow["subject_consistency"].weights == (0.5, 0.5) and len(slow["background_consistency"].knots) > 50


# VBench-I2V.


@needs_shared
@pytest.mark.parametrize("name", ["pan_left", "pan_right", "tilt_down", "zoom_in"])
def test_the_camera_of_real_clips_is_told(name: str):
    clip = media.read_video(SHARED / "videos" / "derived" / f"camera_{name}.mp4", num_frames=24)
    assert name in camera.moves_of(clip, camera.follow)


def test_a_camera_that_stands_still_is_static():
    still = Clip(noisy(1).pixels.repeat(5, 1, 1, 1))
    assert camera.moves_of(still, camera.follow) == {"static"}
    assert camera.asked_for("a lake, camera tilts up") == "tilt_up"
    with pytest.raises(UserError, match="asks for no move"):
        camera.asked_for("a lake")


def test_a_video_is_compared_with_its_picture(tmp_path: Path):
    clip = Clip(noisy(1).pixels.repeat(4, 1, 1, 1))
    for name in ("a, camera static-0", "b-0"):
        media.write(clip, tmp_path / f"{name}.mp4")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    pixels = (clip.pixels[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(pictures / "a.png")
    prompts = [
        Prompt("a, camera static", ("i2v_subject", "camera_motion"), {}, "a.png"),
        Prompt("b", ("i2v_subject", "i2v_background", "subject_consistency"), {}, "b.png"),
    ]
    networks = Networks(dino=embed, dino_cut=embed, dino_picture=embed, dreamsim=embed, dreamsim_picture=embed)
    report = measure(tmp_path, prompts, Given(networks, pictures), model="m", suite=VBENCH_I2V, progress=nothing)
    assert (
        report.dimensions["i2v_subject"].value == pytest.approx(1, abs=1e-2) and report.dimensions["i2v_subject"].n == 1
    )
    told = report.dimensions["camera_motion"]
    assert told.value == 1 and "CoTracker2" in told.departures[0]
    # The picture of b is missing: what needs it is listed, what does not is measured.
    assert report.dimensions["subject_consistency"].n == 1 and "i2v_background" not in report.dimensions
    assert len(report.protocol["skipped"]) == 2 and "b-0.mp4, i2v_subject" in report.protocol["skipped"][0]


def test_the_middle_is_cut_where_torchvision_cuts_it():
    """256 by 399 leaves 175 columns over, half of which is 87.5; rounded, that is 88."""
    columns = torch.arange(399.0).expand(1, 3, 256, 399)
    mean, std = 0.485, 0.229
    assert (cut(columns)[0, 0, 0, 0] * std + mean).item() == pytest.approx(88)


# Switches.


def test_several_official_processes_count_otherwise(tmp_path: Path):
    media.write(noisy(3, 1), tmp_path / "a-0.mp4")
    media.write(Clip(noisy(1, 2).pixels.repeat(9, 1, 1, 1)), tmp_path / "a-1.mp4")
    prompt = Prompt("a", ("subject_consistency", "appearance_style"), {"appearance_style": {"appearance_style": "s"}})
    networks = Networks(dino=embed, clip=embed, words=lambda text: torch.ones(27))

    def values(**quirks: bool) -> dict[str, float]:
        given = Given(networks, quirks=Quirks(**quirks))
        report = measure(tmp_path, [prompt], given, model="m", progress=nothing)
        assert report.protocol["quirks"]["several_processes"] == quirks.get("several_processes", False)
        return report.raw

    one, several = values(), values(several_processes=True)
    noisy_part = 2 * several["subject_consistency"] - 1  # the other stands still: 1
    assert one["subject_consistency"] == pytest.approx((2 * noisy_part + 8) / 10, abs=2e-3)
    assert one["appearance_style"] != several["appearance_style"]


# The command.


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A CLIP, a DINO, a DreamSim and a head of LAION's kind, as users have them."""
    import transformers as tf

    place = tmp_path_factory.mktemp("networks")
    save_tiny_clip(place / "clip", image_size=224, patch_size=112)
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    tf.ViTModel(tf.ViTConfig(**small, image_size=224, patch_size=112)).save_pretrained(place / "dino")
    torch.save({"weight": torch.ones(1, 8), "bias": torch.tensor([5.0])}, place / "head.pth")
    scripted = nn.Sequential(nn.AvgPool2d(112), nn.Flatten())
    torch.jit.trace(scripted, torch.zeros(1, 3, 224, 224)).save(str(place / "dreamsim.pt"))
    return {name: place / name for name in ("clip", "dino", "head.pth", "dreamsim.pt")}


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(cli.app, ["evaluate", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def written(folder: Path, records: list[dict[str, Any]]) -> Path:
    path = folder / "info.json"
    path.write_text(json.dumps(records))
    return path


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_vbench_with_networks_of_ones_own(networks: dict[str, Path], tmp_path: Path):
    media.write(noisy(4), tmp_path / "a-0.mp4")
    about = {"appearance_style": {"appearance_style": "in ink"}}
    names = ["subject_consistency", "background_consistency", "aesthetic_quality", "appearance_style", "scene"]
    info = written(tmp_path, [{"prompt_en": "a", "dimension": names, "auxiliary_info": about}])
    out = tmp_path / "mine.json"
    options = (
        "--dino", networks["dino"], "--clip", networks["clip"], "--large-clip", networks["clip"],
        "--head", networks["head.pth"], "--rewritten", "--out", out,
    )  # fmt: skip
    shown = run("vbench", tmp_path, "--prompts", info, *options)
    told = json.loads(out.read_text())
    assert set(told["dimensions"]) == set(names[:4]) and "rewritten prompts" in shown
    assert 0.2 < told["dimensions"]["aesthetic_quality"]["value"] < 0.8  # the head adds 5 to a sum within 3 of 0
    assert told["protocol"]["networks"]["clip"]["sha256"] and told["protocol"]["prompts"]["file"] == "info.json"
    # A second time all comes from what was kept.
    kept = out.with_suffix(".videos.jsonl")
    before = kept.read_text()
    run("vbench", tmp_path, "--prompts", info, *options, "--force")
    assert kept.read_text() == before and json.loads(out.read_text())["dimensions"] == told["dimensions"]
    assert len(before.splitlines()) == 4
    assert "– " in run("vbench", tmp_path, "--prompts", info, *options, "--force")  # no total
    shown = run("vbench", tmp_path, "--prompts", info, *options, "--force", "--quirk", "missing_as_zero=true")
    assert "– " not in shown.split("subject consistency")[0] and "counted as a raw 0" in shown
    assert kept.read_text() == before  # no dimension changes with it
    (tmp_path / "scene.json").write_text('{"scene": 0.5, "human_action": [0.75, []]}')
    run("vbench", tmp_path, "--prompts", info, *options, "--force", "--join", tmp_path / "scene.json")
    assert set(json.loads(out.read_text())["dimensions"]) == {*names, "human_action"}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_vbench_i2v_with_networks_of_ones_own(networks: dict[str, Path], tmp_path: Path):
    media.write(noisy(4), tmp_path / "a, camera static-0.mp4")
    Image.new("RGB", (24, 16), "gray").save(tmp_path / "a.jpg")
    names = ["i2v_subject", "i2v_background", "camera_motion", "dynamic_degree", "imaging_quality"]
    info = written(tmp_path, [{"prompt_en": "a, camera static", "dimension": names, "image_name": "a.jpg"}])
    shown = run(
        "vbench", tmp_path, "--prompts", info, "--suite", "vbench_i2v", "--dino", networks["dino"],
        "--dreamsim", networks["dreamsim.pt"], "--images", tmp_path,
    )  # fmt: skip
    assert "i2v background" in shown and "not measured" in shown and "imaging_quality" in shown and "total" in shown
    assert "--dreamsim" in run("vbench", "--list") and "official package" in run("vbench", "--list")


def test_captions_give_the_official_names(tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number, caption in enumerate(("a cat", "a cat", "a bat")):
        media.write(Clip(noisy(2).pixels, caption=caption), folder / f"{number}.mp4")
    info = written(tmp_path, [{"prompt_en": "a cat", "dimension": ["scene"]}])
    run("vbench-export", folder, "--prompts", info, "--to", tmp_path / "named")
    assert sorted(path.name for path in (tmp_path / "named").iterdir()) == ["a cat-0.mp4", "a cat-1.mp4"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["vbench"], "give the folder of the videos and --prompts"),
        (["vbench", ".", "--prompts", "info.json", "--suite", "vbench_i2"], "did you mean 'vbench_i2v'"),
        (["vbench", ".", "--prompts", "info.json", "--timeout", "5"], "--timeout needs --official"),
        (["vbench", ".", "--prompts", "info.json", "--official", "./nothing"], "no program that can be started"),
        (["vbench", ".", "--prompts", "info.json", "--official", "'a"], "must be a command, .*No closing quotation"),
        (["vbench", ".", "--prompts", "info.json", "--official", " "], "it is empty"),
        (["vbench", ".", "--prompts", "info.json", "--official", "v", "--device", "cpu"], "--device cannot go with"),
        (["vbench", ".", "--prompts", "info.json", "--quirk", "several"], "--quirk needs name=true"),
        (["vbench", ".", "--prompts", "info.json", "--quirk", "severals=true"], "has no setting 'severals'"),
        (["vbench", ".", "--prompts", "info.json", "--suite", "vbench_2.0"], "must name dimensions of vbench_2.0"),
        (["vbench", ".", "--prompts", "info.json"], "no video of these prompts"),
        (["vbench-export", ".", "--prompts", "info.json", "--to", "new"], "holds no video"),
    ],
)
def test_mistakes_are_told(words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, [{"prompt_en": "a", "dimension": ["scene"]}])
    with pytest.raises(UserError, match=told):
        run(*words)
