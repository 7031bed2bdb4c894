"""What each command writes down as the form of its report, so that whoever reads one need not guess."""

from __future__ import annotations

from typing import Literal

VIDEOS = "videos"
TOYLAND = "toyland"
TWINS = "toyland suites"
VIEWS = "views"
CLASSES = "classes"
LASTING = "lasting"
ARENA = "arena"
SUITE: Literal["suite"] = "suite"
