"""The model of a run without its files: pretrained parts are known by their sizes, and no weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

from vitascope.conditions import TextFeatures
from vitascope.config import Config
from vitascope.errors import install
from vitascope.nn.frozen import Frozen
from vitascope.plan.walking import Walk
from vitascope.recipes.stiv import TowerConfig
from vitascope.system import ModelConfig, VideoModel
from vitascope.text.pretrained import DTYPES, FAMILIES, PretrainedText, PretrainedTextConfig
from vitascope.tokenizers.hub import HubVae, HubVaeConfig, quietly
from vitascope.types import UserError


class OutlineConfig(Config):
    """A pretrained text encoder with all its layers and none of its weights; captions fill it to the last token."""

    text: PretrainedTextConfig
    settings: Any  # transformers' own
    walk: Any  # plan.walking.Walk

    def build(self) -> OutlinedText:
        import transformers

        # Not cast afterwards: fake weights cannot be exchanged once they are watched.
        usual = torch.get_default_dtype()
        torch.set_default_dtype(DTYPES[self.text.dtype])
        try:
            encoder = getattr(transformers, FAMILIES[self.text.family].encoder)(self.settings)
        finally:
            torch.set_default_dtype(usual)
        return OutlinedText(self.text, FullLength(self.text.max_tokens), encoder, self.walk)


class OutlinedText(PretrainedText):
    """Walks through one batch of captions for all: a stage reads thousands, and every batch of them is alike."""

    def __init__(self, config: PretrainedTextConfig, tokenizer: FullLength, encoder: Any, walk: Walk) -> None:
        super().__init__(config, tokenizer, encoder)
        self._walk = walk

    def forward(self, captions: Sequence[str]) -> TextFeatures:
        walk, num = self._walk, len(set(captions))
        batch = [self.ids(caption) for caption in dict.fromkeys(captions)][: self.config.batch_size]
        begun = walk.flops
        features = self.compute(batch)
        walk.flops += round((walk.flops - begun) * (num / len(batch) - 1))
        (length, width), dtype = features[0].tokens.shape, features[0].tokens.dtype
        # Held until they are joined: what was read of each caption.
        kept = torch.empty(num - len(batch), length + 1, width, dtype=dtype, device=self.device)
        tokens = torch.empty(len(captions), length, width, dtype=dtype, device=self.device)
        pooled = torch.empty(len(captions), width, dtype=dtype, device=self.device)
        del features, kept
        return TextFeatures(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=self.device), pooled)


class FullLength:
    """A tokenizer whose every caption has all the tokens that the encoder reads."""

    pad_token_id = 0

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens

    def __call__(self, caption: str, verbose: bool = False) -> Any:
        # Captions of different lengths are different ones: equal ids would be encoded once.
        return SimpleNamespace(input_ids=[len(caption), *[1] * (self.max_tokens - 1)])


def outline(config: ModelConfig, walk: Walk) -> VideoModel:
    """The model of these settings, its pretrained parts in outline, where `walk` goes."""
    return config.model_copy(update={"text": _outlined(config.text, walk), "tokenizer": tokenizer(config)}).build()


def tokenizer(config: ModelConfig) -> Config:
    """The settings of the autoencoder, of a public one in outline."""
    return OutlinedVaeConfig(vae=config.tokenizer) if isinstance(config.tokenizer, HubVaeConfig) else config.tokenizer


class OutlinedVaeConfig(Config):
    """A public autoencoder with all its layers and none of its weights."""

    vae: HubVaeConfig

    def build(self) -> HubVae:
        try:
            from diffusers import AutoencoderKL
        except ImportError:
            raise UserError(f"planning with a public autoencoder needs diffusers: {install('hub')}") from None
        source, subfolder = self.vae.source, self.vae.subfolder or None
        try:
            with quietly():
                told = AutoencoderKL.load_config(source, subfolder=subfolder, local_files_only=True)
        except (OSError, ValueError):
            raise UserError(_not_here("autoencoder", source)) from None
        return HubVae(self.vae, Nameless(AutoencoderKL.from_config(told)))


class Nameless(Frozen):
    """A network without numbers has no digest of its own."""

    @property
    def digest(self) -> str:
        return "0" * 40


def _not_here(what: str, source: str) -> str:
    return (
        f"the sizes of the {what} '{source}' are not on this machine: its config.json is all that a plan needs; copy "
        "it into a folder and give that folder as source"
    )


def _outlined(text: Config, walk: Walk) -> Config:
    if not isinstance(text, (TowerConfig, PretrainedTextConfig)):
        return text
    try:
        import transformers
    except ImportError:
        raise UserError(f"planning with a pretrained text encoder needs transformers: {install('hub')}") from None
    if isinstance(text, TowerConfig):
        settings = transformers.CLIPTextConfig(
            hidden_size=text.width,
            intermediate_size=4 * text.width,
            num_hidden_layers=text.depth,
            num_attention_heads=text.heads,
            max_position_embeddings=text.max_tokens,
            vocab_size=text.vocabulary,
            bos_token_id=0,
            eos_token_id=1,
        )
        clip = PretrainedTextConfig(family="clip", source="sizes only", max_tokens=text.max_tokens, dtype="bfloat16")
        return OutlineConfig(text=clip, settings=settings, walk=walk)
    try:
        kind = getattr(transformers, FAMILIES[text.family].encoder).config_class
        settings = kind.from_pretrained(text.source, subfolder=text.subfolder, local_files_only=True)
    except (OSError, ValueError):
        raise UserError(_not_here("text encoder", text.source)) from None
    return OutlineConfig(text=text, settings=settings, walk=walk)
