"""Parts of the user's own, those that docs/parts.md writes out, go where ours go."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import torch

from forgetting import forget_files
from shell import Shell, is_one_line
from vitascope import load, media, protocols
from vitascope.data.cache import ClipSource
from vitascope.data.pictures import PictureSource
from vitascope.recipes import resolve

PAGE = Path(__file__).parents[2] / "docs" / "parts.md"
BRIEF = ("stages.autoencoder.steps=2", "stages.videos.steps=2", "stages.videos.num_clips=2", "preview_steps=1")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the page shows."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vitascope.data.cache.CLIPS_PER_SHARD", 2)
    monkeypatch.setattr("vitascope.train.stages.BATCHES_MEASURED", 1)
    (tmp_path / "mine.py").write_text(text)
    return tmp_path / "mine.py"


def test_the_parts_are_what_the_protocols_say_and_no_more(mine: Path) -> None:
    run = resolve(str(mine))
    model, source = run.model.build(), run.data.build()
    assert isinstance(model.tokenizer, protocols.Autoencoder)
    assert isinstance(model.text, protocols.TextEncoder)
    assert isinstance(model.backbone, protocols.Denoiser) and not hasattr(model.backbone, "config")
    assert isinstance(model.objective, protocols.Objective)
    assert isinstance(source, ClipSource) and not isinstance(source, PictureSource)


def test_a_model_of_foreign_parts_learns_is_watched_samples_is_given_away_and_loads(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, changes = Shell(monkeypatch, capsys), [word for one in BRIEF for word in ("--set", one)]
    said = shell.done("train", "./mine.py", "--out", "run", *changes)
    assert said.endswith("vitascope --code ./mine.py generate PROMPT --model run/model\n")
    assert "no preview" not in said
    assert {path.name for path in Path("run/previews").iterdir()} == {
        f"videos-00000{step}.{ending}" for step in (1, 2) for ending in ("png", "mp4")
    }
    prompt = "a red square moves right"
    is_one_line(shell("generate", prompt, "--model", "run"), "'mine:", "vitascope --code ./mine.py ...")
    media.write(resolve("./mine.py").data.build().clip(0), Path("first.png"))
    code = ("--code", "./mine.py")
    shell.done(*code, "generate", prompt, "--model", "run", "--image", "first.png", "--out", "made.mp4")
    assert media.read_video(Path("made.mp4")).pixels.shape == (4, 3, 32, 32)
    shell.done(*code, "generate", prompt, "--model", "run", "--num-frames", "6", "--out", "long.mp4")
    assert media.read_video(Path("long.mp4")).num_frames == 6
    shell.done(*code, "plan", "run/run.json", "--gpu", "cpu")
    shell.done(*code, "export", "run", "--out", "given")
    assert "vitascope --code mine.py generate" in Path("given/README.md").read_text()

    forget_files(mine.parent)
    monkeypatch.syspath_prepend(str(mine.parent))
    importlib.import_module("mine")
    one, other = (load(folder).generate(prompt, seed=1).pixels for folder in ("run", "given"))
    assert torch.equal(one, other)
    lines = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["autoencoder"] * 2 + ["videos"] * 2


def test_a_lesson_that_hides_tokens_is_refused_by_a_backbone_that_does_not(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(monkeypatch, capsys)
    refused = shell.refused("train", "./mine.py", "--set", "stages.videos.lesson.mask_share=0.5")
    assert "stage videos: a Convolutions hides no tokens" in refused
    assert {path.name for path in mine.parent.iterdir()} <= {"mine.py", "__pycache__"}
