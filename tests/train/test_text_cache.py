"""Laws of the features that a training keeps of a frozen text encoder: read instead of made, and never stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tiny import save_tiny_clip, tiny_run
from vitascope import media
from vitascope.data.buckets import BucketsConfig
from vitascope.data.loader import LoaderConfig, MixedConfig
from vitascope.data.source import FootageConfig
from vitascope.nn.frozen import digest_of
from vitascope.text.pretrained import PretrainedTextConfig
from vitascope.train.loop import fit
from vitascope.train.stages import Run, Stage, VideoStage
from vitascope.train.streaming import StreamStage
from vitascope.types import Clip, generator_for

pytest.importorskip("transformers")
CAPTIONS = ("a red", "a sea")
Staged = Callable[[Path], Stage]


def cached(_footage: Path) -> Stage:
    return VideoStage(name="videos", steps=2, batch=2, warmup_steps=1, num_clips=4)


def streamed(footage: Path) -> Stage:
    loader = LoaderConfig(
        sources=(MixedConfig(path=str(footage)),), buckets=BucketsConfig(area=16 * 16, lengths=(4,), fps=24.0)
    )
    return StreamStage(name="stream", steps=2, batch=2, warmup_steps=1, loader=loader)


def film(folder: Path, captions: tuple[str, ...] = CAPTIONS) -> Path:
    folder.mkdir()
    for number, caption in enumerate(captions):
        pixels = torch.rand(6, 3, 16, 16, generator=generator_for(number, "film"))
        media.write(Clip(pixels, 24.0), folder / f"{number}.mp4")
        (folder / f"{number}.txt").write_text(caption)
    return folder


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    save_tiny_clip(tmp_path / "tower")
    return tmp_path / "tower"


def run_on(footage: Path, tower: Path, staged: Staged) -> Run:
    run = tiny_run(staged(footage))
    text = PretrainedTextConfig(family="clip", source=str(tower), max_tokens=12)
    backbone = run.model.backbone.model_copy(update={"text_width": 16})
    return run.model_copy(
        update={
            "model": run.model.model_copy(update={"text": text, "backbone": backbone}),
            "data": FootageConfig(path=str(footage), size=(16, 16), num_frames=4, fps=24.0),
        }
    )


def weights(run: Run, folder: Path, cache: Path) -> torch.Tensor:
    learned = fit(run, folder, cache_root=cache).backbone.state_dict()
    return torch.cat([value.flatten().double() for value in learned.values()])


def falsified(cache: Path) -> None:
    """Features that no encoder gave, intact as files, in the place of all that are kept."""
    for path in cache.rglob("text/*/*.safetensors"):
        with safe_open(path, "pt") as file:
            wrong = {name: file.get_tensor(name) + 1 for name in ("tokens", "pooled")}
        save_file(wrong, path, {"digest": digest_of(wrong)})


@pytest.mark.parametrize("staged", [cached, streamed])
def test_what_is_kept_is_read_and_a_new_encoder_or_caption_never_meets_it(
    staged: Staged, tower: Path, tmp_path: Path
) -> None:
    footage, cache = film(tmp_path / "films"), tmp_path / "cache"
    run = run_on(footage, tower, staged)
    cold = weights(run, tmp_path / "cold", cache)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("text/*/*.safetensors")}
    assert len(kept) == len({*CAPTIONS, ""})
    assert torch.equal(weights(run, tmp_path / "warm", cache), cold)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("text/*/*.safetensors")} == kept
    falsified(cache)
    assert not torch.equal(weights(run, tmp_path / "false", cache), cold)

    save_tiny_clip(tmp_path / "other", seed=1)
    new_tower = run_on(footage, tmp_path / "other", staged)
    expected = weights(new_tower, tmp_path / "new", tmp_path / "empty")
    assert torch.equal(weights(new_tower, tmp_path / "beside", cache), expected)
    assert len([*cache.rglob("text/*/*.safetensors")]) == 2 * len(kept)


def test_another_caption_has_a_name_of_its_own(tower: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    weights(run_on(film(tmp_path / "films"), tower, streamed), tmp_path / "first", cache)
    before = {path.name for path in cache.rglob("text/*/*.safetensors")}
    weights(run_on(film(tmp_path / "others", ("a red", "a star")), tower, streamed), tmp_path / "second", cache)
    assert len({path.name for path in cache.rglob("text/*/*.safetensors")} - before) == 1


def test_features_are_kept_where_the_settings_say(tower: Path, tmp_path: Path) -> None:
    run = run_on(film(tmp_path / "films"), tower, streamed)
    text = run.model.text.model_copy(update={"cache": str(tmp_path / "own")})
    run = run.model_copy(update={"model": run.model.model_copy(update={"text": text})})
    weights(run, tmp_path / "run", tmp_path / "cache")
    assert [*(tmp_path / "own").rglob("*.safetensors")] and not [*(tmp_path / "cache").rglob("text/*")]
