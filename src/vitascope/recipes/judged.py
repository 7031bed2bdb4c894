"""A model as the evaluation of Toyland wants it: clips for requests, clips through its tokenizer, and what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vitascope.sample.model import Model
from vitascope.types import Clip, Request


class Judged:
    """A model and one way to sample from it; what is None is the model's own choice."""

    def __init__(
        self,
        model: Model,
        steps: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
        rules: Mapping[str, Any] | None = None,
    ) -> None:
        wanted = {"steps": steps, "guidance": guidance, "solver": solver}
        self.model, self.rules = model, dict(rules or {})
        self.chosen: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        self.settings = {**model.sampling, **self.chosen, **self.rules}

    def generate(self, requests: Sequence[Request]) -> list[Clip]:
        asked = [replace(one, **self.chosen, rules={**one.rules, **self.rules}) for one in requests]
        return [_cut(clip, one.num_frames) for clip, one in zip(self.model.batch(asked), asked, strict=True)]

    def keeping(self, most: int) -> tuple[Callable[[Sequence[Request]], list[Clip]], list[Clip]]:
        """`generate`, and a list that will hold the first clips it makes."""
        kept: list[Clip] = []

        def generate(requests: Sequence[Request]) -> list[Clip]:
            clips = self.generate(requests)
            kept.extend(clips[: most - len(kept)])
            return clips

        return generate, kept

    def encode_decode(self, clip: Clip) -> Clip:
        """The clip through the tokenizer, which no sampler can better."""
        return self.model.encode_decode(clip)

    @property
    def made_with(self) -> dict[str, Any]:
        """The weights by their checksum and everything that the sampling depends on, for the protocol of a report."""
        return {"model": self.model.identity, **self.settings}


def _cut(clip: Clip, num_frames: int | None) -> Clip:
    """As long as was asked for: some models make frames four or eight at a time, and a few too many."""
    return clip if num_frames is None else replace(clip, pixels=clip.pixels[:num_frames])
