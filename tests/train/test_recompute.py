"""What is made again in the backward pass is what was there: the same gradients, of less memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tiny import tiny_run
from vitascope.train.initialise import initialised
from vitascope.train.learner import autocast
from vitascope.train.stages import VideoStage


def lesson_of(
    cache: Path, *, recompute: bool, precision: str, frozen: tuple[str, ...] = ()
) -> tuple[dict[str, Tensor], int]:
    """The gradients of one lesson, of clips and pictures, and how many numbers its backward pass kept."""
    stage = VideoStage(name="videos", steps=1, batch=2, num_clips=4, pictures_beside=2, frozen=frozen)
    run = tiny_run(stage, recompute=recompute, precision=precision)
    model = initialised(run.model, 0)
    course = stage.begin(run, model, cache, lambda items, _: iter(items))
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(run, torch.device("cpu"))():
        loss = course.loss(0).total
    loss.backward()
    return {name: one.grad for name, one in course.module.named_parameters() if one.grad is not None}, kept


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("frozen", [(), ("text.*", "backbone.blocks.*.mlp.*")])
def test_gradients_are_the_same_and_less_is_kept(cache: Path, precision: str, frozen: tuple[str, ...]) -> None:
    (usual, much), (again, little) = (
        lesson_of(cache, recompute=recompute, precision=precision, frozen=frozen) for recompute in (False, True)
    )
    assert usual.keys() == again.keys()
    for name, gradient in usual.items():
        # In bf16 the gradients of a weight that clips and pictures share are added before or after their rounding.
        slack = 0.0 if precision == "fp32" else 0.02 * gradient.abs().max().item()
        torch.testing.assert_close(again[name], gradient, atol=slack, rtol=0.0)
    assert little < 0.7 * much  # what is not of the blocks is kept as before
