"""Small real videos, made in the test: waves that drift, at sizes that decode in no time."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from beside import SHARED

VIDEOS = SHARED / "videos"


def waves(num: int, *, seed: int = 0, width: int = 160, height: int = 128, speed: float = 2.0) -> np.ndarray:
    """A picture of its own for each seed that moves to the right by `speed` pixels a frame."""
    rng = np.random.default_rng(seed)
    reach = width + int(speed * num) + 2
    picture = np.zeros((height, reach, 3))
    for side, strength in ((40, 200), (8, 55)):
        coarse = rng.random((height // side + 1, reach // side + 2, 3))
        picture += strength * np.kron(coarse, np.ones((side, side, 1)))[:height, :reach]
    lefts = [int(speed * (num - 1 - frame)) for frame in range(num)]
    return np.stack([picture[:, left : left + width] for left in lefts]).astype(np.uint8)


def write(path: Path, frames: Iterable[np.ndarray], fps: int = 24, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = None
        for pixels in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "12", **options})
                stream.height, stream.width = pixels.shape[:2]
                stream.codec_context.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def blend(one: np.ndarray, other: np.ndarray, num: int) -> np.ndarray:
    """`one`, then `num` frames in which it turns into `other`, then that."""
    share = ((np.arange(num) + 1) / (num + 1))[:, None, None, None]
    mixed = one[-num:] * (1 - share) + other[:num] * share
    return np.concatenate([one[:-num], mixed.round().astype(np.uint8), other[num:]])
