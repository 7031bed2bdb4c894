"""The walk of footage: raw videos become shards, shards clips, clips latents, and latents a step of the optimizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.footage import waves, write
from tiny import tiny_run
from vitascope.data.buckets import BucketsConfig
from vitascope.data.loader import LoaderConfig, MixedConfig
from vitascope.data.opening import open_footage
from vitascope.data.source import FootageConfig
from vitascope.engine import executors
from vitascope.engine.config import Curate
from vitascope.engine.run import curate
from vitascope.engine.sources import find
from vitascope.train.initialise import initialised
from vitascope.train.loop import fit
from vitascope.train.streaming import StreamStage, encoded


def test_from_raw_footage_to_a_step_of_the_optimizer(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    raw, shards = tmp_path / "raw", tmp_path / "shards"
    raw.mkdir()
    shots = [waves(30, seed=1), waves(30, seed=2)]
    write(raw / "two shots.mp4", np.concatenate(shots))
    (raw / "two shots.txt").write_text("waves\nstripes\n")

    funnel = curate(find([raw], shards), shards, Curate(), executors.in_process)
    footage = open_footage(shards)
    assert len(footage.table) == funnel["pieces"]["kept"]["pieces"] == 2 and not footage.told.left_out
    facts = footage.table[0]
    assert (facts.width, facts.height, facts.num_frames, facts.fps) == (160, 128, 30, 24.0)

    buckets = BucketsConfig(area=16 * 16, lengths=(4,), fps=8.0)
    stage = StreamStage(
        name="stream", steps=1, batch=2, loader=LoaderConfig(sources=(MixedConfig(path=str(shards)),), buckets=buckets)
    )
    data = FootageConfig(path=str(shards), size=(16, 16), num_frames=4)
    run = tiny_run(stage).model_copy(update={"data": data})
    model = initialised(run.model, run.seed)
    batch = stage.open(model).batch(0)
    assert batch.pixels.shape == (2, 4, 3, 16, 16) and not batch.stand_ins
    assert set(batch.captions) <= {"waves", "stripes"}
    assert batch.micro[:, [0, 1, 4, 5]].tolist() == [[128, 160, 3, 4]] * 2  # height, width, stride, frames
    shown = [pixels.float().mean((0, 2, 3)) for pixels in batch.pixels]
    truth = [torch.from_numpy(shot[..., 16:144, :].mean((0, 1, 2))).float() for shot in shots]
    nearest = {min((0, 1), key=lambda one, pixels=pixels: (pixels - truth[one]).abs().sum().item()) for pixels in shown}
    assert nearest == {0, 1}  # each shot is a clip of its own

    latents = encoded(model, batch)
    rows, columns = (16 // side for side in model.tokenizer.stride[1:])
    assert latents.clean.shape == (2, 4, run.model.backbone.channels, rows, columns)

    trained = fit(run, tmp_path / "run").state_dict()
    moved = [
        name for name, value in model.backbone.state_dict().items() if not value.equal(trained[f"backbone.{name}"])
    ]
    assert moved
