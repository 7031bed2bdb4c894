"""Which of this machine's devices work runs on."""

from __future__ import annotations

import torch

from vitascope.errors import UserError, first_line


def usual_device(name: str | None = None) -> str:
    """The device of that name, if this machine has it; by default the GPU where there is one."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch without CUDA asserts
        raise UserError(
            f"the device must be one that torch can use here, such as cpu, cuda or cuda:1, got '{name}' "
            f"({first_line(error)}); 'vitascope doctor' says what there is"
        ) from None
    return name


def fast_bf16(device: torch.device) -> bool:
    """GPUs since Ampere and CPUs with AVX-512 bf16 or AMX multiply bf16 faster than fp32; other CPUs emulate it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
