"""What is made again in the backward pass is what was there: the same gradients, of less memory."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tiny import tiny_run
from vitascope.train.initialise import initialised
from vitascope.train.stages import VideoStage


def lesson_of(cache: Path, *, recompute: bool) -> tuple[dict[str, Tensor], int]:
    """The gradients of one lesson, and the numbers that autograd kept for its backward pass."""
    stage = VideoStage(name="videos", steps=1, batch=2, num_clips=4)
    run = tiny_run(stage, recompute=recompute)
    model = initialised(run.model, 0)
    course = stage.begin(run, model, cache, lambda items, _: iter(items))
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = course.loss(0).total
    loss.backward()
    return {name: one.grad for name, one in course.module.named_parameters() if one.grad is not None}, kept


def test_gradients_are_the_same_and_less_is_kept(cache: Path) -> None:
    (usual, much), (again, little) = (lesson_of(cache, recompute=recompute) for recompute in (False, True))
    assert usual.keys() == again.keys()
    assert all(torch.equal(usual[name], again[name]) for name in usual)
    assert little < 0.6 * much  # what is not of the blocks is kept as before
