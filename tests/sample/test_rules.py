"""What the docs say of the rules of sampling is what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from vitascope.system import Rules

PAGE = Path(__file__).parents[2] / "docs" / "sampling.md"


def test_every_rule_stands_in_the_table_with_its_values_and_its_default() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.read_text().splitlines()]
    told = {cells[0].strip("`"): cells for cells in rows if len(cells) == 5 and cells[0].startswith("`")}
    assert list(told) == list(Rules.model_fields)
    own = Rules().model_dump(mode="json")
    for name, (_, values, default, *_) in told.items():
        assert json.loads(default.strip("`")) == own[name], name
        if choices := [one for one in get_args(Rules.model_fields[name].annotation) if isinstance(one, str)]:
            assert values == ", ".join(f"`{one}`" for one in choices)
