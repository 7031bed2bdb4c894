"""Laws of the diffusion loss and of Stable Diffusion's schedule on which it is taken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vitascope.conditions import Conditions, TextFeatures
from vitascope.noise import Estimate, ScaledLinear, mix
from vitascope.objectives.diffusion import DiffusionConfig
from vitascope.protocols import Objective
from vitascope.types import generator_for

DIFFUSION = DiffusionConfig().build()
PATH = DIFFUSION.path
B, T = 3, 4


class Network(nn.Module):
    """Answers `reply(z, level)`, and remembers what it was shown."""

    channels, text_width, patch, width, hides_tokens = 2, 3, (1, 1), 8, True

    def __init__(self, reply=lambda z, level: torch.zeros_like(z)) -> None:
        super().__init__()
        self.blocks, self.reply, self.shown = nn.ModuleList(), reply, []

    def forward(self, z, level, cond, visible=None):
        self.shown.append((z, level))
        return self.reply(z, level)


def draw(*shape: int, name: str = "") -> Tensor:
    return torch.randn(shape, generator=generator_for(0, "diffusion", name, *shape))


def conditions(known: tuple[int, ...] = ()) -> Conditions:
    mask = torch.tensor([t in known for t in range(T)]).expand(B, -1)
    text = TextFeatures(draw(B, 2, 3), torch.ones(B, 2, dtype=torch.bool), draw(B, 3))
    return Conditions(mask, draw(B, T, 2, 4, 4) * mask[:, :, None, None, None], text, text, draw(B, 6))


def loss(network: Network, clean: Tensor, cond: Conditions) -> float:
    return DIFFUSION.loss(network, clean, cond, generator_for(0, "draws")).total.item()


def noise_in(network: Network, clean: Tensor) -> Tensor:
    """The noise in what the network was shown last."""
    z, level = network.shown[-1]
    alpha, sigma = (one[:, :, None, None, None] for one in (PATH.alpha(level), PATH.sigma(level)))
    return (z - alpha * clean) / sigma


def test_it_is_an_objective() -> None:
    assert isinstance(DIFFUSION, Objective)


def test_the_schedule_is_stable_diffusions() -> None:
    """Of its thousand betas, whose roots are spaced evenly from 0.00085 to 0.012, the product of 1 - beta."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    left = (1 - betas).cumprod(0)
    ours = PATH.alpha(torch.arange(1, 1001, dtype=torch.float64)[None] / 1000)[0] ** 2
    torch.testing.assert_close(ours, left, rtol=0.03, atol=1e-4)


def test_it_keeps_variance_and_its_slopes_are_derivatives() -> None:
    level = torch.tensor([[0.02, 0.3, 0.5, 0.9, 1.0]], dtype=torch.float64, requires_grad=True)
    alpha, sigma = PATH.alpha(level), PATH.sigma(level)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(level))
    for value, slope in zip((alpha, sigma), PATH.slopes(level), strict=True):
        torch.testing.assert_close(torch.autograd.grad(value.sum(), level, retain_graph=True)[0], slope)


def test_the_network_is_asked_for_the_noise_of_the_frames_to_be_made() -> None:
    clean, watch = draw(B, T, 2, 4, 4, name="clean"), Network()
    blind = loss(watch, clean, conditions())
    noise = noise_in(watch, clean)
    assert blind == pytest.approx(noise.square().mean().item(), rel=1e-3)
    assert loss(Network(lambda z, level: noise), clean, conditions()) == pytest.approx(0, abs=1e-6)
    # Known frames arrive clean, and what is answered there does not count.
    cond = conditions(known=(0,))
    wrong_there = torch.cat([torch.full_like(noise[:, :1], 9.0), noise[:, 1:]], 1)
    told = Network(lambda z, level: wrong_there)
    assert loss(told, clean, cond) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(told.shown[-1][0][:, 0], cond.frames[:, 0])


@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_who_knows_the_noise_knows_the_clean_video(level: float) -> None:
    ends, levels = (
        Estimate(draw(B, T, 2, 4, 4, name="clean"), draw(B, T, 2, 4, 4, name="noise")),
        torch.full((B, T), level),
    )
    z = mix(PATH, ends, levels)
    found = DIFFUSION.estimate(Network(lambda z, level: ends.noise), z, levels, conditions())
    torch.testing.assert_close(found.clean, ends.clean, atol=1e-4, rtol=1e-4)


def test_even_the_noisiest_level_holds_some_of_the_video() -> None:
    assert ScaledLinear(0.00085, 0.012, 1000.0).alpha(torch.ones(1, 1)).item() == pytest.approx(0.068, abs=0.001)
