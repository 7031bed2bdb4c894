"""Laws of LoRA files: every change finds its place and is seen in the video, or the file is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from families import Folder, Load
from safetensors.torch import save_file
from torch import Tensor

from vitascope.sample.hub.lora import merge, parse
from vitascope.sample.hub.model import HubModel, load_checkpoint
from vitascope.types import Clip, UserError

PLACE = "transformer.blocks.0.attn1.to_q"


def halves(name: str = PLACE, width: int = 24, rank: int = 2, value: float = 1.0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    down, up = torch.randn(rank, width, generator=rng), torch.randn(width, rank, generator=rng) * value
    return {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}


def made(model: HubModel) -> Clip:
    return model.generate("a red circle", num_frames=5, size=(32, 32), steps=2, seed=3)


def test_a_lora_changes_the_video_by_its_scale_and_is_kept_in_the_settings(
    model_of: Load, folder_of: Folder, tmp_path: Path
) -> None:
    save_file(halves(), tmp_path / "style.safetensors")
    folder, file = str(folder_of("wan")), tmp_path / "style.safetensors"
    base = made(model_of("wan"))
    full, half = (load_checkpoint(folder, loras=(f"{file}{scale}",), device="cpu") for scale in ("", ":0.5"))
    clips = [base, made(full), made(half)]
    assert all((one.pixels - other.pixels).abs().max() > 1e-4 for one, other in pairwise(clips))
    assert len({clip.settings["model"] for clip in clips}) == 3
    assert clips[2].settings["hub"]["loras"][0][1] == 0.5
    # There and back again: the same file taken away leaves the weights as they were.
    merge(full.routes[0].pipeline, parse(f"{file}:-1"))
    torch.testing.assert_close(made(full).pixels, base.pixels, atol=1e-4, rtol=0)


def settings(**more: object) -> dict[str, object]:
    return {"r": 2, "lora_alpha": 16, "rank_pattern": {}, "alpha_pattern": {}, "peft_type": "LORA", **more}


@pytest.fixture
def weight(model_of: Load) -> Iterator[Tensor]:
    """The weight at PLACE, as it was when the test is over."""
    weight = model_of("wan").routes[0].pipeline.transformer.blocks[0].attn1.to_q.weight
    before = weight.clone()
    yield weight
    with torch.no_grad():
        weight.copy_(before)


@pytest.mark.parametrize(
    ("told", "times"),
    [
        (settings(), 8.0),
        (settings(use_rslora=True), 16 / 2**0.5),
        (settings(r=4, rank_pattern={"to_q": 2}, alpha_pattern={"attn1.to_q": 6}), 3.0),
        (settings(alpha_pattern={r"blocks\.\d+\.attn1\..*": 1}), 0.5),
        (settings(alpha_pattern={"o_q": 1}), 8.0),
    ],
)
@pytest.mark.parametrize("form", ["diffusers", "peft"])
def test_the_strength_that_a_header_or_peft_states_is_kept(
    model_of: Load, weight: Tensor, tmp_path: Path, told: dict[str, object], times: float, form: str
) -> None:
    pipeline, before, file = model_of("wan").routes[0].pipeline, weight.clone(), tmp_path / "adapter_model.safetensors"
    save_file(halves(), tmp_path / "plain")
    if form == "diffusers":
        packed = {"transformer": told, "text_encoder": settings()}
        header = {f"{part}.{name}": value for part, one in packed.items() for name, value in one.items()}
        save_file(halves(), file, {"format": "pt", "lora_adapter_metadata": json.dumps(header)})
    else:
        save_file({f"base_model.model.{name}": value for name, value in halves().items()}, file)
        (tmp_path / "adapter_config.json").write_text(json.dumps(told))
    merge(pipeline, parse(str(tmp_path / "plain")))
    once = weight - before
    merge(pipeline, parse(str(file)))
    torch.testing.assert_close(weight - before - once, times * once, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (settings(use_dora=True), "says use_dora"),
        (settings(lora_alpha="much"), "a number for lora_alpha, got 'much'"),
        (settings(r=3), "states rank 3 for '.*to_q' and has 2"),
        (settings(peft_type="LOHA"), "is of a LOHA"),
        (settings(alpha_pattern=[1]), "by module"),
        ([1], "as JSON"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(
    model_of: Load, weight: Tensor, tmp_path: Path, told: object, said: str
) -> None:
    save_file(halves(), tmp_path / "bad", {"lora_adapter_metadata": json.dumps(told)})
    before = weight.clone()
    with pytest.raises(UserError, match=said):
        merge(model_of("wan").routes[0].pipeline, parse(str(tmp_path / "bad")))
    assert torch.equal(weight, before)


def test_a_bias_is_changed_by_the_same_strength(model_of: Load, weight: Tensor, tmp_path: Path) -> None:
    pipeline, file = model_of("wan").routes[0].pipeline, tmp_path / "biased"
    bias = pipeline.transformer.blocks[0].attn1.to_q.bias
    before, change = bias.clone(), torch.arange(24.0)
    more = {f"{PLACE}.lora_B.bias": change, f"{PLACE}.alpha": torch.tensor(6.0)}
    save_file({**halves(), **more}, file)
    try:
        merge(pipeline, parse(f"{file}:0.5"))
        torch.testing.assert_close(bias, before + 1.5 * change)
    finally:
        with torch.no_grad():
            bias.copy_(before)


def test_alpha_over_rank_is_the_strength(model_of: Load, tmp_path: Path) -> None:
    pipeline = model_of("wan").routes[0].pipeline
    weight = pipeline.transformer.blocks[0].attn1.to_q.weight
    before = weight.clone()
    for name, state in (("plain", halves()), ("strong", {**halves(), f"{PLACE}.alpha": torch.tensor(6.0)})):
        save_file(state, tmp_path / name)
    try:
        merge(pipeline, parse(str(tmp_path / "plain")))
        once = weight - before
        merge(pipeline, parse(str(tmp_path / "strong")))
        torch.testing.assert_close(weight - before, 4 * once, atol=1e-4, rtol=1e-4)
    finally:
        with torch.no_grad():
            weight.copy_(before)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (halves("transformer.blocks.0.attn1.to_qq"), "does not have; did you mean 'transformer.blocks.0.attn1.to_q'"),
        (halves("transformer.blocks.7.attn1.to_q"), "does not have; did you mean"),
        (halves(width=8), r"shape \(8, 8\) and its weight \(24, 24\): it was made for another model"),
        (halves(value=0.0), "changes nothing"),
        (dict([*halves().items()][:1]), "only one half"),
        ({"transformer.blocks.0.attn1.to_q.magnitude": torch.ones(3)}, "neither half"),
        ({f"{PLACE}.lora_A.bias": torch.ones(2)}, "neither half"),
        ({f"{PLACE}.alpha": torch.tensor(1.0)}, f"an alpha for '{PLACE}' and no change"),
        (halves(value=float("nan")), "no number"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused_and_changes_nothing(
    model_of: Load, tmp_path: Path, state: dict[str, Tensor], said: str
) -> None:
    pipeline, file = model_of("wan").routes[0].pipeline, tmp_path / "bad.safetensors"
    good = halves("transformer.blocks.0.attn1.to_k") if "changes nothing" not in said else {}
    save_file({**good, **state}, file)
    before = pipeline.transformer.blocks[0].attn1.to_k.weight.clone()
    with pytest.raises(UserError, match=said) as caught:
        merge(pipeline, parse(str(file)))
    assert "\n" not in str(caught.value)
    assert torch.equal(pipeline.transformer.blocks[0].attn1.to_k.weight, before)


def test_files_that_are_none_are_refused(model_of: Load, tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors")
    for text, said in (
        (str(tmp_path / "absent.safetensors:0.5"), "no such file|none of that name"),
        (str(tmp_path / "text.safetensors:0"), "at scale 0"),
        (str(tmp_path / "text.safetensors:nan"), "a number as its scale, got nan"),
        (str(tmp_path / "text.safetensors:-inf"), "a number as its scale"),
    ):
        with pytest.raises(UserError, match=said):
            parse(text)
    with pytest.raises(UserError, match="no readable safetensors"):
        merge(model_of("wan").routes[0].pipeline, parse(str(tmp_path / "text.safetensors")))
