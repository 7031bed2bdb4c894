"""What this machine has, what is missing, and what to type."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import torch
from rich.console import Console
from rich.table import Table

from vitascope.errors import install

EXTRAS = {
    "data": ("pyarrow",),
    "hub": ("diffusers", "transformers", "accelerate", "sentencepiece", "protobuf", "ftfy"),
    "track": ("tensorboard",),
    "flow": ("opencv-python-headless",),
    "plot": ("matplotlib",),
    "curate": ("opencv-python-headless", "pyarrow"),
    "ray": ("fsspec", "pandas", "pyarrow", "ray"),
}
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One fact about the machine; `advice` is empty where nothing needs to be done."""

    name: str
    value: str
    advice: str = ""


def report() -> list[Finding]:
    """Everything that matters for making and training videos here; takes a second or two."""
    return [finding for part in (_software, _processor, _memory, _accelerator, _extras) for finding in part()]


def print_report(more: Iterable[Finding] = ()) -> None:
    """The report and what others found as a table, what to do at its end."""
    findings = [*report(), *more]
    table = Table("", "here", box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(f"[yellow]{finding.name}[/]" if finding.advice else finding.name, finding.value)
    console = Console()
    console.print(table)
    for finding in findings:
        if finding.advice:
            console.print(f"[yellow]{finding.name}:[/] {finding.advice}", soft_wrap=True)


def _software() -> Iterator[Finding]:
    yield Finding("vitascope", importlib.metadata.version("vitascope"))
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("torch", torch.__version__)
    try:
        av.codec.Codec("libx264", "w")
    except ValueError:
        advice = f"no mp4 can be written; {_pip('av')}"
        yield Finding("video", f"PyAV {av.__version__} without libx264", advice)
    else:
        yield Finding("video", f"PyAV {av.__version__} with libx264")
    if _installed("torchvision"):
        version = importlib.metadata.version("torchvision")
        remove = f"{shlex.quote(sys.executable)} -m pip uninstall torchvision"
        why = "not used here, and where it does not match torch it breaks transformers and diffusers"
        yield Finding("torchvision", version, f"{why}: {remove}")


def _processor() -> Iterator[Finding]:
    num, threads = cores(), torch.get_num_threads()
    low = f"torch uses {threads} of {num} cores: unset OMP_NUM_THREADS for more speed" if threads < num else ""
    yield Finding("cores", f"{num}, torch uses {threads}", low)
    capabilities = torch.cpu.get_capabilities()
    useful = ("avx2", "avx512_f", "avx512_bf16", "avx512_fp16", "amx_bf16", "neon", "sve", "bf16")
    present = [name for name in useful if capabilities.get(name)]
    yield Finding("processor", f"{capabilities.get('cpu_name', platform.processor())}: {' '.join(present) or 'plain'}")
    yield Finding("matrix products", compared(_matrix_speed(torch.float32), _matrix_speed(torch.bfloat16)))
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        yield Finding("compiler", "none", "training with compile=true needs a C++ compiler: install g++ or clang")


def compared(single: float, half: float) -> str:
    """Which of two speeds of matrix products, in FLOP/s, to compute with."""
    better = f"bf16 pays: {half / single:.1f}x" if half > 1.1 * single else "bf16 does not pay: compute in fp32"
    return f"fp32 {single / 1e9:.0f}, bf16 {half / 1e9:.0f} GFLOP/s; {better}"


def _memory() -> Iterator[Finding]:
    free = available_memory()
    low = "less than 2 GiB free: close something, or make shorter and smaller videos" if free < 2 * GIB else ""
    yield Finding("memory", f"{free / GIB:.1f} GiB free", low)
    disk = shutil.disk_usage(".").free
    low = "less than 2 GiB free: a training run keeps checkpoints; free some or use --out elsewhere"
    yield Finding("disk", f"{disk / GIB:.1f} GiB free here", low if disk < 2 * GIB else "")


def _accelerator() -> Iterator[Finding]:
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        yield Finding(f"GPU {number}", f"{name}, {free / GIB:.0f} of {total / GIB:.0f} GiB free")
    if not torch.cuda.is_available():
        if torch.backends.mps.is_available():
            yield Finding("GPU", "Apple (mps)")
        elif shutil.which("nvidia-smi"):
            # The version only: "+cpu" would ask for the same build again.
            advice = f"this torch cannot use it; {_pip('torch==' + torch.__version__.partition('+')[0])}"
            yield Finding("GPU", "NVIDIA driver found", advice)
        else:
            yield Finding("GPU", "none: everything runs on the processor")


def _extras() -> Iterator[Finding]:
    for extra, names in EXTRAS.items():
        missing = [name for name in names if not _installed(name)]
        advice = f"optional; {install(extra)}" if missing else ""
        yield Finding(f"extra '{extra}'", f"missing: {', '.join(missing)}" if missing else "installed", advice)


def available_memory() -> int:
    """Bytes that can still be used, within the limit of a container; the cache of files counts as free."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: all there is, or no limit where even that is not said
        known = hasattr(os, "sysconf")
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if known else 2**62
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cache = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, ValueError, KeyError):  # no container, or "max"
        return free
    return min(free, limit - used + int(cache))


def cores() -> int:
    """Those that this process may use, where the system tells; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _matrix_speed(dtype: torch.dtype, *, width: int = 512, seconds: float = 0.3) -> float:
    """Operations a second of a square matrix product, the best of those that fit into `seconds`."""
    left = torch.ones(width, width, dtype=dtype)
    begun, best = time.perf_counter(), float("inf")
    while best == float("inf") or time.perf_counter() - begun < seconds:
        before = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - before)
    return 2 * width**3 / best


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _pip(name: str) -> str:
    """What to type for another build of a package, with the Python that is running, whatever its path."""
    return shlex.join([sys.executable, "-m", "pip", "install", "--force-reinstall", name])
