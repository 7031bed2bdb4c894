"""What a run can be planned for: GPUs by their data sheets, and this machine's processor by measurement."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import torch

from vitascope.config import nearest
from vitascope.device import fast_bf16
from vitascope.doctor import available_memory
from vitascope.types import UserError

GIB = 2**30
SPARE = 0.08
"""Share of a GPU's memory left to the driver, the libraries and the holes between tensors (assumed)."""


@dataclass(frozen=True)
class Device:
    """Dense rates without sparsity, in FLOP/s. `utilisation` is the share of them that a training step reaches."""

    name: str
    memory_gib: float
    bf16: float
    fp32: float
    utilisation: float
    is_gpu: bool = True

    @property
    def usable_bytes(self) -> float:
        return self.memory_gib * GIB * ((1 - SPARE) if self.is_gpu else 1)

    def rate(self, precision: str) -> float:
        """FLOP/s that a step is assumed to reach."""
        return self.utilisation * (self.bf16 if precision == "bf16" else self.fp32)

    def precision(self, wanted: str) -> str:
        """What `auto` means here."""
        return ("bf16" if self.bf16 > self.fp32 else "fp32") if wanted == "auto" else wanted


def gpu(name: str, memory_gib: float, bf16_tera: float, fp32_tera: float) -> Device:
    """Assumed: 0.4 of the peak, the middle of what is reported for large transformers; not measured here."""
    return Device(name, memory_gib, bf16_tera * 1e12, fp32_tera * 1e12, utilisation=0.4)


def processor(seconds: float = 5.0) -> Device:
    """This machine's processor: the best rate of matrix products of the shapes that blocks have."""
    able = fast_bf16(torch.device("cpu"))
    single = measured(torch.float32, seconds / 2 if able else seconds)
    half = measured(torch.bfloat16, seconds / 2) if able else single
    return Device("cpu", available_memory() / GIB, half, single, utilisation=CPU_UTILISATION, is_gpu=False)


CPU_UTILISATION = 0.5
"""Norms, rotations and the optimizer take as long as the products at the widths that a processor can train."""


def measured(dtype: torch.dtype, seconds: float) -> float:
    """FLOP/s of matrix products, the best of all tries: what other programs take away is not the machine's rate."""
    shapes = [(2048, 192, 768), (2048, 768, 192), (1024, 1024, 1024)]
    best = 0.0
    for rows, inner, columns in shapes:
        left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
        left @ right  # the first one is slower
        begun = time.perf_counter()
        while (before := time.perf_counter()) - begun < seconds / len(shapes):
            left @ right
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - before))
    return best


GPUS = (  # memory as the driver reports it; bf16 with fp32 sums and no sparsity, and fp32 without tensor cores
    gpu("rtx3090", 24.0, 71.0, 35.6),
    gpu("rtx4090", 24.0, 165.0, 82.6),
    gpu("l4", 22.0, 121.0, 30.3),
    gpu("l40s", 45.0, 362.0, 91.6),
    gpu("a100-40gb", 40.0, 312.0, 19.5),
    gpu("a100", 80.0, 312.0, 19.5),
    gpu("h100", 80.0, 989.0, 67.0),
    gpu("h200", 140.0, 989.0, 67.0),
    gpu("b200", 179.0, 2250.0, 75.0),
)
DEVICES = {one.name: one for one in GPUS}
VARIANTS = {"ti", "super", "d", "laptop", "max", "mig"}
"""Words by which a driver tells another GPU, or a part of one, from that of the same name."""


def gpu_called(told: str) -> str | None:
    """The name that a GPU has here, of what its driver calls it, such as "NVIDIA GeForce RTX 4090"; None: it has none.

    Of those whose parts are all words of that name it is the one of most parts: an A100 of 40 GB is no other one.
    """
    words = set(re.split(r"[^a-z0-9]+", told.lower()))
    parts = {name: re.findall(r"rtx|[^-]+", name) for name in DEVICES}
    fitting = [name for name in DEVICES if words.issuperset(parts[name]) and not words & VARIANTS]
    return max(fitting, key=lambda name: len(parts[name]), default=None)


def device(name: str) -> Device:
    """The device of a name, `cpu` measured at once; an unknown one is an error that lists those known."""
    if name.lower() == "cpu":
        return processor()
    if name.lower() not in DEVICES:
        known = ["cpu", *DEVICES]
        near = f"; {said}" if (said := nearest(name.lower(), known)).startswith("did you") else ""
        raise UserError(f"--gpu: '{name}' is not known; known are {', '.join(known)}{near}")
    return DEVICES[name.lower()]
