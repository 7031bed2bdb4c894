"""An ablation as a value: rows that differ in one thing, what is measured of each, and the claims it is asked about."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol, runtime_checkable

import pydantic

from vitascope.config import Amount, AmountOrZero, Config, nearest
from vitascope.system import VideoModel
from vitascope.train.initialise import Origin
from vitascope.train.stages import Run
from vitascope.types import UserError

BASE = "base/"
"""As origin of weights: the model that the table is given, wherever it lies."""

Expected = Literal["higher", "lower", "same", "no higher"]
"""What a claim says of its left side against its right one; the last two but for a margin."""

Name = Annotated[str, pydantic.Field(pattern=r"^[\w.-]+$")]


@runtime_checkable
class Measure(Protocol):
    """A way to measure a model. The seed chooses scenes and noise; the same ones for every row."""

    def measure(self, model: VideoModel, seed: int) -> dict[str, float]: ...


class Row(Config):
    """One variant: how it is trained, if at all, and how it is measured."""

    name: Name
    says: str
    measures: Annotated[tuple[Config, ...], pydantic.Field(min_length=1)]
    run: Run | None = None  # None: the base as it is


class Side(Config):
    """A number of a row."""

    row: str
    metric: str


class Guard(Config):
    """A number of both rows that must stay small for their comparison to mean what the claim says."""

    metric: str
    most: Amount


class Claim(Config):
    """That one number is higher or lower than another, or that it is no other, or no higher, but for `margin`."""

    number: str  # in the list of what the paper says; a letter tells several checks of one claim apart
    says: str
    evidence: str  # what the paper prints
    left: Side
    right: Side
    expected: Expected
    margin: AmountOrZero = 0.0  # what counts as no difference
    relative: bool = False  # the difference as a share of the right
    guard: Guard | None = None  # seeds that break it say nothing


class Curve(Config):
    """Numbers of rows along an axis, to be drawn."""

    title: str
    axis: str
    rows: tuple[str, ...]
    metrics: tuple[str, ...]
    places: tuple[float, ...]  # of the metrics on the axis


class Trade(Config):
    """One number of rows against another, to be drawn: what is paid and what is got for it."""

    title: str
    paid: str
    got: str
    lines: tuple[tuple[str, ...], ...]  # rows that are joined in this order, named by what stands before their last "-"


class Table(Config):
    """Rows at equal budget."""

    name: Name
    title: str
    notes: tuple[str, ...]  # paragraphs: what was done, and what it cannot show
    rows: Annotated[tuple[Row, ...], pydantic.Field(min_length=1)]
    claims: tuple[Claim, ...]
    caution: str = ""  # a sentence beside the verdicts: what trainings this short cannot show
    shown: tuple[str, ...]  # metrics of the page's table; the file of results holds all
    curves: tuple[Curve, ...] = ()
    trades: tuple[Trade, ...] = ()

    @pydantic.model_validator(mode="after")
    def claims_are_about_rows(self) -> Table:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"each row needs a name of its own, got {', '.join(names)}")
        told = [side.row for claim in self.claims for side in (claim.left, claim.right)]
        told += [row for curve in self.curves for row in curve.rows]
        told += [row for trade in self.trades for line in trade.lines for row in line]
        if unknown := [name for name in told if name not in names]:
            raise ValueError(f"a claim or curve is about '{unknown[0]}', which is no row; rows are {', '.join(names)}")
        return self

    def row(self, name: str) -> Row:
        names = [row.name for row in self.rows]
        if name not in names:
            raise UserError(f"table {self.name} has no row '{name}'; {nearest(name, names)}")
        return self.rows[names.index(name)]


def begun_with(run: Run, base: str) -> Run:
    """The run with the folder `base` wherever its origins name the base."""

    def found(origin: Origin) -> Origin:
        return origin.model_copy(update={"of": base}) if origin.of == BASE else origin

    stages = tuple(stage.model_copy(update={"begins": tuple(map(found, stage.begins))}) for stage in run.stages)
    return run.model_copy(update={"stages": stages})
