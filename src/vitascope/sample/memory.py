"""Whether a request fits into the memory, and what would."""

from __future__ import annotations

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
    """The largest size of the same proportions that fits, in words."""
    grain = model.backbone.config.patch[1] * model.tokenizer.stride[1]
    for twentieths in range(19, 0, -1):
        width, height = (max(side * twentieths // 20 // grain, 1) * grain for side in one.size)
        if sampling_bytes(model, (width, height), one.num_frames, num_frames, num) <= free:
            return f"{width}x{height} would fit"
    return "ask for fewer frames" if num == 1 else "ask for fewer at once"


def sampling_bytes(model: VideoModel, size: tuple[int, int], length: int, num_frames: int, num: int) -> int:
    """About the most memory that `num` videos of `length` frames, `num_frames` at once, take beside the model.

    That is the widest activations of a block or the last layers of the decoder, and the finished pixels.
    """
    config = model.backbone.config
    cell = config.patch[1] * model.tokenizer.stride[1]
    per_frame = max(size[0] // cell, 1) * max(size[1] // cell, 1)
    tokens = 2 * num * -(-num_frames // config.patch[0]) * per_frame  # two passes for guidance
    activations = tokens * (16 * config.width + 2 * min(per_frame, 128) * config.heads)
    pixels = size[0] * size[1]
    decoder = min(length, FRAMES_DECODED_AT_ONCE) * pixels * 40
    return 4 * (max(activations, decoder) + 2 * num * length * pixels * 3)


def free_bytes(device: torch.device) -> int:
    """Memory that can be had now; where the system does not say, no limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Torch's error for a full CPU memory has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
