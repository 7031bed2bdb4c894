"""A video model: tokenizer, text encoder, backbone and objective, introduced to each other here and nowhere else."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from pydantic import model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vitascope.atomic import replacing
from vitascope.conditions import Conditions, TextFeatures
from vitascope.config import Amount, AmountOrZero, Config, Count, CountOrZero, Share, from_json, nearest, to_json
from vitascope.errors import why_unwritten
from vitascope.noise import Estimate
from vitascope.protocols import Denoiser, Objective, TextEncoder, Tokenizer, checked, layers
from vitascope.tasks import TaskMix
from vitascope.types import Batch, Loss, UserError

WEIGHTS, CARD = "model.safetensors", "model.json"


class Rules(Config):
    """How estimates are guided and which levels they are asked at: with steps, scale and solver all of a sampling."""

    guidance_kind: Literal["joint", "text", "separate", "blank"] = "joint"  # STIV: JIT-CFG, CFG, SIT-CFG, and J.3's
    image_guidance: AmountOrZero = 1.5  # scale for the frames; of "separate" guidance only
    renorm: bool = True
    guidance_interval: tuple[Share, Share] = (0.0, 1.0)  # levels between which guidance acts
    known_slots: Literal["renoised", "evolving"] = "renoised"  # what a pass that forgets the known frames sees there
    level_shift: Amount = 1.0  # above 1: more steps at high levels (SD3, equation 23)
    keyframe_stride: CountOrZero = 0  # long videos: keyframes so far apart, then what lies between; 0: rolled out
    image_first: bool = False  # of words alone: the first frame as a picture, then the video from it (Emu Video)

    @model_validator(mode="after")
    def _interval_is_one(self) -> Rules:
        low, high = self.guidance_interval
        if low > high:
            raise ValueError(f"guidance_interval must name the lower level first, got ({low:g}, {high:g})")
        return self

    @model_validator(mode="after")
    def _slots_evolve_only_under_guidance(self) -> Rules:
        if self.known_slots == "evolving" and self.guidance_interval != (0.0, 1.0):
            raise ValueError("known_slots 'evolving' needs guidance at all levels: guidance_interval (0, 1)")
        return self


class Defaults(Rules):
    """What a request gets when it does not say."""

    size: tuple[Count, Count] = (64, 64)  # width, height
    num_frames: Count = 16
    fps: Amount = 8.0
    footage_size: tuple[Count, Count] | None = None  # width, height that a model is told; None: the size asked for
    stride: Amount = 1.0  # frames of that footage between two frames at `fps`
    steps: Count = 25
    guidance: AmountOrZero = 3.0
    solver: str = "heun"


class Lesson(Config):
    """What a training step shows and hides."""

    tasks: TaskMix = TaskMix()
    text_dropout: Share = 0.1  # STIV, section 3.1: replaced by the empty string
    frame_dropout: Share = 0.08  # STIV: independent of the text
    blank_dropout: Share = 0.0  # known frames whose latents are zero: the negative of "blank" guidance
    mask_share: Share = 0.0  # MaskDiT: share of the spatial tokens hidden from the main blocks
    time_mask_share: Share = 0.0  # and of the cubes in time, which STIV found harmful (its figure 6a)


class ModelConfig(Config):
    """The parts, each by its own settings; enough to rebuild the model."""

    tokenizer: Config
    text: Config
    backbone: Config
    objective: Config
    defaults: Defaults = Defaults()

    def build(self) -> VideoModel:
        try:
            return VideoModel(self)
        except ValueError as error:
            raise UserError(f"no model can be built of these settings: {error}") from error


@runtime_checkable
class Buildable(Protocol):
    def build(self) -> Any: ...


def build(config: Config | Buildable) -> Any:
    """The part that these settings describe."""
    if not hasattr(config, "build"):
        raise UserError(f"{type(config).__name__} describes no part of a model")
    return config.build()


class VideoModel(nn.Module):
    """All that is needed to learn from clips and to make them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = layers(build(config.tokenizer), Tokenizer, "model.tokenizer")
        self.text = layers(build(config.text), TextEncoder, "model.text")
        self.backbone = layers(build(config.backbone), Denoiser, "model.backbone")
        self.objective = checked(build(config.objective), Objective, "model.objective")
        self._check_that_parts_fit()

    def _check_that_parts_fit(self) -> None:
        if self.tokenizer.stride[0] != 1:
            raise UserError(
                f"the tokenizer makes one latent frame of {self.tokenizer.stride[0]}, and every frame must have one of "
                "its own, or no single frame could be given; take a tokenizer whose first stride is 1, and put frames "
                "together by the backbone's patch"
            )
        if self.tokenizer.channels != self.backbone.channels:
            raise UserError(
                f"the tokenizer makes latents of {self.tokenizer.channels} channels and the backbone takes "
                f"{self.backbone.channels}; set backbone.channels to {self.tokenizer.channels}"
            )
        if self.text.width != self.backbone.text_width:
            raise UserError(
                f"the text encoder gives features of width {self.text.width} and the backbone takes "
                f"{self.backbone.text_width}; set backbone.text_width to {self.text.width}"
            )

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def loss(self, batch: Batch, lesson: Lesson, rng: torch.Generator) -> Loss:
        """One lesson: draw which frames are known and what is forgotten, then ask the objective."""
        clean = batch.clean.to(self.device)
        b, t, _, h, w = clean.shape
        silent = torch.rand(b, generator=rng) < lesson.text_dropout
        captions = ["" if empty else caption for caption, empty in zip(batch.captions, silent.tolist(), strict=True)]
        blind = torch.rand(b, generator=rng) < lesson.frame_dropout
        known = lesson.tasks.draw(b, t, rng) & ~blind[:, None]
        cond = self.conditions(captions, known, clean, batch.micro)
        if lesson.blank_dropout > 0:
            blank = (torch.rand(b, generator=rng) < lesson.blank_dropout).to(self.device)
            cond = replace(cond, frames=torch.where(blank[:, None, None, None, None], 0, cond.frames))
        if lesson.mask_share == lesson.time_mask_share == 0:
            return self.objective.loss(self.backbone, clean, cond, rng)
        if not self.backbone.hides_tokens:
            raise UserError(
                f"a {type(self.backbone).__name__} hides no tokens (`hides_tokens`); set lesson.mask_share and "
                "lesson.time_mask_share to 0, or take another backbone"
            )
        frames, side = self.backbone.patch
        visible = tube_mask(b, h, w, side, lesson.mask_share, rng).to(self.device)
        if lesson.time_mask_share and t > 1:
            shown = visible_frames(b, t, frames, lesson.time_mask_share, rng).to(self.device)
            visible = visible[:, None] & shown[:, :, None, None]
        return self.objective.loss(self.backbone, clean, cond, rng, visible)

    def conditions(
        self,
        captions: Sequence[str],
        known: Bool[Tensor, "b t"],
        frames: Float[Tensor, "b t c h w"],
        micro: Float[Tensor, "b m"],
    ) -> Conditions:
        """What is known of each clip; `frames` matters only where `known`."""
        known = known.to(self.device)
        kept = frames.to(self.device) * known[:, :, None, None, None]
        empty = repeated(self.text([""]), len(captions))
        return Conditions(known, kept, self.read(captions), empty, micro.to(self.device))

    def read(self, captions: Sequence[str]) -> TextFeatures:
        """Features of each caption; what several clips say is read once."""
        different = list(dict.fromkeys(captions))
        said = self.text(different)
        if len(different) == len(captions):
            return said
        rows = torch.tensor([different.index(caption) for caption in captions], device=self.device)
        return TextFeatures(said.tokens[rows], said.mask[rows], said.pooled[rows])

    def estimate(self, z: Float[Tensor, "b t c h w"], level: Float[Tensor, "b t"], cond: Conditions) -> Estimate:
        """All that samplers see."""
        return self.objective.estimate(self.backbone, z, level, cond)


def repeated(text: TextFeatures, times: int) -> TextFeatures:
    """What is said of one caption, for so many clips."""
    return TextFeatures(*(part.expand(times, *part.shape[1:]) for part in (text.tokens, text.mask, text.pooled)))


def visible_frames(b: int, t: int, frames: int, share: float, rng: torch.Generator) -> Bool[Tensor, "b t"]:
    """Visible frames: all but `share` of the cubes in time, the same number in each sample."""
    cubes = -(-t // frames)
    rank = torch.rand(b, cubes, generator=rng).argsort(1).argsort(1)
    return (rank < max(round((1 - share) * cubes), 1)).repeat_interleave(frames, 1)[:, :t]


def tube_mask(b: int, h: int, w: int, side: int, share: float, rng: torch.Generator) -> Bool[Tensor, "b h w"]:
    """Visible latent cells: all but `share` of the patches, the same number in each sample."""
    rows, columns = h // side, w // side
    num_visible = max(round((1 - share) * rows * columns), 1)
    rank = torch.rand(b, rows * columns, generator=rng).argsort(1).argsort(1)
    patches = (rank < num_visible).view(b, rows, columns)
    return patches.repeat_interleave(side, 1).repeat_interleave(side, 2)


@dataclass(frozen=True)
class Card:
    """What stands beside the weights: the settings, a checksum, and whatever the trainer has to report."""

    config: ModelConfig
    sha256: str
    report: Mapping[str, Any]


def save_model(
    config: ModelConfig,
    state: Mapping[str, Tensor],
    folder: Path,
    report: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and card, each whole or not at all. The card holds the checksum of its weights, so that a pair torn
    between the two moves is seen for what it is."""
    tensors = {
        name: value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()
        for name, value in state.items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / CARD) as card, replacing(folder / WEIGHTS) as weights:
            save_file(tensors, weights)
            told = {"config": to_json(config), "sha256": _sha256(weights), "report": dict(report)}
            card.write_text(json.dumps(told, indent=1))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"could not write the model to '{folder}' ({why_unwritten(error)}); what was there is kept"
        ) from None


def model_folder(folder: Path) -> Path:
    """The folder of a model, or that of a run, which has it inside."""
    return folder / "model" if (folder / "model" / CARD).is_file() else folder


def read_card(folder: Path) -> Card:
    path = folder / CARD
    if not path.is_file():
        raise UserError(f"'{folder}' holds no model: '{CARD}' is missing; give the folder that training wrote")
    try:
        data = json.loads(path.read_text())
        config, sha256, report = from_json(data["config"]), data["sha256"], data["report"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is damaged ({error!r}); copy the model again") from None
    if not isinstance(config, ModelConfig):
        raise UserError(f"'{path}' describes no model but '{type(config).__name__}'; copy the model again")
    return Card(config, sha256, report)


def load_model(folder: Path, device: str = "cpu") -> VideoModel:
    """Rebuild a model from its folder; damaged or foreign weights are refused, never partly loaded."""
    card = read_card(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"'{folder}' holds no weights: '{WEIGHTS}' is missing; copy the model again")
    try:
        intact = _sha256(path) == card.sha256
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({os.strerror(error.errno or 0)}); see to its permissions") from None
    if not intact:
        raise UserError(f"'{path}' is damaged: its checksum is not the one in '{CARD}'; copy the model again")
    try:
        model = card.config.build()
    except UserError as error:
        raise UserError(f"'{folder / CARD}': {error}") from error
    load_weights(model, path)
    return model.eval().requires_grad_(False).to(device)


def load_weights(module: nn.Module, path: Path) -> None:
    """Load every tensor of `path` into `module`; a name or shape without partner is an error with the nearest name."""
    try:
        with safe_open(path, "pt") as file:
            given = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(f"'{path}' is no readable safetensors file ({error})") from None
    load_state(module, given, str(path))


def load_state(module: nn.Module, given: Mapping[str, Tensor], source: str) -> None:
    """As `load_weights`, from memory; `source` is named in errors."""
    wanted = module.state_dict()
    foreign, missing = [n for n in given if n not in wanted], [n for n in wanted if n not in given]
    told = f"{source}: {len(foreign)} weights are foreign and {len(missing)} missing, first"
    if foreign:
        raise UserError(f"{told} '{foreign[0]}', which the model does not have; {nearest(foreign[0], list(wanted))}")
    if missing:
        raise UserError(f"{told} '{missing[0]}', which the model needs; {nearest(missing[0], list(given))}")
    for name, value in given.items():
        if value.shape != wanted[name].shape:
            raise UserError(
                f"{source}: '{name}' has shape {tuple(value.shape)}, the model needs {tuple(wanted[name].shape)}"
            )
    module.load_state_dict({name: value.to(wanted[name].dtype) for name, value in given.items()})


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
