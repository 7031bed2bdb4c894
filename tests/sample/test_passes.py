"""Laws of counting: what is reckoned before sampling is what sampling then asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiny import save_tiny
from vitascope.sample.generate import generate
from vitascope.sample.legal import legalise
from vitascope.sample.loading import load
from vitascope.sample.memory import passes_of, sampling_bytes
from vitascope.sample.model import OwnModel
from vitascope.sample.passes import passes_in_all
from vitascope.types import Request

WAYS = [
    ({"guidance": 1.0}, 1),
    ({"guidance": 3.0}, 2),
    ({"guidance": 0.0}, 2),
    ({"guidance": 3.0, "guidance_kind": "text"}, 2),
    ({"guidance": 3.0, "guidance_kind": "blank"}, 2),
    ({"guidance": 3.0, "guidance_kind": "separate"}, 3),
    ({"guidance": 1.5, "guidance_kind": "separate"}, 2),  # as for the frames: the pass between has weight 0
    ({"guidance": 1.0, "guidance_kind": "separate", "image_guidance": 1.0}, 1),
    ({"guidance": 3.0, "guidance_interval": (0.0, 0.4)}, 2),
]


@pytest.mark.parametrize(("changes", "passes"), WAYS)
def test_passes_are_those_that_the_backbone_is_asked_for(changes: dict[str, Any], passes: int, tmp_path: Path) -> None:
    model = load(save_tiny(tmp_path / "model", **changes), "cpu")
    assert isinstance(model, OwnModel)
    asked: list[int] = []
    model.system.backbone.register_forward_pre_hook(lambda module, given: asked.append(len(given[0])))
    generate(model.system, [Request("x")])
    legal = legalise(model.system, Request("x"))
    assert passes_of(model.system, legal) == passes == max(asked)
    assert passes_in_all(model.system.config.defaults, model.system.objective.path) == sum(asked)


def test_memory_needed_follows_the_passes_where_the_backbone_is_the_widest(model: OwnModel) -> None:
    one, two, three = (sampling_bytes(model.system, (16, 16), 4, 400, 1, passes) for passes in (1, 2, 3))
    assert three - two == two - one > 0
