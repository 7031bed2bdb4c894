"""The smallest model, clips and run that have every part: made in milliseconds, random, and of no use but to tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.backbones.stiv import StivConfig
from vitascope.card import save_model
from vitascope.config import Config
from vitascope.objectives.flow import FlowConfig
from vitascope.system import Defaults, ModelConfig
from vitascope.text.tiny import TinyTextConfig
from vitascope.tokenizers.frame_vae import FrameVaeConfig
from vitascope.train.initialise import initialised
from vitascope.train.stages import Run, Stage, TokenizerStage, VideoStage
from vitascope.types import Clip, generator_for

SIZE, NUM_FRAMES = 16, 4


class StripesConfig(Config):
    """Stripes that move; from some step on pictures are not numbers, or need more memory than there is anywhere."""

    broken_from: int | None = None
    hungry_from: int | None = None

    def build(self) -> Stripes:
        return Stripes(self)


class Stripes:
    """A source of clips that costs nothing."""

    def __init__(self, config: StripesConfig) -> None:
        self.config = config
        self.identity = config.model_dump_json()

    def clip(self, index: int) -> Clip:
        place = torch.arange(SIZE) + 2.0 * torch.arange(NUM_FRAMES)[:, None]
        waves = torch.sin(place * (0.3 + index % 7 / 10)) / 2 + 0.5  # t w
        colour = torch.rand(3, generator=generator_for(0, "colour", index))
        return Clip(colour[None, :, None, None] * waves[:, None, None, :].expand(-1, 3, SIZE, -1))

    def captions(self, index: int) -> tuple[str, ...]:
        return f"stripes number {index % 7}", f"the same stripes {index % 7}"

    def pictures(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        if self.config.hungry_from is not None and step >= self.config.hungry_from:
            torch.empty(2**50)
        made = torch.stack([self.clip(step * count + k).pixels[0] for k in range(count)])
        return made * torch.nan if self.config.broken_from is not None and step >= self.config.broken_from else made

    def details(self, step: int, count: int) -> Float[Tensor, "n 3 h w"]:
        return self.pictures(step, count)[..., : SIZE // 2, : SIZE // 2]


def tiny_model(**defaults: Any) -> ModelConfig:
    usual = FrameVaeConfig()
    narrow = {
        name: tuple(least for _ in getattr(usual, name))
        for name, least in (("widths", 8), ("encoder_blocks", 0), ("decoder_blocks", 0))
    }
    return ModelConfig(
        tokenizer=FrameVaeConfig.model_validate({"channels": 4, **narrow}),
        text=TinyTextConfig(width=32, depth=1, heads=2),
        backbone=StivConfig(channels=4, text_width=32, width=32, heads=2, depth=1, patch=(2, 1), grid=(2, 2)),
        objective=FlowConfig(),
        defaults=Defaults(**{"size": (SIZE, SIZE), "num_frames": NUM_FRAMES, "steps": 3, **defaults}),
    )


def tiny_run(*stages: Stage, **changes: Any) -> Run:
    chosen = stages or (
        TokenizerStage(name="autoencoder", steps=4, batch=2, warmup_steps=2),
        VideoStage(name="videos", steps=4, batch=2, warmup_steps=2, num_clips=8),
    )
    settings: dict[str, Any] = {"checkpoint_seconds": 0.0, "preview_steps": 1, **changes}
    return Run(name="tiny", model=tiny_model(), data=StripesConfig(), stages=chosen, **settings)


def save_tiny(folder: Path, seed: int = 0, **defaults: Any) -> Path:
    """A model folder with random weights, in which no part is silent as it would be before training."""
    config = tiny_model(**defaults)
    model, rng = initialised(config, seed), generator_for(seed, "tests")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=0.05)
    save_model(config, model.state_dict(), folder, {"made for": "tests"})
    return folder


def save_tiny_clip(folder: Path, *, image_size: int = 8, patch_size: int = 4, seed: int = 0) -> None:
    """A random CLIP as transformers keeps it, that reads letters, 12 tokens at most."""
    import transformers

    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(vocab={name: k for k, name in enumerate(names)}, merges=[])
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = transformers.CLIPConfig(
        text_config={**small, **ends, "vocab_size": len(names), "max_position_embeddings": 12},
        vision_config={**small, "image_size": image_size, "patch_size": patch_size},
        projection_dim=8,
    )
    torch.manual_seed(seed)
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


COMPBENCH: dict[str, dict[str, Any]] = {
    "consistent_attribute_binding": {"prompt": "p", "phrases": "a red cat; a blue dog"},
    "dynamic_attribute_binding": {"prompt": "p", "state 0": "a green leaf", "state 1": "a brown leaf"},
    "spatial_relationships": {"prompt": "p", "spatial": "left of", "object_1": "cat", "object_2": "dog"},
    "motion_binding": {"prompt": "p", "object_1": "cat", "d_1": "left", "object_2": "dog", "d_2": "up"},
    "action_binding": {"prompt": "p", "phrase_0": ["a cat?", "a cat sits?"], "phrase_1": ["a dog?", "a dog runs?"]},
    "object_interactions": {"prompt": "a cat pushes a dog"},
    "generative_numeracy": {"prompt": "p", "objects": "cat, dog", "numbers": "2, 3"},
}
"""A record of each category of T2V-CompBench, as its own files have them."""
