"""What stays the same while a stage of a run learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vitascope.system import VideoModel
from vitascope.train.folder import CHECKPOINTS, RUN, resuming
from vitascope.train.log import Log
from vitascope.train.stages import Run, Stage, Watch


@dataclass(frozen=True)
class Session:
    """One stage of a run, its model, and where it is written down."""

    run: Run  # as the stage sees it
    stage: Stage
    model: VideoModel
    folder: Path  # of the run
    log: Log
    watch: Watch | None

    @property
    def checkpoints(self) -> Path:
        return self.folder / CHECKPOINTS / self.stage.name

    def way_on(self) -> str:
        """The end of a sentence about a setting to be changed in the middle of a run."""
        return f"'{self.folder / RUN}', then: {resuming(self.run, self.folder)}"
