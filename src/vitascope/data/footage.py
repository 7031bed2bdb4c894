"""Footage before it is cut: files and shards as one table of facts, with what was left out and why."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int32, Int64

from vitascope.data.decoding import Facts

Track = Callable[[Sequence[Path]], Iterable[Path]]
"""Walks over files and shows how far it is."""


@dataclass(frozen=True)
class Sample:
    """One file of footage and what is said of it. `file`: where it lies, or its bytes."""

    key: str
    captions: tuple[str, ...]
    file: Path | bytes


@dataclass(frozen=True, eq=False)
class Table:
    """Facts of all samples as columns, so that millions of them fit; `shard` and `offset` say where each one lies."""

    width: Int32[np.ndarray, "n"]
    height: Int32[np.ndarray, "n"]
    num_frames: Int64[np.ndarray, "n"]
    fps: Float64[np.ndarray, "n"]
    shard: Int32[np.ndarray, "n"]
    offset: Int32[np.ndarray, "n"]  # which sample of its shard

    @classmethod
    def of(cls, rows: Sequence[tuple[Facts, int, int]]) -> Table:
        """The table of facts with the shard and the offset of each."""

        def column(values: Iterable[float], kind: type) -> np.ndarray:
            return np.fromiter(values, kind, len(rows))

        return cls(
            column((facts.width for facts, _, _ in rows), np.int32),
            column((facts.height for facts, _, _ in rows), np.int32),
            column((facts.num_frames for facts, _, _ in rows), np.int64),
            column((facts.fps for facts, _, _ in rows), np.float64),
            column((shard for _, shard, _ in rows), np.int32),
            column((offset for _, _, offset in rows), np.int32),
        )

    def __len__(self) -> int:
        return len(self.width)

    def __getitem__(self, row: int) -> Facts:
        return Facts(int(self.width[row]), int(self.height[row]), float(self.fps[row]), int(self.num_frames[row]))


@dataclass(frozen=True, eq=False)
class Told:
    """What happened to names on the way, by reason: nothing is left out or changed without one."""

    left_out: Mapping[str, Sequence[str]]
    noted: Mapping[str, Sequence[str]]


class Ledger:
    """Collects what becomes `Told`."""

    def __init__(self) -> None:
        self.left_out: defaultdict[str, list[str]] = defaultdict(list)
        self.noted: defaultdict[str, list[str]] = defaultdict(list)

    def close(self) -> Told:
        return Told(dict(self.left_out), dict(self.noted))


@runtime_checkable
class Footage(Protocol):
    """A data set. `identity` changes whenever a sample, its captions or the order would."""

    table: Table
    told: Told
    identity: str

    def sample(self, row: int) -> Sample: ...


def digest_of(parts: Iterable[bytes]) -> str:
    """One name for all parts and their borders."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
