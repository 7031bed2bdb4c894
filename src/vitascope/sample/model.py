"""A loaded model as its users meet it: words in, a clip out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import vitascope
from vitascope.errors import is_out_of_memory
from vitascope.sample.generate import clip_of, decode, generate
from vitascope.sample.latents import Progress, read_latents
from vitascope.sample.legal import legalise
from vitascope.system import Card, VideoModel, load_model, read_card
from vitascope.types import Clip, Request, UserError


class Model:
    """A video model with the card that came with its weights."""

    def __init__(self, system: VideoModel, card: Card) -> None:
        self.system, self.card = system, card

    def generate(
        self,
        prompt: str = "",
        *,
        image: Float[Tensor, "3 _h _w"] | None = None,
        frames: Mapping[int, Float[Tensor, "3 _h _w"]] | None = None,
        num_frames: int | None = None,
        seconds: float | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
        progress: Progress | None = None,
    ) -> Clip:
        """A clip of `prompt`. `image` (`3 h w` in [0, 1]) is the first frame; `frames` gives any, by number."""
        known = {**({} if image is None else {0: image}), **(frames or {})}
        request = Request(prompt, known, num_frames, seconds, fps, size, seed, steps, guidance, solver)
        return self.fulfil(request, progress=progress)

    def fulfil(self, request: Request, *, progress: Progress | None = None, keep_latents: Path | None = None) -> Clip:
        """The clip of one request, of any length. `keep_latents`: where to write them before they are decoded."""
        return generate(self.system, [request], progress=progress, keep_latents=keep_latents, made_by=self.card.sha256)[
            0
        ]

    def batch(self, requests: Sequence[Request]) -> list[Clip]:
        """Clips of requests that agree in size, length and all that rules the sampling, sampled together."""
        return generate(self.system, requests, made_by=self.card.sha256)

    def decode(self, latents: Path) -> Clip:
        """The clip of latents that an interrupted `fulfil` kept."""
        kept, settings = read_latents(latents)
        if settings.get("model") != self.card.sha256:
            raise UserError(
                f"'{latents}' was made by another model: its latents mean nothing to this one; give --model"
            )
        if kept.shape[1] != self.system.tokenizer.channels:
            raise UserError(
                f"'{latents}' has latents of {kept.shape[1]} channels and this model's have "
                f"{self.system.tokenizer.channels}; give the file that generate left behind"
            )
        try:
            return clip_of(settings, decode(self.system, kept))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # One frame at a time was too much already, so that another length would not help.
            (width, height), num_frames = settings["size"], settings["num_frames"]
            raise UserError(
                f"the memory ran out in decoding {num_frames} frames of {width}x{height}; "
                f"end other programs and decode '{latents}' again: it is kept"
            ) from error

    def changes(self, request: Request) -> tuple[str, ...]:
        """What would be changed of a request to make it legal, in words."""
        return legalise(self.system, request).changes


def load(folder: str | Path | None = None, device: str | None = None) -> Model:
    """The model in `folder`, or the bundled one; on the GPU where there is one unless `device` says otherwise."""
    path = bundled() if folder is None else Path(folder)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Model(load_model(path, where), read_card(path))


def bundled() -> Path:
    """The folder of the model that came with the package."""
    folders = sorted(card.parent for card in (Path(vitascope.__file__).parent / "bundled").glob("*/model.json"))
    if not folders:
        raise UserError(
            "no model came with this installation; train one ('vitascope train laptop:stiv') and give its folder"
        )
    return folders[0]
