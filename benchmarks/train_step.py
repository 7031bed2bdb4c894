"""Time of a training step (forward and backward) of our STIV beside diffusers' Latte, in one run.

python benchmarks/train_step.py [--sizes WIDTH/DEPTH/BATCH ...] [--seconds S] [--compile] [--profile]

Whole backbones are timed, from latents to the gradient of every weight, without optimizer: embedders and the last
layer are in, which are about a hundredth of the work. Both see the same number of tokens (8 frames of 4x4), as many
words (24) and the same width, heads and batch, in the precision in which this machine is fastest: bf16 autocast over
fp32 weights where the hardware multiplies bf16, else fp32. Steps of both alternate and medians are compared, so that
other work on the machine harms them alike.

"Depth" counts layers. A layer of STIV is attention over space, time and text and one feed-forward layer: 20 width^2
weights. A layer of Latte is a block for space (with text) and a block for time, each with its feed-forward layer: 28
width^2. So the ratio of times is printed, and beside it the ratio for the same number of operations in matrix products.

The peak is measured too: the best rate of plain matrix products of several shapes in the same precision, in the same
run. On a machine that does other work it is too low or the steps are too slow, and shares of it mean little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from vitascope.backbones.stiv import StivConfig
from vitascope.conditions import Conditions, TextFeatures
from vitascope.device import fast_bf16

FRAMES, SIDE, CHANNELS, PATCH, WORDS = 16, 8, 8, 2, 24  # latents; tokens are 8 x 4 x 4
SIZES = ("256/6/48", "1152/4/8")
SHAPES = ((2048, 1024, 1024), (4096, 1152, 4608), (1024, 4096, 1024))  # of the matrix products that measure the peak

Step = Callable[[], None]


@dataclass(frozen=True)
class Size:
    width: int
    depth: int
    batch: int

    @classmethod
    def parse(cls, text: str) -> Size:
        try:
            width, depth, batch = map(int, text.split("/"))
        except ValueError:
            raise SystemExit(f"a size is WIDTH/DEPTH/BATCH, as in {SIZES[0]}; got '{text}'") from None
        return cls(width, depth, batch)


@dataclass(frozen=True)
class Place:
    """Where and how precisely to compute."""

    device: torch.device
    precision: torch.dtype

    def cast(self) -> Any:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def stiv(size: Size, place: Place, compiled: bool) -> Step:
    config = StivConfig(
        channels=CHANNELS,
        text_width=size.width,
        width=size.width,
        heads=size.width // 64,
        depth=size.depth,
        grid=(FRAMES // PATCH, SIDE // PATCH),
    )
    model = config.build().to(place.device)
    if compiled:
        for block in model.blocks:
            block.compile(dynamic=False)
    b = size.batch
    z = torch.randn(b, FRAMES, CHANNELS, SIDE, SIDE, device=place.device)
    level = torch.rand(b, 1, device=place.device).expand(b, FRAMES)
    words = torch.randn(b, WORDS, size.width, device=place.device)
    text = TextFeatures(words, torch.ones(b, WORDS, dtype=torch.bool, device=place.device), words[:, -1])
    known = torch.zeros(b, FRAMES, dtype=torch.bool, device=place.device)
    cond = Conditions(known, torch.zeros_like(z), text, text, torch.ones(b, 6, device=place.device))
    return stepper(model, lambda: model(z, level, cond), place)


def latte(size: Size, place: Place, compiled: bool) -> Step:
    """As its authors configure it (norms, activation, biases), but for the size of the heads."""
    from diffusers.models.transformers.latte_transformer_3d import LatteTransformer3DModel

    model = LatteTransformer3DModel(
        num_attention_heads=size.width // 64,
        attention_head_dim=64,
        in_channels=PATCH * CHANNELS,  # two frames of ours are one of Latte's, which has no patches in time
        num_layers=size.depth,
        cross_attention_dim=size.width,
        attention_bias=True,
        sample_size=SIDE,
        patch_size=PATCH,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=size.width,
        video_length=FRAMES // PATCH,
    ).to(place.device)
    if compiled:
        for block in (*model.transformer_blocks, *model.temporal_transformer_blocks):
            block.compile(dynamic=False)
    b = size.batch
    z = torch.randn(b, PATCH * CHANNELS, FRAMES // PATCH, SIDE, SIDE, device=place.device)
    words = torch.randn(b, WORDS, size.width, device=place.device)
    level = torch.randint(1000, (b,), device=place.device)
    return stepper(model, lambda: model(z, level, words, return_dict=False)[0], place)


def stepper(model: nn.Module, forward: Callable[[], Tensor], place: Place) -> Step:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        with place.cast():
            loss = forward().float().square().mean()
        loss.backward()
        place.wait()

    return step


def timed(steps: Sequence[Step], seconds: float) -> list[list[float]]:
    """Times of each step, taken in turns for so many seconds in all, after two turns that do not count."""
    times: list[list[float]] = [[] for _ in steps]
    turn, ends = 0, float("inf")
    while turn < 5 or time.perf_counter() < ends:  # at least three turns count
        for step, taken in zip(steps, times, strict=True):
            begun = time.perf_counter()
            step()
            if turn >= 2:
                taken.append(time.perf_counter() - begun)
        turn += 1
        if turn == 2:
            ends = time.perf_counter() + seconds
    return times


def operations(step: Step) -> int:
    """Floating-point operations of a step in matrix products, attention's included."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak(place: Place) -> list[Step]:
    """A matrix product of each shape, repeated until it takes about as long as can be timed well."""

    def product(n: int, k: int, m: int) -> Step:
        a, b = (torch.randn(*shape, device=place.device, dtype=place.precision) / k**0.5 for shape in ((n, k), (m, k)))

        def step() -> None:
            torch.nn.functional.linear(a, b)
            place.wait()

        return step

    return [product(*shape) for shape in SHAPES]


NAMES = {stiv: "vitascope STIV", latte: "diffusers Latte"}
MODES = {False: "eager", True: "compiled"}


def compare(size: Size, place: Place, seconds: float, compiled: bool) -> None:
    print(
        f"\nwidth {size.width}, depth {size.depth}, {size.batch} clips of {FRAMES // PATCH}x4x4 tokens; "
        f"{str(place.precision).removeprefix('torch.')}, {where(place)}"
    )
    modes = (False, True) if compiled else (False,)
    runs = [(make, mode) for mode in modes for make in (stiv, latte)]
    # The counter sees each product of the uncompiled model only.
    counts = {make: operations(make(size, place, compiled=False)) for make in (stiv, latte)}
    results = timed([*(make(size, place, mode) for make, mode in runs), *peak(place)], seconds)
    taken, plain = dict(zip(runs, results, strict=False)), results[len(runs) :]
    best = max(2 * n * k * m / min(times) for (n, k, m), times in zip(SHAPES, plain, strict=True))
    print(f"  peak of plain matrix products: {best / 1e9:,.0f} GFLOP/s")
    for (make, mode), times in taken.items():
        middle, count = statistics.median(times), counts[make]
        print(
            f"  {NAMES[make]:15} {MODES[mode]:8} {middle * 1e3:9.1f} ms a step (median of {len(times)}, best "
            f"{min(times) * 1e3:.1f}), {size.batch / middle:8.2f} clips/s, {count / 1e9:8.1f} GFLOP, "
            f"{count / middle / best:5.1%} of peak"
        )
    for ours, theirs in [(mode, mode) for mode in modes] + [(True, False)] * compiled:
        ratio = statistics.median(b / a for a, b in zip(taken[stiv, ours], taken[latte, theirs], strict=True))
        print(
            f"  ratio: a step of STIV, {MODES[ours]}, is {ratio:.2f} times as fast as one of Latte, {MODES[theirs]}, "
            f"as deep, and {ratio * counts[stiv] / counts[latte]:.2f} times for the same number of operations"
        )


GROUPS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear", "scaled_dot_product", "mkl"),
    "softmax": ("softmax", "masked_fill"),
    "activations": ("gelu", "silu", "sigmoid"),
    "norms": ("layer_norm", "vector_norm", "rsqrt"),
    "copies and casts": ("copy_", "clone", "cat", "stack", "contiguous", "fill_", "zero_", "empty", "_to_copy"),
    "element by element": ("mul", "add", "sub", "div", "pow", "square", "sum", "mean", "neg", "cos", "sin"),
}


def show_profile(size: Size, place: Place, compiled: bool, num: int = 3) -> None:
    """Where the time of a step of STIV goes, by kind of operation."""
    step = stiv(size, place, compiled)
    step()
    step()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if place.device.type == "cuda" else [])]
    with profile(activities=kinds) as record:
        for _ in range(num):
            step()
    on = "self_device_time_total" if place.device.type == "cuda" else "self_cpu_time_total"
    by_group: dict[str, float] = {}
    events = [(event.key, getattr(event, on)) for event in record.key_averages()]
    for name, taken in events:
        by_group[group_of(name)] = by_group.get(group_of(name), 0.0) + taken
    total = sum(by_group.values())
    print(f"\n  where a step of STIV goes (width {size.width}): {total / num / 1e3:.1f} ms of operations")
    for group, taken in sorted(by_group.items(), key=lambda item: -item[1]):
        largest = sorted((e for e in events if group_of(e[0]) == group), key=lambda event: -event[1])[:4]
        said = ", ".join(f"{name.removeprefix('aten::')[:32]} {share / total:.1%}" for name, share in largest)
        print(f"    {group:20} {taken / total:6.1%}   {said}")


def group_of(name: str) -> str:
    short = name.removeprefix("aten::")
    if name.startswith(("triton", "graph_", "cpp_fused")) or "ompiled" in name:
        return "fused by the compiler"
    if not name.startswith("aten::"):
        return "bookkeeping"
    for group, parts in GROUPS.items():
        if any(part in short for part in parts):
            return group
    return "bookkeeping"


def where(place: Place) -> str:
    if place.device.type == "cuda":
        return torch.cuda.get_device_name(place.device)
    return f"CPU with {torch.get_num_threads()} threads ({torch.backends.cpu.get_cpu_capability()})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="WIDTH/DEPTH/BATCH (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring, for each size")
    parser.add_argument("--compile", action="store_true", help="time both also with torch.compile on each block")
    parser.add_argument("--profile", action="store_true", help="also print where a step of STIV goes")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--threads", type=int, help="of the CPU")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    low = asked.precision == "bf16" or (asked.precision == "auto" and fast_bf16(device))
    place = Place(device, torch.bfloat16 if low else torch.float32)
    for size in map(Size.parse, asked.sizes):
        compare(size, place, asked.seconds, asked.compile)
        if asked.profile:
            show_profile(size, place, asked.compile)


if __name__ == "__main__":
    main()
