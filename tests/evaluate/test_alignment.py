"""CLIP through transformers, on a tiny random one; and the Inception Score of answers with a known score."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from tiny import save_tiny_clip
from vitascope import media
from vitascope.evaluate.catalogue import Networks, metrics_named
from vitascope.evaluate.measured import Features
from vitascope.evaluate.metrics.alignment import conventions, frame_consistency
from vitascope.evaluate.metrics.inception_score import inception_scores, shuffled
from vitascope.evaluate.metrics.metric import Bootstrap
from vitascope.evaluate.networks.features import CPU
from vitascope.evaluate.networks.pretrained import ClipNetwork, VideoMaeNetwork
from vitascope.evaluate.protocol import Protocol
from vitascope.evaluate.run import evaluate
from vitascope.evaluate.videos import find_videos
from vitascope.types import Clip, UserError, generator_for

transformers = pytest.importorskip("transformers")
PROTOCOL = Protocol(frames=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP as transformers keeps it, of 8 pixels and 12 tokens."""
    place = tmp_path_factory.mktemp("clip")
    save_tiny_clip(place)
    return place


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("videos")
    for number, caption in enumerate(("red", "a very long caption", "")):
        pixels = torch.rand(3, 3, 10, 12, generator=generator_for(number))
        media.write(Clip(pixels, caption=caption), place / f"{number}.webp")
    media.write(Clip(pixels[:1].repeat(3, 1, 1, 1), caption="blue"), place / "still.mp4")
    return place


def test_the_cosine_is_that_of_transformers_own_call(folder: Path):
    clip = ClipNetwork(folder, CPU)
    frames = torch.randn(2, 3, 8, 8, generator=generator_for(1))
    ids = clip.tokenizer("red", return_tensors="pt").input_ids
    with torch.inference_mode():
        truth = clip.model(input_ids=ids, pixel_values=frames)
        ours = clip.pictures(frames) @ clip.text("red")
    assert torch.allclose(ours, (truth.image_embeds @ truth.text_embeds.T)[:, 0], atol=1e-6)


def test_captions_and_frames_give_cosines_and_what_is_missing_is_told(folder: Path, videos: Path):
    networks = Networks({"clip": folder}, PROTOCOL)
    metrics = metrics_named(["clipsim", "clipscore", "clip-consistency"], networks)
    report = evaluate(find_videos(videos), None, metrics, PROTOCOL, bootstrap=Bootstrap(10))
    clipsim, clipscore, steady = report.measured
    assert clipsim.n == clipscore.n == 3 and steady.n == 4
    assert [(bad.name, bad.metric) for bad in report.unusable] == [("2", "clipsim"), ("2", "clipscore")]
    assert clipsim.beside["captions cut"] == pytest.approx(1 / 3)
    assert clipscore.beside["captions cut"] == 1  # its prefix alone fills these twelve tokens
    assert clipsim.beside["times 2.5"] >= 2.5 * max(clipsim.value, 0)
    assert clipsim.beside["times 100"] == pytest.approx(100 * max(clipsim.value, 0))
    assert steady.videos["still"] == pytest.approx(1, abs=1e-6)
    assert steady.videos["0"] < 0.9999
    assert clipsim.protocol["prepare"]["antialias"] and len(clipsim.protocol["sha256"]) == 64


def test_hessels_score_clamps_each_frame_and_torchmetrics_the_mean(folder: Path):
    clip = ClipNetwork(folder, CPU)
    text = clip.text("red")
    rows = torch.stack([text, -text, -text, text])
    made = Features(("a", "b"), ("red", "red"), "", rows, torch.tensor([0, 0, 0, 1]))
    beside = conventions(clip, "", made)  # frames of 1, -1, -1, and of 1
    assert beside["times 2.5"] == pytest.approx(2.5 * (1 / 3 + 1) / 2)
    assert beside["times 100"] == pytest.approx(100 * (-1 / 3 + 1) / 2)
    against = Features(("a",), ("red",), "", rows[1:3], torch.tensor([0, 0]))
    assert conventions(clip, "", against)["times 2.5"] == conventions(clip, "", against)["times 100"] == 0


def test_consistency_never_looks_across_two_clips():
    row = torch.tensor([1.0, 0.0])
    rows = torch.stack([row, row, row.flip(0), row.flip(0)])
    assert frame_consistency(2)(rows, "") == 1
    assert frame_consistency(4)(rows, "") == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="2 frames"):
        frame_consistency(1)(rows, "")


def test_a_video_mae_gives_what_its_classifier_reads(tmp_path: Path):
    config = transformers.VideoMAEConfig(
        image_size=8, patch_size=4, num_frames=4, tubelet_size=2, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, use_mean_pooling=True, num_labels=3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.VideoMAEForVideoClassification(config).eval()
    model.save_pretrained(tmp_path)
    clips = torch.rand(2, 4, 3, 8, 8, generator=generator_for(0))
    with torch.inference_mode():
        rows = VideoMaeNetwork(tmp_path, CPU).clips(clips)
        assert torch.allclose(model.classifier(rows), model(clips).logits, atol=1e-6)


def test_a_folder_of_another_network_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match="is no videomae: its config says 'clip'"):
        VideoMaeNetwork(folder, CPU)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is no clip"):
        ClipNetwork(tmp_path, CPU)


def test_inception_scores_of_known_answers():
    sure = torch.eye(5).repeat(20, 1)  # each class equally often, always certain: as many as there are classes
    assert inception_scores(sure, shuffled(100), splits=1) == [pytest.approx(5)]
    assert inception_scores(torch.full((100, 5), 0.2), shuffled(100)) == [pytest.approx(1)] * 10
    mixed = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).repeat(50, 1)
    divergence = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert inception_scores(mixed, shuffled(100), splits=1) == [pytest.approx(math.exp(divergence))]
    assert sorted(shuffled(100)) == list(range(100))


class Sure(nn.Module):
    """Two classes by brightness."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = (x.mean([1, 2, 3, 4]) > 127).float()
        return torch.stack([bright, 1 - bright], 1)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_inception_score_of_videos(tmp_path: Path):
    torch.jit.save(torch.jit.script(Sure()), str(tmp_path / "c3d_ucf101.pt"))
    place = tmp_path / "videos"
    place.mkdir()
    for number in range(20):
        media.write(Clip(torch.full((3, 3, 8, 8), number / 19)), place / f"{number:02d}.mp4")
    networks = Networks({"c3d": tmp_path / "c3d_ucf101.pt"}, PROTOCOL)
    metrics = metrics_named(["inception-score"], networks)
    (one,) = evaluate(find_videos(place), None, metrics, PROTOCOL, bootstrap=Bootstrap(20)).measured
    assert 1 <= one.value <= 2 and one.n == 20 and one.interval
    few = evaluate(find_videos(place)[:9], None, metrics, PROTOCOL)
    assert "needs 10 clips" in few.missing["inception-score"]
