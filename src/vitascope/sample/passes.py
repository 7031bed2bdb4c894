"""How often sampling asks a backbone, found by asking the real guidance and the real solver with an empty one."""

from __future__ import annotations

import torch
from torch import Tensor

from vitascope.conditions import MICRO, Conditions, TextFeatures
from vitascope.noise import Estimate
from vitascope.noise import Path as NoisePath
from vitascope.sample.latents import guided
from vitascope.samplers.solvers import SOLVERS, integrate, levels
from vitascope.system import Defaults, Rules
from vitascope.types import generator_for


class Empty:
    """An estimator that makes nothing of anything, and remembers how many passes each call stacks."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, z: Tensor, level: Tensor, cond: Conditions) -> Estimate:
        self.calls.append(len(z))
        return Estimate(z, z)


NOTHING = torch.zeros(1, 1, 1, 1, 1)
"""A video of one number."""


def passes_at_once(rules: Rules, guidance: float, path: NoisePath) -> int:
    """Passes of one video that a call of the backbone stacks at a level at which guidance acts."""
    empty = Empty()
    level = torch.full((1, 1), rules.guidance_interval[1])
    guided(empty, path, rules, guidance)(NOTHING, level, _of_nothing())
    return max(empty.calls)


def passes_in_all(defaults: Defaults, path: NoisePath) -> int:
    """Passes of one video from noise to clean latents, by a model's own choice of steps, guidance and solver."""
    empty = Empty()
    walk, estimate = levels(defaults.steps, defaults.level_shift), guided(empty, path, defaults, defaults.guidance)
    rng = [generator_for(0, "passes")]
    integrate(SOLVERS[defaults.solver], path, estimate, NOTHING, walk, _of_nothing(), rng=rng)
    return sum(empty.calls)


def _of_nothing() -> Conditions:
    text = TextFeatures(torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1))
    return Conditions(torch.zeros(1, 1, dtype=torch.bool), NOTHING, text, text, torch.zeros(1, len(MICRO)))
