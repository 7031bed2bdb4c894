"""A class instead of a text: one learned token for each name, and one for not saying it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pydantic
import torch
from torch import nn

from vitascope.config import Config, Count, nearest
from vitascope.protocols import TextFeatures
from vitascope.types import UserError


def as_read(caption: str) -> str:
    return " ".join(caption.lower().split())


class ClassesConfig(Config):
    names: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    width: Count = 192

    @pydantic.field_validator("names")
    @classmethod
    def _tell_apart(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names as captions are read, without capitals and further spaces, must differ."""
        names = tuple(map(as_read, names))
        if "" in names or len(set(names)) < len(names):
            raise ValueError(f"classes need names that differ, capitals and spaces apart, and none empty; got {names}")
        return names

    def build(self) -> Classes:
        return Classes(self)


class Classes(nn.Module):
    """Reads the name of a class; the empty string is the class of which nothing is known (Ho and Salimans 2022)."""

    max_tokens = 1

    def __init__(self, config: ClassesConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.embed = nn.Embedding(1 + len(config.names), config.width)

    def forward(self, captions: Sequence[str]) -> TextFeatures:
        numbers = torch.tensor([self.number(caption) for caption in captions], device=self.embed.weight.device)
        token = self.embed(numbers)  # b d
        mask = torch.ones(len(captions), 1, dtype=torch.bool, device=token.device)
        return TextFeatures(tokens=token[:, None], mask=mask, pooled=token)

    def number(self, caption: str) -> int:
        """0 for the empty string, and from 1 on the classes in their order."""
        name = as_read(caption)
        known = ("", *self.config.names)
        if name not in known:
            raise UserError(
                f"this model knows classes, not texts, and none is '{name}'; {nearest(name, list(known[1:]))}"
            )
        return known.index(name)

    def count(self, caption: str) -> int:
        """Tokens that say something: one of a class, none of the empty string."""
        return min(self.number(caption), 1)
