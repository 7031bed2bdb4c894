"""Laws of rows that are kept: in memory, and on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import torch

from vitascope.evaluate.columns import VALUES_TOGETHER, Packed
from vitascope.evaluate.store import Store


def test_rows_that_are_kept_stay_as_they_are():
    packed = Packed()
    rows = [torch.rand(num, width) for num, width in ((3, 5), (0, 5), (VALUES_TOGETHER // 5, 5), (2, 7), (1, 7))]
    rows.append(torch.rand(2, 7).double())
    kept = [packed.add(one) for one in rows]
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in zip(kept, rows, strict=True))
    assert kept[3].untyped_storage().data_ptr() == kept[4].untyped_storage().data_ptr()


def test_a_file_of_an_earlier_layout_is_filled_anew(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "features.sqlite")) as old:
        old.execute("CREATE TABLE features (key TEXT PRIMARY KEY, content BLOB) WITHOUT ROWID")
    store = Store(tmp_path / "features.sqlite")
    store.put("key", torch.ones(2, 3))
    kept = store.get("key")
    assert kept is not None and torch.equal(kept, torch.ones(2, 3)) and store.get("another") is None
