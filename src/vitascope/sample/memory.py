"""Whether a request fits into the memory, and what would."""

from __future__ import annotations

from bisect import bisect

import torch

from vitascope.doctor import available_memory
from vitascope.sample.legal import Legal
from vitascope.sample.passes import passes_at_once
from vitascope.system import VideoModel
from vitascope.types import UserError

FRAMES_DECODED_AT_ONCE = 32

# Rough numbers, by which hopeless requests are refused: 1.3 to 1.6 times what the bundled model was found to take
# (benchmarks/memory.py), and of a long rollout 3 times.
NUMBER = 4
"""Bytes of a number of fp32; in bf16 it is less."""
BLOCK_WIDTHS = 16
"""Numbers that a transformer's block holds of a token at its fullest, in widths of the stream: layers are four wide."""
HEAD_WIDTH = 64
"""What a head is reckoned to have, whatever the backbone."""
SCORES = 2
"""What attention holds of a pair of tokens in each head: the score, and its share."""
PAIRS_AT_ONCE = 128
"""With so many others at most is a token's score held at a time: kernels work in pieces of rows."""
DECODER_NUMBERS = 40
"""Numbers that the last layers of a decoder hold of a pixel."""
PIXEL_COPIES = 2
"""Of the finished video: its parts, and what they are put together into."""
COLOURS = 3


def refuse_beyond_memory(model: VideoModel, one: Legal, num_frames: int, num: int) -> None:
    """Refuse before sampling what the memory cannot hold, and say what it could. `num_frames` are sampled at once."""
    passes, free = passes_of(model, one), free_bytes(model.device)
    needed = sampling_bytes(model, one.size, one.num_frames, num_frames, num, passes)
    if needed > free:
        (width, height), gib = one.size, 2**30
        raise UserError(
            f"{num} video(s) of {one.num_frames} frames at {width}x{height} need about {needed / gib:.1f} GiB and "
            f"{free / gib:.1f} GiB are free; {what_would_fit(model, one, num_frames, num, free)}"
        )


def passes_of(model: VideoModel, one: Legal) -> int:
    """How many passes of one video guidance stacks in a call of the backbone, or of its first picture."""
    scales = {one.guidance}
    if one.rules.image_first and one.rules.picture_guidance is not None:
        scales.add(one.rules.picture_guidance)
    return max(passes_at_once(one.rules, scale, model.objective.path) for scale in scales)


def what_would_fit(model: VideoModel, one: Legal, num_frames: int, num: int, free: int) -> str:
    """The largest size of the same proportions that fits, else how many frames do, in words."""
    grain, passes = model.backbone.patch[1] * model.tokenizer.stride[1], passes_of(model, one)
    sizes = [
        tuple(max(side * twentieths // 20 // grain, 1) * grain for side in one.size) for twentieths in range(20, 0, -1)
    ]
    for width, height in sizes[1:]:
        if sampling_bytes(model, (width, height), one.num_frames, num_frames, num, passes) <= free:
            return f"{width}x{height} would fit"
    if num > 1:
        return "ask for fewer at once"
    for width, height in sizes:
        if most := most_frames(model, (width, height), one.num_frames, num_frames, passes, free):
            return f"{most} frames at {width}x{height} would fit"
    return "not even one frame would fit: end other programs"


def most_frames(model: VideoModel, size: tuple[int, int], length: int, num_frames: int, passes: int, free: int) -> int:
    """The most frames, up to `length`, of one video that `free` bytes hold; as many as the model makes at a time."""
    lengths = range(1, length + 1)
    most = bisect(lengths, free, key=lambda some: sampling_bytes(model, size, some, min(some, num_frames), 1, passes))
    cube = model.backbone.patch[0]
    return most // cube * cube or min(most, 1)


def sampling_bytes(
    model: VideoModel, size: tuple[int, int], length: int, num_frames: int, num: int, passes: int
) -> int:
    """About the most bytes that `num` videos of `length` frames, `num_frames` at once, take beside the model.

    That is the widest activations of a block or the last layers of the decoder, and the finished pixels. A block is
    reckoned as a transformer's. `passes` of each video are stacked in a call of the backbone (`passes_of`).
    """
    frames, side = model.backbone.patch
    cell = side * model.tokenizer.stride[1]
    per_frame = max(size[0] // cell, 1) * max(size[1] // cell, 1)
    tokens = passes * num * -(-num_frames // frames) * per_frame
    width = model.backbone.width
    heads = -(-width // HEAD_WIDTH)
    activations = tokens * (BLOCK_WIDTHS * width + SCORES * min(per_frame, PAIRS_AT_ONCE) * heads)
    pixels = size[0] * size[1]
    decoder = min(length, FRAMES_DECODED_AT_ONCE) * pixels * DECODER_NUMBERS
    return NUMBER * (max(activations, decoder) + PIXEL_COPIES * num * length * pixels * COLOURS)


def free_bytes(device: torch.device) -> int:
    """Memory that can be had now; where the system does not say, no limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()
