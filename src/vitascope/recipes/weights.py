"""Weights by their names, as recipes freeze them or let them begin anew."""

from __future__ import annotations

TEXT = "text.*"
TIME = "backbone.blocks.*.time.*"
"""The temporal attention of a STIV: all that a video model has and one of pictures has not."""
