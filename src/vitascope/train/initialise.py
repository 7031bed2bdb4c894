"""What the weights of a stage begin as: chance, or what an earlier stage or another model has learned.

The rules are those of STIV's progressive training (figure 4 and appendix B): T2V from T2I all but temporal attention,
the cube embedding inflated in time, high resolution from two models at once.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vitascope.card import load_model, model_folder
from vitascope.config import Config
from vitascope.system import ModelConfig, VideoModel
from vitascope.train.pixart import is_pixart, read_pixart
from vitascope.types import UserError, generator_for


class Origin(Config):
    """Where weights come from."""

    of: str  # an earlier stage of the run, or the folder of a model (ours, its run's, or that of a PixArt transformer)
    weights: tuple[str, ...] = ("*",)  # those whose names match a pattern


@runtime_checkable
class Inflatable(Protocol):
    """A backbone that can take the weights of one whose cubes are shorter."""

    def inflate(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]: ...


def weights_of(folder: Path) -> Mapping[str, Tensor]:
    """What a model has learned: one of ours, in its own folder or that of its run, or the transformer of a PixArt."""
    return read_pixart(folder) if is_pixart(folder) else load_model(model_folder(folder)).state_dict()


def initialised(config: ModelConfig, seed: int) -> VideoModel:
    """A new model whose weights depend on the seed alone."""
    with seeded(seed, "initialise"):
        return config.build()


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Layers draw their first weights from torch's global generator: lend it to one purpose, then put it back.

    That of the CPU, where models are built: those of GPUs are left alone, on which others may be at work.
    """
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(generator_for(seed, purpose).initial_seed() % 2**63)
        yield


def inherit(
    model: VideoModel,
    origins: Collection[tuple[Origin, Mapping[str, Tensor]]],
    fresh: tuple[str, ...],
) -> None:
    """Give `model` the weights of its origins, a later one before an earlier one; those that match `fresh` stay.

    Every weight must find its origin, every pattern its weights: what does not is named, all of it, and nothing is
    loaded.
    """
    wanted = model.state_dict()
    kept, mistakes = matched(fresh, wanted), idle(fresh, wanted, "this model")
    needed = {name: value for name, value in wanted.items() if name not in kept}
    found: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    for origin, state in origins:
        given = inflated(model, state)
        mistakes += idle(origin.weights, given, f"'{origin.of}'")
        chosen = matched(origin.weights, given)
        for name, value in given.items():  # in their order, in which they are told
            if name in chosen:
                found[name], sources[name] = value, origin.of
    names = " and ".join(f"'{origin.of}'" for origin, _ in origins)
    if missing := [name for name in needed if name not in found]:
        mistakes.append(
            f"{names} lacks {len(missing)} of the weights that begin from there: {gathered(missing)}; a pattern in "
            "`fresh` lets weights begin anew"
        )
    if unlike := [
        f"{name} ({'x'.join(map(str, found[name].shape))} in '{sources[name]}', {'x'.join(map(str, value.shape))} here)"
        for name, value in needed.items()
        if name in found and found[name].shape != value.shape
    ]:
        mistakes.append(f"{len(unlike)} weights have another shape than those they begin from: {gathered(unlike)}")
    if unused := [name for name in found if name not in wanted]:
        mistakes.append(
            f"{names} has {len(unused)} weights that this model does not have: {gathered(unused)}; name those that "
            "are to be taken in `weights`"
        )
    if mistakes:
        raise UserError(". Also: ".join(mistakes))
    model.load_state_dict({name: found[name] for name in needed}, strict=False)


def gathered(names: Iterable[str]) -> str:
    """Every name, those that differ only in a block's number as one: `blocks.{0-7}.time.leave.bias`."""
    numbers: dict[tuple[str, ...], list[int]] = {}
    for name in names:
        before, *rest = re.split(r"(?<=\.)(\d+)(?=\.)", name, maxsplit=1)
        found = numbers.setdefault((before, *rest[1:]), [])
        found += map(int, rest[:1])
    return ", ".join(_as_range(found).join(around) for around, found in numbers.items())


def _as_range(numbers: list[int]) -> str:
    if len(numbers) < 2:
        return "".join(map(str, numbers))
    whole = numbers == [*range(numbers[0], numbers[-1] + 1)]
    return f"{{{numbers[0]}-{numbers[-1]}}}" if whole else f"{{{','.join(map(str, numbers))}}}"


def inflated(model: VideoModel, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with its backbone's cubes as long as those of `model`."""
    if not isinstance(model.backbone, Inflatable):
        return dict(state)
    prefix = "backbone."
    backbone = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return {**state, **{prefix + name: value for name, value in model.backbone.inflate(backbone).items()}}


def freeze(model: VideoModel, patterns: tuple[str, ...]) -> None:
    """Weights whose names match a pattern learn nothing."""
    names = dict(model.named_parameters())
    if mistakes := idle(patterns, names, "this model"):
        raise UserError(". Also: ".join(mistakes))
    for name in matched(patterns, names):
        model.get_parameter(name).requires_grad_(False)


def matched(patterns: tuple[str, ...], names: Collection[str]) -> set[str]:
    """The names that match a pattern."""
    return {name for pattern in patterns for name in fnmatch.filter(names, pattern)}


def idle(patterns: tuple[str, ...], names: Collection[str], whose: str) -> list[str]:
    """What is wrong with the patterns that match none of the names: a line for each."""
    return [
        f"the pattern '{pattern}' matches no weight of {whose}, whose names look like '{next(iter(names), '')}'"
        for pattern in patterns
        if not fnmatch.filter(names, pattern)
    ]
