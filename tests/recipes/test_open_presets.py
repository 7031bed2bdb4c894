"""The presets on public parts: planned from configs alone, and trained, on tiny parts that are built here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from filming import shoot
from vitascope.backbones.stiv import StivConfig
from vitascope.plan import needs, report
from vitascope.plan.devices import Device
from vitascope.recipes import resolve
from vitascope.recipes.footage import on_footage
from vitascope.recipes.stiv import OPEN, PAPER, in_the_open
from vitascope.sample.loading import load
from vitascope.text.pretrained import PretrainedTextConfig
from vitascope.tokenizers.hub import HubVaeConfig
from vitascope.train.loop import fit
from vitascope.train.stages import Run, VideoStage
from vitascope.types import UserError

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

PROCESSOR = Device("cpu", 8.0, 1e11, 1e11, utilisation=0.5, is_gpu=False)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def saved_vae(folder: Path) -> str:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4}
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    diffusers.AutoencoderKL(**settings, **kinds).save_pretrained(folder)
    return str(folder)


def saved_text(folder: Path) -> str:
    names = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(vocab={name: place for place, name in enumerate(names)}, merges=[])
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    for part in (
        tokenizer,
        transformers.CLIPTextModel(transformers.CLIPTextConfig(vocab_size=len(tokenizer), **sizes, **ends)),
    ):
        part.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A preset in the open with everything tiny but its stages."""
    folder = tmp_path_factory.mktemp("parts")
    sizes = StivConfig(width=32, heads=2, depth=1, tail_blocks=2, text_width=16, grid=(2, 4))
    preset = in_the_open(sizes, 16, 4, "stiv_tiny_open")
    assert isinstance(preset.model.tokenizer, HubVaeConfig) and isinstance(preset.model.text, PretrainedTextConfig)
    parts = {
        "tokenizer": preset.model.tokenizer.model_copy(update={"source": saved_vae(folder / "vae")}),
        "text": preset.model.text.model_copy(update={"source": saved_text(folder / "text"), "dtype": "float32"}),
        "defaults": preset.model.defaults.model_copy(update={"steps": 1}),
    }
    small = {"steps": 1, "batch": 2, "num_clips": 4, "warmup_steps": 1}
    stages = tuple(stage.model_copy(update=small) for stage in preset.stages)
    update = {"model": preset.model.model_copy(update=parts), "stages": stages, "precision": "fp32"}
    return on_footage(preset.model_copy(update=update), shoot(folder / "footage"))


def test_it_is_trained_through_all_its_stages_and_makes_a_video(run: Run, tmp_path: Path) -> None:
    fit(run.model_copy(update={"preview_prompts": ()}), tmp_path / "run")
    made = load(tmp_path / "run" / "model").generate("a cat")
    assert (made.num_frames, made.size) == (4, (16, 16)) and made.pixels.isfinite().all()


def test_it_is_planned_from_the_configs_of_its_parts(run: Run, tmp_path: Path) -> None:
    told = io.StringIO()
    report.print_plan(report.plan(run, PROCESSOR), Console(file=told, width=200))
    assert "t2v_whole" in told.getvalue()
    planned, vae = needs.parameters(run), diffusers.AutoencoderKL.from_pretrained(run.model.tokenizer.source)  # type: ignore[attr-defined]
    assert planned["tokenizer"] == sum(one.numel() for one in vae.parameters())
    lost = run.model.tokenizer.model_copy(update={"source": "nobody/nothing"})
    absent = run.model_copy(update={"model": run.model.model_copy(update={"tokenizer": lost})})
    with pytest.raises(UserError, match=r"autoencoder 'nobody/nothing' .* config\.json is all that a plan needs"):
        report.plan(absent, PROCESSOR)


def test_every_preset_of_the_paper_has_one_in_the_open() -> None:
    assert {name.removesuffix("_open") for name in OPEN} == {*PAPER}
    for name in OPEN:
        open_run = resolve(f"stiv:{name}")
        videos = [stage for stage in open_run.stages if isinstance(stage, VideoStage)]
        assert [stage.name for stage in videos] == [stage.name for stage in PAPER[name.removesuffix("_open")]().stages]
        assert open_run.model.backbone.channels == 4  # type: ignore[attr-defined]
