"""A model as the evaluation of Toyland wants it: clips for requests, and clips through the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from vitascope.sample.model import Model
from vitascope.types import Clip, Request


def judged_by_toyland(
    model: Model, steps: int | None = None, guidance: float | None = None, solver: str | None = None
) -> tuple[Callable[[Sequence[Request]], list[Clip]], Callable[[Clip], Clip]]:
    """`generate` with these sampling settings, and `encode_decode`, whose clips no sampler can better."""

    def generate(requests: Sequence[Request]) -> list[Clip]:
        return model.batch([replace(one, steps=steps, guidance=guidance, solver=solver) for one in requests])

    @torch.no_grad()
    def encode_decode(clip: Clip) -> Clip:
        pixels = clip.pixels[None].to(model.system.device)
        return replace(clip, pixels=model.system.tokenizer.decode(model.system.tokenizer.encode(pixels))[0].cpu())

    return generate, encode_decode
