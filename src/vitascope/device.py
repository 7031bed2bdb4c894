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
