"""Laws of memory that runs out: whatever still makes a step smaller is named, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny import tiny_run
from vitascope.train.diagnosis import enough_memory
from vitascope.train.initialise import initialised
from vitascope.train.log import Log
from vitascope.train.session import Session
from vitascope.train.stages import Stage, TokenizerStage, VideoStage
from vitascope.types import UserError

SMALLER = "Begin another run with a smaller model or smaller clips"


def videos(batch: int, pictures_beside: int = 0) -> VideoStage:
    return VideoStage(name="videos", steps=4, batch=batch, num_clips=8, pictures_beside=pictures_beside)


@pytest.mark.parametrize(
    ("stage", "recompute", "way"),
    [
        (TokenizerStage(name="autoencoder", steps=4, batch=1), False, SMALLER),
        (TokenizerStage(name="autoencoder", steps=4, batch=4), False, "Set the batch of autoencoder to 2 in '"),
        (videos(batch=1), False, "Set recompute to true in '"),
        (videos(batch=1), True, SMALLER),
        (videos(batch=1, pictures_beside=6), True, "Set the pictures_beside of videos to 3 in '"),
        (
            videos(batch=4, pictures_beside=6),
            False,
            "Set recompute to true, or the batch of videos to 2, or the pictures_beside of videos to 3 in '",
        ),
    ],
)
def test_what_can_still_be_less_is_named(tmp_path: Path, stage: Stage, recompute: bool, way: str) -> None:
    run = tiny_run(stage, recompute=recompute)
    with Log(tmp_path) as log:
        session = Session(run, stage, initialised(run.model, 0), tmp_path, log, None)
        with pytest.raises(UserError, match="step 3: the memory ran out") as caught, enough_memory(session, 3):
            raise MemoryError
    assert f"the last checkpoint is kept. {way}" in str(caught.value)
