"""The built-in world: endless captioned clips of which the truth is known exactly."""

from vitascope.toyland.grammar import caption, parse, read
from vitascope.toyland.render import render
from vitascope.toyland.sampling import (
    arrange,
    draw_kind,
    exchanged,
    held_out_seed,
    is_unseen,
    sample,
    split_of,
    train_seed,
    triples,
)
from vitascope.toyland.scene import Change, Kind, Pose, Scene, Thing, camera_at, pose, poses

__all__ = [
    "Change",
    "Kind",
    "Pose",
    "Scene",
    "Thing",
    "arrange",
    "camera_at",
    "caption",
    "draw_kind",
    "exchanged",
    "held_out_seed",
    "is_unseen",
    "parse",
    "pose",
    "poses",
    "read",
    "render",
    "sample",
    "split_of",
    "train_seed",
    "triples",
]
