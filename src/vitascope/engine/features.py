"""Features of a stretch of frames, from what was measured on its frames alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vitascope.engine.config import Curate

REPEATED = 0.25  # mean difference of grey values below which a frame repeats the one before it
STILL = 0.5  # percent of the diagonal in a second
CAMERA_STILL = 1.0  # the same, of the camera
ZOOMS = 0.02  # a second


def features_of(
    frames: np.ndarray, samples: np.ndarray, facts: dict[str, Any], start: int, stop: int, settings: Curate
) -> tuple[tuple[int, int, int, int], dict[str, Any]]:
    """Borders to cut off (top, bottom, left, right) and every feature of frames `start` to before `stop`."""
    fps = facts["fps"]
    looks = samples[(samples["frame"] >= start) & (samples["frame"] < stop)]
    moves = looks[looks["frame"] - looks["gap"] >= start]  # flow across a cut tells nothing
    crop = (0, 0, 0, 0)
    if settings.geometry.on and settings.geometry.crop and len(looks):
        top, bottom, left, right = (int(looks[side].min()) for side in ("top", "bottom", "left", "right"))
        crop = top, bottom, left, right
    # Clips are written with even sides.
    width, height = (facts["width"] - crop[2] - crop[3]) // 2 * 2, (facts["height"] - crop[0] - crop[1]) // 2 * 2
    percent = 100 * fps / math.hypot(facts["width"], facts["height"])
    near, light = frames[start:stop], frames["light"][start:stop].astype(np.float64)
    dx, dy, zoom, turn = (_middle(moves, name, rest) for name, rest in zip(PATH, (0.0, 0.0, 1.0, 0.0), strict=True))
    values = {
        "seconds": (stop - start) / fps,
        "fps": fps,
        "width": width,
        "height": height,
        "aspect": width / max(1, height),
        "motion": _mean(moves, "total") * percent,
        "camera_motion": _mean(moves, "camera") * percent,
        "object_motion": _mean(moves, "objects") * percent,
        "pan": dx,
        "tilt": dy,
        "zoom": zoom,
        "roll": turn,
        "camera": camera_class(dx * percent, dy * percent, (zoom - 1) * fps, turn * fps),
        "static": float((moves["total"] * percent < STILL).mean()) if len(moves) else 0.0,
        "duplicated": float((near["change"][1:] < REPEATED).mean()) if len(near) > 1 else 0.0,
        "clarity": _middle(looks, "clarity", 0.0),
        "light": float(light.mean()) / 255,
        "underexposed": _mean(looks, "under"),
        "overexposed": _mean(looks, "over"),
        "flicker": _flicker(light),
        "text": _middle(looks, "text", 0.0),
        "consistency": _consistency(near["thumb"], max(1, round(fps / 2))),
        "audio": facts["has_audio"],
        "ten_bit": "10" in facts["pixel_format"],
        "variable_rate": facts["is_variable"],
    }
    return crop, {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}


PATH = ("dx", "dy", "zoom", "turn")


def camera_class(dx: float, dy: float, zoom: float, turn: float) -> str:
    """What the camera does, from the movement of the picture in a second: percent of the diagonal, share, radians.

    The camera pans right when what it shows moves left.
    """
    across, along = abs(dx), abs(dy)
    if abs(zoom) > ZOOMS and 50 * abs(zoom) > 2 * max(across, along):
        return "zoom_in" if zoom > 0 else "zoom_out"
    if abs(turn) > 0.05 and 50 * abs(turn) > 2 * max(across, along):
        return "roll"
    if max(across, along) < CAMERA_STILL:
        return "still"
    if across > 2 * along:
        return "pan_left" if dx > 0 else "pan_right"
    if along > 2 * across:
        return "tilt_up" if dy > 0 else "tilt_down"
    return "mixed"


def _mean(rows: np.ndarray, name: str) -> float:
    return float(rows[name].astype(np.float64).mean()) if len(rows) else 0.0


def _middle(rows: np.ndarray, name: str, nothing: float) -> float:
    return float(np.median(rows[name].astype(np.float64))) if len(rows) else nothing


def _flicker(light: np.ndarray) -> float:
    """Half the swing from frame to frame and back, as a share of the light; a flash or a trend is none."""
    if len(light) < 3:
        return 0.0
    swing = np.abs(light[:-2] - 2 * light[1:-1] + light[2:]) / 4
    return float(np.median(swing)) / max(1.0, float(light.mean()))


def _consistency(thumbs: np.ndarray, lag: int) -> float:
    """Mean correlation of pictures half a second apart."""
    early = np.arange(0, max(0, len(thumbs) - lag), max(1, lag // 2))
    if not early.size:
        return 1.0
    one, other = (thumbs[rows].reshape(len(rows), -1).astype(np.float32) for rows in (early, early + lag))
    one, other = one - one.mean(1, keepdims=True), other - other.mean(1, keepdims=True)
    size = np.sqrt(np.square(one).sum(1) * np.square(other).sum(1))
    return float(np.where(size > 0, (one * other).sum(1) / np.maximum(size, 1e-6), 1.0).mean())
