"""VBench-I2V's camera motion: what the camera does, told from how points near the edges of the picture move."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitascope.errors import UserError, install
from vitascope.types import Clip

GRID = 10  # points along each side
MIDDLE = 5  # of these, by number
STEP = 0.005  # of the short side: what counts as motion
EDGE = 64  # of each side: how far the outermost points are from the border

Track = Callable[[Float[Tensor, "t 3 h w"], Float[Tensor, "n 2"]], Float[Tensor, "n 2"]]
"""Points (x, y) in the first frame to where they are in the last."""

TRACKING = "points followed by OpenCV's Lucas-Kanade, frame by frame, instead of CoTracker2"


def edge_points(width: int, height: int) -> Float[Tensor, "4 2"]:
    """The middles of the top, bottom, left and right row of a grid of ten by ten."""
    x, y = (torch.linspace(side / EDGE, side - side / EDGE, GRID) for side in (width, height))
    return torch.stack([torch.stack(pair) for pair in ((x[MIDDLE], y[0]), (x[MIDDLE], y[-1]), (x[0], y[MIDDLE]),
                                                       (x[-1], y[MIDDLE]))])  # fmt: skip


def moves_of(clip: Clip, track: Track) -> frozenset[str]:
    points = edge_points(*clip.size)
    # Whole pixels, as in the official code.
    return camera_moves(track(clip.pixels, points).trunc() - points.trunc(), min(clip.size))


def camera_moves(edges: Float[Tensor, "4 2"], side: int) -> frozenset[str]:
    """All that the camera does, from how the middles of the top, bottom, left and right edge moved (x, y in pixels).

    A slanting motion is both of its parts. Nothing that is known: no move at all, not even standing still.
    Official trouble: what moves at an edge of the picture counts as the camera.
    """
    top, bottom, left, right = (ways_of(float(x), float(y), STEP * side) for x, y in edges)
    found = {BY_ROWS.get((one, other)) for one in top for other in bottom}
    found |= {BY_COLUMNS.get((one, other)) for one in left for other in right}
    known = frozenset(move for move in found if move is not None)
    return known - {"static"} or known


def ways_of(x: float, y: float, limit: float) -> tuple[str, ...]:
    ways = [way for far, way in ((x, "right"), (-x, "left"), (y, "down"), (-y, "up")) if far > limit]
    return tuple(ways) or ("static",)


def asked_for(prompt: str) -> str:
    """The move that a prompt of the suite asks for."""
    for words, move in ASKED.items():
        if words in prompt:
            return move
    raise UserError(f"'{prompt}' asks for no move of the camera; it must say one of: {', '.join(ASKED)}")


def follow(frames: Float[Tensor, "t 3 h w"], points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
    """Without a network: Lucas-Kanade from frame to frame, each point as the median of a patch of points around it."""
    try:
        import cv2
    except ImportError:
        raise UserError(f"camera motion needs OpenCV: {install('flow')}") from None
    gray = (frames.mean(1) * 255).round().byte().numpy()
    around = torch.cartesian_prod(torch.arange(-2.0, 3), torch.arange(-2.0, 3)) * min(frames.shape[-2:]) / 40
    start = (points[:, None] + around).reshape(-1, 1, 2)
    size = torch.tensor([frames.shape[-1] - 1.0, frames.shape[-2] - 1.0])
    first = start.clamp(min=0).minimum(size).numpy().astype(np.float32)
    now = first
    for one, other in pairwise(gray):
        after, seen, _ = cv2.calcOpticalFlowPyrLK(one, other, now, np.zeros_like(now), winSize=(21, 21), maxLevel=3)
        now = np.where(seen[:, None] == 1, after, now)
    moved = torch.from_numpy(now - first).reshape(len(points), -1, 2)
    return points + moved.median(1).values


BY_EDGES = {
    ("left", "left"): "pan_right",
    ("right", "right"): "pan_left",
    ("down", "down"): "tilt_up",
    ("up", "up"): "tilt_down",
    ("static", "static"): "static",
}
BY_ROWS = {**BY_EDGES, ("up", "down"): "zoom_in", ("down", "up"): "zoom_out"}
BY_COLUMNS = {**BY_EDGES, ("left", "right"): "zoom_in", ("right", "left"): "zoom_out"}
ASKED = {
    "camera pans left": "pan_left",
    "camera pans right": "pan_right",
    "camera tilts up": "tilt_up",
    "camera tilts down": "tilt_down",
    "camera zooms in": "zoom_in",
    "camera zooms out": "zoom_out",
    "camera static": "static",
}
