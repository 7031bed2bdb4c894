"""Frozen text encoders from transformers (T5, UMT5, CLIP), with a cache of their features on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors_torch
from torch import Tensor, nn

from vitascope.atomic import replacing
from vitascope.config import Config, Count
from vitascope.errors import install, why_unwritten
from vitascope.nn.frozen import Frozen, digest_of
from vitascope.protocols import TextFeatures
from vitascope.text.length import too_long
from vitascope.types import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}  # no float16: T5 overflows in it


class PretrainedTextConfig(Config):
    """Which encoder, where it lies, how much it reads. Nothing is downloaded: files that are missing are asked for."""

    family: Literal["t5", "umt5", "clip"]
    source: str  # a folder, or a name whose files are in the Hugging Face cache
    subfolder: str = ""  # diffusers layout: "text_encoder"
    tokenizer_subfolder: str = ""  # diffusers layout: "tokenizer"
    max_tokens: Count = 77  # with begin and end; CLIP cannot read more
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_size: Count = 1  # captions computed together: more is faster, but then the last bits depend on the company
    cache: str | None = None  # a folder; None: a training keeps features beside its latents, nothing else keeps any

    def build(self) -> PretrainedText:
        try:
            import transformers
        except ImportError:
            raise UserError(f"the encoder '{self.source}' needs transformers: {install('hub')}") from None
        family = FAMILIES[self.family]
        where: dict[str, Any] = {"pretrained_model_name_or_path": self.source, "local_files_only": True}
        try:
            settings, _ = transformers.PreTrainedConfig.get_config_dict(subfolder=self.subfolder, **where)
            tokenizer = transformers.AutoTokenizer.from_pretrained(subfolder=self.tokenizer_subfolder, **where)
            encoder, loading = getattr(transformers, family.encoder).from_pretrained(
                subfolder=self.subfolder, dtype=DTYPES[self.dtype], output_loading_info=True, **where
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"the files of the text encoder '{self.source}' are not on this machine, or are damaged. Either run "
                f"'hf download {self.source}' where there is a network, or copy its folder (config, safetensors, "
                "tokenizer) from another machine and give that folder as source "
                f"(transformers: {str(error).partition(chr(10))[0]})"
            ) from None
        if (model_type := settings.get("model_type")) not in family.model_types:
            raise UserError(f"'{self.source}' is no {self.family} text encoder: its config says '{model_type}'")
        if missing := sorted(loading["missing_keys"]):
            raise UserError(f"'{self.source}' is not complete: it has no weights named '{missing[0]}'")
        if self.max_tokens > (limit := getattr(encoder.config, "max_position_embeddings", self.max_tokens)):
            raise UserError(f"'{self.source}' reads at most {limit} tokens; max_tokens is {self.max_tokens}")
        return PretrainedText(self, tokenizer, encoder)


@dataclass(frozen=True, eq=False)
class Feature:
    """What is known of one caption."""

    tokens: Float[Tensor, "l d"]
    pooled: Float[Tensor, "d"]


class PretrainedText(nn.Module):
    """Captions to the last hidden states of a frozen encoder, zero where a caption is shorter than the longest.

    `pooled` is the feature of the end token for CLIP, which was trained to say the whole (STIV, section 2.1). T5 and
    UMT5 have no such token: theirs is the mean over the tokens (Ni et al. 2022, "Sentence-T5").
    """

    def __init__(self, config: PretrainedTextConfig, tokenizer: Any, encoder: Any) -> None:
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.width, self.max_tokens = encoder.config.hidden_size, config.max_tokens
        self.cache = FeatureCache(Path(config.cache)) if config.cache else None
        self.encoder = Frozen(encoder)

    def keep_in(self, folder: Path) -> None:
        """Keep features below `folder`, unless the settings name a folder of their own."""
        if self.cache is None:
            self.cache = FeatureCache(folder)

    def forward(self, captions: Sequence[str]) -> TextFeatures:
        rows = [self.ids(caption) for caption in captions]
        known: dict[tuple[int, ...], Feature] = {}
        for ids in dict.fromkeys(rows):
            if self.cache and (feature := self.cache.read(self.key(ids))):
                known[ids] = Feature(feature.tokens.to(self.device), feature.pooled.to(self.device))
        missing = [ids for ids in dict.fromkeys(rows) if ids not in known]
        for start in range(0, len(missing), self.config.batch_size):
            together = missing[start : start + self.config.batch_size]
            for ids, feature in zip(together, self.compute(together), strict=True):
                known[ids] = feature
                if self.cache:
                    self.cache.write(self.key(ids), feature)
        return join(known[ids] for ids in rows)

    @torch.no_grad()
    def compute(self, rows: Sequence[tuple[int, ...]]) -> list[Feature]:
        length, pad = max(len(ids) for ids in rows), self.tokenizer.pad_token_id
        ids = torch.tensor([[*ids, *[pad] * (length - len(ids))] for ids in rows], device=self.device)
        lengths = torch.tensor([len(ids) for ids in rows], device=self.device)
        mask = torch.arange(length, device=self.device) < lengths[:, None]  # b l
        # Without autocast: what is kept must not depend on who asked for it first.
        with torch.autocast(self.device.type, enabled=False):
            hidden = self.encoder.network(input_ids=ids, attention_mask=mask.long()).last_hidden_state  # b l d
        pooled = FAMILIES[self.config.family].pool(hidden, mask)
        return [Feature(hidden[row, : len(ids)], pooled[row]) for row, ids in enumerate(rows)]

    def ids(self, caption: str) -> tuple[int, ...]:
        ids = self._ids(caption)
        if len(ids) > self.max_tokens:
            read = self.tokenizer.decode(ids[: self.max_tokens - 1], skip_special_tokens=True)
            raise too_long(caption, len(ids), self.max_tokens, read)
        return ids

    def count(self, caption: str) -> int:
        """Tokens of `caption`, with begin and end; at most `max_tokens` can be read."""
        return len(self._ids(caption))

    def _ids(self, caption: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(caption, verbose=False).input_ids)

    def key(self, ids: tuple[int, ...]) -> str:
        """A digest of all that the features follow from: weights and settings, versions, what is read of the caption.

        Token ids stand for the caption, the tokenizer and its settings: where those differ and the ids do not, the
        features are the same.
        """
        import transformers

        versions = transformers.__version__, torch.__version__.split("+")[0]
        of = (self.encoder.fingerprint, self.config.family, *versions, ids)
        return hashlib.blake2b(repr(of).encode(), digest_size=20).hexdigest()

    @property
    def device(self) -> torch.device:
        return self.encoder.device


def join(features: Iterable[Feature]) -> TextFeatures:
    """One batch, padded with zeros to the longest."""
    features = list(features)
    tokens = nn.utils.rnn.pad_sequence([feature.tokens for feature in features], batch_first=True)  # b l d
    lengths = torch.tensor([len(feature.tokens) for feature in features], device=tokens.device)
    mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
    return TextFeatures(tokens=tokens, mask=mask, pooled=torch.stack([feature.pooled for feature in features]))


@dataclass(frozen=True)
class FeatureCache:
    """A folder of safetensors files named by key. A damaged file is as good as none; writers never see each other."""

    folder: Path

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def read(self, key: str) -> Feature | None:
        try:
            with safe_open(self.path(key), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in ("tokens", "pooled")}
                intact = (file.metadata() or {}).get("digest") == digest_of(tensors)
        except (OSError, SafetensorError):
            return None
        return Feature(**tensors) if intact else None

    def write(self, key: str, feature: Feature) -> None:
        tensors = {"tokens": feature.tokens.cpu().contiguous(), "pooled": feature.pooled.cpu().contiguous()}
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                safetensors_torch.save_file(tensors, part, {"digest": digest_of(tensors)})
        except (OSError, SafetensorError) as error:
            raise UserError(f"could not write text features to '{self.folder}' ({why_unwritten(error)})") from None


def end_token(hidden: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b d"]:
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]


def mean(hidden: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b d"]:
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@dataclass(frozen=True)
class Family:
    encoder: str  # the class in transformers
    model_types: tuple[str, ...]  # what may stand in config.json: T5 would load UMT5 without a word, and be wrong
    pool: Callable[[Tensor, Tensor], Tensor]


FAMILIES = {
    "t5": Family("T5EncoderModel", ("t5", "mt5"), mean),
    "umt5": Family("UMT5EncoderModel", ("umt5",), mean),
    "clip": Family("CLIPTextModel", ("clip", "clip_text_model"), end_token),
}
