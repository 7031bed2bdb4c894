"""Laws of the frozen text encoders, on tiny random ones built with transformers' own classes and loaded from disk."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitascope.protocols import TextEncoder, TextFeatures
from vitascope.text.pretrained import FAMILIES, PretrainedText, PretrainedTextConfig
from vitascope.types import UserError

transformers = pytest.importorskip("transformers")

CAPTIONS = ["a red circle moves left", "", "a star", "a red circle moves left on a blue square"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def t5_tokenizer() -> Any:
    words = [(f"▁{word}", -2.0) for word in "a red circle star moves left".split()]
    special = [(name, 0.0) for name in ("<pad>", "</s>", "<unk>")]
    return transformers.T5Tokenizer(vocab=[*special, *words, ("▁", -5.0), *((c, -9.0) for c in LETTERS)], extra_ids=0)


def clip_tokenizer() -> Any:
    names = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={name: place for place, name in enumerate(names)}, merges=[("r", "e"), ("re", "d</w>")]
    )


def t5_config(kind: Any, tokenizer: Any) -> Any:
    return kind(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)


def clip_config(tokenizer: Any) -> Any:
    return transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=48,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def t5() -> tuple[Any, Any]:
    tokenizer = t5_tokenizer()
    return tokenizer, transformers.T5EncoderModel(t5_config(transformers.T5Config, tokenizer))


def umt5() -> tuple[Any, Any]:
    tokenizer = t5_tokenizer()
    return tokenizer, transformers.UMT5EncoderModel(t5_config(transformers.UMT5Config, tokenizer))


def clip() -> tuple[Any, Any]:
    tokenizer = clip_tokenizer()
    return tokenizer, transformers.CLIPTextModel(clip_config(tokenizer))


def save(folder: Path, make: Callable[[], tuple[Any, Any]], seed: int = 0) -> PretrainedTextConfig:
    torch.manual_seed(seed)
    for part in make():
        part.save_pretrained(folder)
    return PretrainedTextConfig(family=make.__name__, source=str(folder), max_tokens=48)


@pytest.fixture(scope="module", params=[t5, umt5, clip], ids=lambda make: make.__name__)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PretrainedTextConfig:
    return save(tmp_path_factory.mktemp(request.param.__name__), request.param)


def with_cache(config: PretrainedTextConfig, folder: Path, **changes: Any) -> PretrainedText:
    return config.model_copy(update={"cache": str(folder), **changes}).build()


def same_bits(one: TextFeatures, other: TextFeatures) -> bool:
    pairs = ((one.tokens, other.tokens), (one.mask, other.mask), (one.pooled, other.pooled))
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def directly(config: PretrainedTextConfig, captions: list[str]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Tokens, mask and pooler output by a plain call of transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(config.source)
    encoder = getattr(transformers, FAMILIES[config.family].encoder).from_pretrained(config.source).eval()
    inputs = tokenizer(captions, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = encoder(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)
    return out.last_hidden_state, inputs.attention_mask.bool(), out.get("pooler_output")


def test_features_are_those_of_transformers(config: PretrainedTextConfig) -> None:
    encoder = config.build()
    features = encoder(CAPTIONS)
    tokens, mask, pooled = directly(config, CAPTIONS)
    if pooled is None:
        pooled = torch.stack([row[real].mean(0) for row, real in zip(tokens, mask, strict=True)])
    assert isinstance(encoder, TextEncoder)
    assert torch.equal(features.mask, mask)
    assert features.mask.sum(1).tolist() == [encoder.count(caption) for caption in CAPTIONS]
    torch.testing.assert_close(features.tokens[mask], tokens[mask])
    torch.testing.assert_close(features.pooled, pooled)
    assert not features.tokens[~mask].any()


def test_features_depend_neither_on_company_nor_on_padding(config: PretrainedTextConfig) -> None:
    exact, fast = config.build(), config.model_copy(update={"batch_size": 8}).build()
    together, quickly = exact(CAPTIONS), fast(CAPTIONS)
    torch.testing.assert_close(quickly.tokens, together.tokens)
    torch.testing.assert_close(quickly.pooled, together.pooled)
    for row, caption in enumerate(CAPTIONS):
        alone = exact([caption])
        assert torch.equal(together.tokens[row][together.mask[row]], alone.tokens[0])
        assert torch.equal(together.pooled[row], alone.pooled[0])


def test_autocast_outside_changes_nothing(config: PretrainedTextConfig) -> None:
    encoder = config.build()
    plain = encoder(CAPTIONS)
    with torch.autocast("cpu", torch.bfloat16):
        assert same_bits(encoder(CAPTIONS), plain)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_hit_is_the_miss_bit_for_bit(
    config: PretrainedTextConfig, tmp_path: Path, dtype: str, batch_size: int
) -> None:
    first = with_cache(config, tmp_path, dtype=dtype, batch_size=batch_size)(CAPTIONS)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    again = with_cache(config, tmp_path, dtype=dtype, batch_size=batch_size)
    assert same_bits(again(CAPTIONS), first)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == written
    assert len(written) == len(CAPTIONS)
    if batch_size == 1:
        assert same_bits(config.model_copy(update={"dtype": dtype}).build()(CAPTIONS), first)


def test_what_is_kept_is_what_is_answered(config: PretrainedTextConfig, tmp_path: Path) -> None:
    encoder = with_cache(config, tmp_path)
    assert encoder.cache is not None
    other = encoder.compute([encoder.ids("a star")])[0]
    encoder.cache.write(encoder.key(encoder.ids("a red")), other)
    assert torch.equal(encoder(["a red"]).tokens[0], other.tokens)


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:-7], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b"x" * 99]
)
def test_a_damaged_file_is_computed_again(
    config: PretrainedTextConfig, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    encoder = with_cache(config, tmp_path)
    first = encoder(CAPTIONS)
    intact = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    for path, content in intact.items():
        path.write_bytes(damage(content))
    assert same_bits(encoder(CAPTIONS), first)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == intact


def test_the_key_follows_weights_type_and_caption(config: PretrainedTextConfig, tmp_path: Path) -> None:
    make = {"t5": t5, "umt5": umt5, "clip": clip}[config.family]
    same, other = save(tmp_path / "same", make), save(tmp_path / "other", make, seed=1)
    encoder, ids = config.build(), config.build().ids("a red star")
    assert same.build().key(ids) == encoder.key(ids)  # content decides, not the folder
    keys = {
        encoder.key(ids),
        encoder.key(encoder.ids("a red circle")),
        other.build().key(ids),
        config.model_copy(update={"dtype": "bfloat16"}).build().key(ids),
        copy.deepcopy(encoder).to(torch.bfloat16).to(torch.float32).key(ids),  # rounded weights are other weights
    }
    assert len(keys) == 5


def test_the_encoder_is_frozen_and_weighs_nothing_in_a_checkpoint(config: PretrainedTextConfig) -> None:
    encoder = config.build().train()
    assert not list(encoder.parameters()) and not encoder.state_dict()
    assert not encoder(CAPTIONS).tokens.requires_grad
    assert same_bits(encoder(CAPTIONS), encoder(CAPTIONS))  # no dropout though "in training"
    assert encoder.to(torch.bfloat16)(CAPTIONS).tokens.dtype == torch.bfloat16  # moves and casts like any module


def test_too_long_a_text_is_refused_with_numbers(config: PretrainedTextConfig) -> None:
    encoder = config.model_copy(update={"max_tokens": 6}).build()
    num_tokens = encoder.count(CAPTIONS[-1])
    with pytest.raises(UserError, match=rf"takes {num_tokens} tokens .* reads 6"):
        encoder(["", CAPTIONS[-1]])


def test_missing_files_are_asked_for(tmp_path: Path) -> None:
    for source in (str(tmp_path / "nowhere"), "google/t5-v1_1-of-nobody"):
        with pytest.raises(UserError, match=r"hf download .* copy its folder") as caught:
            PretrainedTextConfig(family="t5", source=source).build()
        assert "\n" not in str(caught.value)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    config = save(tmp_path, t5)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged"):
        config.build()


@pytest.mark.parametrize(("make", "family"), [(umt5, "t5"), (t5, "umt5"), (clip, "t5"), (t5, "clip")])
def test_another_family_is_refused_rather_than_filled_with_noise(tmp_path: Path, make: Any, family: str) -> None:
    save(tmp_path, make)
    with pytest.raises(UserError, match=f"no {family} text encoder"):
        PretrainedTextConfig(family=family, source=str(tmp_path)).build()


def test_missing_weights_are_refused_rather_than_filled_with_noise(tmp_path: Path) -> None:
    config = save(tmp_path, t5)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("encoder.final_layer_norm.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="final_layer_norm"):
        config.build()


def test_clip_cannot_be_asked_to_read_more_than_it_has_places(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 48"):
        save(tmp_path, clip).model_copy(update={"max_tokens": 77}).build()


def test_encoders_are_found_inside_larger_models(tmp_path: Path) -> None:
    """The usual files hold a whole T5 (with decoder) or a whole CLIP (with images); diffusers' have subfolders."""
    torch.manual_seed(0)
    tokenizer = t5_tokenizer()
    whole = transformers.T5ForConditionalGeneration(t5_config(transformers.T5Config, tokenizer))
    whole.save_pretrained(tmp_path / "t5" / "text_encoder")
    tokenizer.save_pretrained(tmp_path / "t5" / "tokenizer")
    config = PretrainedTextConfig(
        family="t5", source=str(tmp_path / "t5"), subfolder="text_encoder", tokenizer_subfolder="tokenizer"
    )
    ids = tokenizer("a red star", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(config.build()(["a red star"]).tokens, whole.eval().encoder(ids).last_hidden_state)

    tokenizer = clip_tokenizer()
    images = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    settings = transformers.CLIPConfig(
        text_config=clip_config(tokenizer).to_dict(), vision_config={**images, "image_size": 8, "patch_size": 4}
    )
    both = transformers.CLIPModel(settings)
    both.save_pretrained(tmp_path / "clip")
    tokenizer.save_pretrained(tmp_path / "clip")
    features = PretrainedTextConfig(family="clip", source=str(tmp_path / "clip"), max_tokens=48).build()(["a red star"])
    ids = tokenizer("a red star", return_tensors="pt").input_ids
    with torch.no_grad():
        out = both.eval().text_model(ids)
    torch.testing.assert_close(features.tokens, out.last_hidden_state)
    torch.testing.assert_close(features.pooled, out.pooler_output)
