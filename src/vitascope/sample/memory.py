"""Whether a request fits into the memory, and what would."""

from __future__ import annotations

from bisect import bisect

import torch

from vitascope.doctor import available_memory
from vitascope.sample.legal import Legal
from vitascope.system import VideoModel
from vitascope.types import UserError

FRAMES_DECODED_AT_ONCE = 32


def refuse_what_does_not_fit(model: VideoModel, one: Legal, num_frames: int, num: int) -> None:
    """Refuse before sampling what the memory cannot hold, and say what it could. `num_frames` are sampled at once."""
    needed, free = sampling_bytes(model, one.size, one.num_frames, num_frames, num), free_bytes(model.device)
    if needed > free:
        (width, height), gib = one.size, 2**30
        raise UserError(
            f"{num} video(s) of {one.num_frames} frames at {width}x{height} need about {needed / gib:.1f} GiB and "
            f"{free / gib:.1f} GiB are free; {what_would_fit(model, one, num_frames, num, free)}"
        )


def what_would_fit(model: VideoModel, one: Legal, num_frames: int, num: int, free: int) -> str:
    """The largest size of the same proportions that fits, else how many frames do, in words."""
    grain = model.backbone.patch[1] * model.tokenizer.stride[1]
    sizes = [
        tuple(max(side * twentieths // 20 // grain, 1) * grain for side in one.size) for twentieths in range(20, 0, -1)
    ]
    for width, height in sizes[1:]:
        if sampling_bytes(model, (width, height), one.num_frames, num_frames, num) <= free:
            return f"{width}x{height} would fit"
    if num > 1:
        return "ask for fewer at once"
    for width, height in sizes:
        if most := most_frames(model, (width, height), one.num_frames, num_frames, free):
            return f"{most} frames at {width}x{height} would fit"
    return "not even one frame would fit: end other programs"


def most_frames(model: VideoModel, size: tuple[int, int], length: int, num_frames: int, free: int) -> int:
    """The most frames, up to `length`, of one video that `free` bytes hold; as many as the model makes at a time."""
    lengths = range(1, length + 1)
    most = bisect(lengths, free, key=lambda some: sampling_bytes(model, size, some, min(some, num_frames), 1))
    cube = model.backbone.patch[0]
    return most // cube * cube or min(most, 1)


def sampling_bytes(model: VideoModel, size: tuple[int, int], length: int, num_frames: int, num: int) -> int:
    """About the most memory that `num` videos of `length` frames, `num_frames` at once, take beside the model.

    That is the widest activations of a block or the last layers of the decoder, and the finished pixels. A block is
    reckoned as a transformer's: layers of four times the stream's width, and a head for each 64 of that.
    """
    frames, side = model.backbone.patch
    cell = side * model.tokenizer.stride[1]
    per_frame = max(size[0] // cell, 1) * max(size[1] // cell, 1)
    tokens = 2 * num * -(-num_frames // frames) * per_frame  # two passes for guidance
    width = model.backbone.width
    activations = tokens * (16 * width + 2 * min(per_frame, 128) * -(-width // 64))
    pixels = size[0] * size[1]
    decoder = min(length, FRAMES_DECODED_AT_ONCE) * pixels * 40
    return 4 * (max(activations, decoder) + 2 * num * length * pixels * 3)


def free_bytes(device: torch.device) -> int:
    """Memory that can be had now; where the system does not say, no limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()
