"""The tables of the paper at laptop scale, each a function of the model that its rows begin with."""

from __future__ import annotations

from collections.abc import Callable

from vitascope.ablate.table import Table
from vitascope.ablate.tables import applications, guidance, init, sampling, t2i, t2v, ti2v
from vitascope.config import nearest
from vitascope.system import ModelConfig
from vitascope.types import UserError


def table_named(name: str, base: ModelConfig) -> Table:
    if name not in TABLES:
        raise UserError(f"there is no table '{name}'; {nearest(name, list(TABLES))}")
    return TABLES[name](base)


TABLES: dict[str, Callable[[ModelConfig], Table]] = {
    "t2i": t2i.table,
    "t2v": t2v.table,
    "ti2v": ti2v.table,
    "guidance": guidance.table,
    "sampling": sampling.table,
    "init": init.table,
    "applications": applications.table,
}
