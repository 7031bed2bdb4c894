"""CLIP, DINO and VideoMAE through transformers, from folders of the user's; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitascope.errors import first_line, install
from vitascope.types import UserError


def load_pretrained(name: str, folder: Path, kind: str, family: str | None = None) -> Any:
    """A model of one of transformers' classes, whole and in evaluation mode; its config must name the `family`."""
    try:
        import transformers
    except ImportError:
        raise UserError(f"the network '{name}' needs transformers: {install('hub')}") from None
    try:
        settings, _ = transformers.PreTrainedConfig.get_config_dict(folder, local_files_only=True)
        if family is not None and settings.get("model_type") != family:
            raise UserError(f"'{folder}' is no {family}: its config says '{settings.get('model_type')}'")
        model, loading = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"'{folder}' cannot be loaded as {kind} ({first_line(error)}); fetch it again") from None
    # A pooler that some folders lack is not used.
    if missing := sorted(key for key in loading["missing_keys"] if "pooler" not in key):
        raise UserError(f"'{folder}' is no {kind}: it has no weights named '{missing[0]}'")
    return model.eval().requires_grad_(False)


class ClipNetwork:
    """Both halves of a CLIP: pictures and texts to vectors of unit length."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.model = load_pretrained("clip", folder, "CLIPModel", "clip").to(device)
        import transformers

        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"'{folder}' has no tokenizer ({first_line(error)}); fetch the whole folder") from None
        self.max_tokens: int = self.model.config.text_config.max_position_embeddings
        self.size: int = self.model.config.vision_config.image_size

    def pictures(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        pooled = self.model.vision_model(pixel_values=frames).pooler_output
        return nn.functional.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.inference_mode()
    def text(self, caption: str) -> Float[Tensor, "d"]:
        """What is longer than CLIP reads is cut, as everywhere; `is_cut` tells."""
        ids = self.tokenizer(caption, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        ids = ids.to(self.model.device)
        pooled = self.model.text_model(input_ids=ids.input_ids, attention_mask=ids.attention_mask).pooler_output
        return nn.functional.normalize(self.model.text_projection(pooled), dim=-1)[0].cpu()

    def is_cut(self, caption: str) -> bool:
        return len(self.tokenizer(caption, verbose=False).input_ids) > self.max_tokens


class DinoNetwork:
    """The class token of a DINO, of unit length."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.model = load_pretrained("dino", folder, "AutoModel").to(device)

    def pictures(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return nn.functional.normalize(self.model(pixel_values=frames).last_hidden_state[:, 0], dim=-1)


class VideoMaeNetwork:
    """The norm of the mean over tokens of a VideoMAE that was fine-tuned to classify: what its classifier reads."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.model = load_pretrained("videomae", folder, "VideoMAEForVideoClassification", "videomae").to(device)
        if self.model.fc_norm is None:
            raise UserError(f"'{folder}' was fine-tuned without a mean over tokens; use one with use_mean_pooling")

    def clips(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b d"]:
        return self.model.fc_norm(self.model.videomae(pixel_values=clips).last_hidden_state.mean(1))
