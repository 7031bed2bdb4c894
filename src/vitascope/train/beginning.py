"""A run that begins with a given model: with which of its weights, in which stage, and with whose parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vitascope.backbones.stiv import StivConfig
from vitascope.card import model_folder, read_card
from vitascope.config import to_json
from vitascope.system import ModelConfig
from vitascope.train.folder import differences
from vitascope.train.initialise import Origin, initialised, weights_of
from vitascope.train.loop import chosen
from vitascope.train.pixart import TAKEN, is_pixart, refuse_other_sizes, taken_by
from vitascope.train.stages import Run
from vitascope.types import UserError


def started(run: Run, folder: Path, stage: str | None) -> Run:
    """The run whose stage, or the first one, begins with the weights of a model, and whose models have its parts.

    Of a PixArt there are only the main blocks: the run keeps its own parts, and what those blocks do not hold, the tail
    of MaskDiT with it, begins anew.
    """
    folder = model_folder(folder.resolve())
    given = weights_of(folder)  # here, so that a folder without any is the first thing said
    first = chosen(run, stage)[0]
    taken = tuple(pattern for origin in first.begins for pattern in origin.weights)  # of stages that say so
    begins: dict[str, object] = {"begins": (Origin(of=str(folder), **({"weights": taken} if taken else {})),)}
    if not is_pixart(folder):
        run = with_parts(run, read_card(folder).config, first.fresh)
        first = chosen(run, stage)[0]
    else:
        backbone = run.at(first).model.backbone
        if not isinstance(backbone, StivConfig):
            raise UserError(f"a PixArt can begin a STIV, and the backbone is a {type(backbone).__name__}")
        refuse_other_sizes(given, folder, backbone.depth, backbone.heads)
        names, from_there = initialised(run.at(first).model, run.seed).state_dict(), taken_by(backbone.depth)
        anew = tuple(name for name in names if name not in from_there)
        begins = {"begins": (Origin(of=str(folder), weights=TAKEN),), "fresh": anew}
    begun = first.model_copy(update=begins)
    return run.model_copy(update={"stages": tuple(begun if one is first else one for one in run.stages)})


def with_parts(run: Run, given: ModelConfig, fresh: tuple[str, ...] = ()) -> Run:
    """The run with tokenizer, text encoder and backbone of another model, in every stage; parts that begin anew, all of
    them, stay the recipe's."""
    names = [name for name in ("tokenizer", "text", "backbone") if f"{name}.*" not in fresh]
    parts = {name: getattr(given, name) for name in names}
    stages = tuple(
        stage if stage.model is None else stage.model_copy(update={"model": stage.model.model_copy(update=parts)})
        for stage in run.stages
    )
    return run.model_copy(update={"model": run.model.model_copy(update=parts), "stages": stages})


def refuse_replaced(asked: Run, run: Run, changes: Sequence[str]) -> None:
    """A setting that was asked for and that `--from` has put another one in the place of."""
    names = {str(number): stage.name for number, stage in enumerate(asked.stages)}
    wanted = [re.sub(r"(?<=^stages\.)\d+", lambda n: names.get(n[0], n[0]), one.partition("=")[0]) for one in changes]
    replaced = list(differences(to_json(asked), to_json(run)))
    paths = {line: line.partition(" was ")[0] for line in replaced}
    lost = [line for line in replaced for path in wanted if f"{paths[line]}.".startswith(f"{path}.")]
    if lost:
        raise UserError(
            f"--from brings a tokenizer, text encoder and backbone of its own, which --set cannot change: {lost[0]}. "
            "Leave that setting out, or --from"
        )
