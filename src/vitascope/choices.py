"""What a sampling can choose by name. What a name stands for is in `samplers`: `--help` need not wait for torch."""

from __future__ import annotations

from typing import Literal

GuidanceKind = Literal["joint", "text", "separate", "blank"]  # STIV: JIT-CFG, CFG, SIT-CFG, and that of appendix J.3
KnownSlots = Literal["renoised", "evolving"]
Precision = Literal["fp32", "bf16"]
SOLVER_NAMES = ("euler", "heun", "dpmpp", "unipc", "sde")
