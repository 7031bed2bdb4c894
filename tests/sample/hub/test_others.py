"""Families that no line of the code names: what their signatures and parts say is enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import built
from jaxtyping import Float
from others import OTHERS
from torch import Tensor

from vitascope.sample.hub.model import HubModel, load_checkpoint
from vitascope.types import Clip, Request, UserError

Other = Callable[[str], HubModel]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Other:
    root, kept = tmp_path_factory.mktemp("others"), dict[str, HubModel]()

    def loaded(name: str) -> HubModel:
        if name not in kept:
            built(OTHERS[name]).save_pretrained(root / name)
            kept[name] = load_checkpoint(str(root / name), device="cpu")
        return kept[name]

    return loaded


def pictures(num: int, seed: int = 0) -> dict[int, Float[Tensor, "3 32 32"]]:
    return dict(enumerate(torch.rand(num, 3, 32, 32, generator=torch.Generator().manual_seed(seed))))


def made(model: HubModel, num_given: int, *, seed: int = 3, look: int = 0) -> tuple[Clip, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    num_frames = model.routes[0].traits.legal_length(5.0)
    asked = Request("a red circle", pictures(num_given, look), num_frames, size=(32, 32), seed=seed, steps=2)
    clip = model.fulfil(asked, progress=lambda done, steps, z: seen.append((done, steps)))
    assert clip.num_frames == num_frames
    assert clip.size == (32, 32)
    return clip, seen


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("skyreels", (0,)),
        ("skyreels_i2v", (1,)),
        ("modelscope", (0,)),
        ("ltx_condition", (0, 1, 9)),
        ("wan_vace", (5,)),
        ("lucy", (5,)),
        ("sana", (0,)),
    ],
)
def test_a_family_that_is_not_named_works_by_what_it_says_of_itself(
    other: Other, tmp_path: Path, name: str, takes: tuple[int, ...]
) -> None:
    model = other(name)
    for num in takes:
        clip, seen = made(model, num)
        assert seen == [(1, 2), (2, 2)]  # also of those that call nobody back
        assert clip.pixels.std() > 0.01
        assert torch.equal(made(model, num)[0].pixels, clip.pixels)
        assert not torch.equal(made(model, num, seed=4)[0].pixels, clip.pixels)
        if num:
            assert not torch.equal(made(model, num, look=1)[0].pixels, clip.pixels)
    if 1 not in takes:
        with pytest.raises(UserError, match="it was given a picture for frame 0"):
            made(model, 1)


def test_a_cancel_is_heard_by_what_calls_nobody_back(other: Other) -> None:
    seen: list[int] = []

    def cancel(done: int, steps: int, z: Tensor) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        other("modelscope").fulfil(Request("a star", num_frames=2, size=(32, 32), steps=9), progress=cancel)
    assert seen == [1]
    assert "step" not in vars(other("modelscope").routes[0].pipeline.scheduler)
