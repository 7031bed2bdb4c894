"""A model as the evaluation of Toyland wants it: clips for requests, clips through its tokenizer, and what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from vitascope.sample.model import Model
from vitascope.types import Clip, Request


class Judged:
    """A model and one way to sample from it; what is None is the model's own choice."""

    def __init__(
        self, model: Model, steps: int | None = None, guidance: float | None = None, solver: str | None = None
    ) -> None:
        wanted = {"steps": steps, "guidance": guidance, "solver": solver}
        chosen = {name: value for name, value in wanted.items() if value is not None}
        self.model, self.settings = model, model.system.config.defaults.model_copy(update=chosen)

    def generate(self, requests: Sequence[Request]) -> list[Clip]:
        s = self.settings
        return self.model.batch([replace(one, steps=s.steps, guidance=s.guidance, solver=s.solver) for one in requests])

    @torch.no_grad()
    def encode_decode(self, clip: Clip) -> Clip:
        """The clip through the tokenizer, which no sampler can better."""
        tokenizer = self.model.system.tokenizer
        pixels = clip.pixels[None].to(self.model.system.device)
        return replace(clip, pixels=tokenizer.decode(tokenizer.encode(pixels))[0].cpu())

    @property
    def made_with(self) -> dict[str, Any]:
        """The weights by their checksum and everything that the sampling depends on, for the protocol of a report."""
        sampling = self.settings.model_dump(mode="json", exclude={"size", "num_frames", "fps"})
        return {"model": self.model.card.sha256, **sampling}
