"""The built-in world: endless captioned clips of which the truth is known exactly."""

from vitascope.toyland.grammar import caption, parse
from vitascope.toyland.render import render
from vitascope.toyland.scene import (
    Change,
    Pose,
    Scene,
    Thing,
    camera_at,
    is_unseen,
    pose,
    poses,
    sample,
    split_of,
    test_seed,
    train_seed,
    triples,
)

__all__ = [
    "Change",
    "Pose",
    "Scene",
    "Thing",
    "camera_at",
    "caption",
    "is_unseen",
    "parse",
    "pose",
    "poses",
    "render",
    "sample",
    "split_of",
    "test_seed",
    "train_seed",
    "triples",
]
