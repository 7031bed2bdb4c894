"""Laws of flow matching: what the network is shown, what it is asked, and what its answer means."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vitascope.conditions import Conditions, TextFeatures
from vitascope.noise import mix
from vitascope.objectives.flow import FlowConfig, FlowMatching
from vitascope.protocols import Objective
from vitascope.types import generator_for

B, T, C, H, W = 3, 4, 2, 4, 4
FLOW = FlowConfig().build()


class Network(nn.Module):
    """Answers `reply(z, level)`, and remembers what it was shown."""

    channels, text_width, patch, width, hides_tokens = C, 3, (1, 1), 8, True

    def __init__(self, reply=lambda z, level: torch.zeros_like(z)) -> None:
        super().__init__()
        self.blocks, self.reply, self.shown = nn.ModuleList(), reply, []

    def forward(self, z, level, cond, visible=None):
        self.shown.append((z, level, visible))
        return self.reply(z, level)


def draw(*shape: int, name: str = "") -> Tensor:
    return torch.randn(shape, generator=generator_for(0, "flow", name, *shape))


def conditions(known: tuple[int, ...] = (), b: int = B) -> Conditions:
    mask = torch.tensor([t in known for t in range(T)]).expand(b, -1)
    text = TextFeatures(draw(b, 2, 3), torch.ones(b, 2, dtype=torch.bool), draw(b, 3))
    return Conditions(mask, draw(b, T, C, H, W, name="given") * mask[:, :, None, None, None], text, text, draw(b, 6))


def loss(network: Network, clean: Tensor, cond: Conditions, flow: FlowMatching = FLOW, visible=None) -> float:
    return flow.loss(network, clean, cond, generator_for(0, "draws"), visible).total.item()


def noise_shown(network: Network, clean: Tensor) -> Tensor:
    """The noise in what the network was shown last."""
    z, level, _ = network.shown[-1]
    level = level[:, :, None, None, None]
    return (z - (1 - level) * clean) / level


def test_it_is_an_objective():
    assert isinstance(FLOW, Objective)


def test_the_network_sees_a_straight_mixture_and_is_asked_for_noise_minus_clean():
    clean = draw(B, T, C, H, W)
    watch = Network()
    loss(watch, clean, conditions())
    wanted = noise_shown(watch, clean) - clean
    assert loss(Network(lambda z, level: wanted), clean, conditions()) == pytest.approx(0, abs=1e-6)
    assert loss(watch, clean, conditions()) == pytest.approx(wanted.square().mean().item(), rel=1e-3)


def test_in_the_papers_words_time_is_one_minus_level_and_the_answer_points_from_data_to_noise():
    """STIV: x_t = t x_1 + (1 - t) eps and F = x_1 - eps, with data at t = 1."""
    clean = draw(B, T, C, H, W)
    watch = Network()
    loss(watch, clean, conditions())
    z, level, _ = watch.shown[0]
    t, eps = (1 - level)[:, :, None, None, None], noise_shown(watch, clean)
    torch.testing.assert_close(z, t * clean + (1 - t) * eps)
    assert loss(Network(lambda z, level: -(clean - eps)), clean, conditions()) == pytest.approx(0, abs=1e-6)


def test_known_frames_are_shown_as_they_are_and_the_others_noisy():
    clean, cond = draw(B, T, C, H, W), conditions(known=(0, 2))
    watch = Network()
    loss(watch, clean, cond)
    z = watch.shown[0][0]
    assert torch.equal(z[:, [0, 2]], cond.frames[:, [0, 2]])
    assert not torch.isclose(z[:, [1, 3]], clean[:, [1, 3]]).all((2, 3, 4)).any()


@pytest.mark.parametrize("what", ["the answer", "the target"])
def test_known_frames_do_not_count(what):
    clean, cond = draw(B, T, C, H, W), conditions(known=(0, 2))
    elsewhere = torch.zeros(B, T, C, H, W)
    elsewhere[:, [0, 2]] = 99
    plain = loss(Network(), clean, cond)
    if what == "the answer":
        assert loss(Network(lambda z, level: elsewhere), clean, cond) == plain
    else:
        assert loss(Network(), clean + elsewhere, cond) == plain
    assert loss(Network(), clean + elsewhere.roll(1, 1), cond) != plain


def test_the_loss_is_a_mean_over_what_is_to_be_made():
    """It is the mean of the error over unknown frames: not watered down by the known ones."""
    clean, cond = draw(B, T, C, H, W), conditions(known=(0, 1, 2))
    watch = Network()
    loss(watch, clean, conditions())
    wanted = noise_shown(watch, clean) - clean
    assert loss(Network(), clean, cond) == pytest.approx(wanted[:, 3].square().mean().item(), rel=1e-3)


def test_a_clip_of_which_all_is_known_costs_nothing():
    assert loss(Network(), draw(B, T, C, H, W), conditions(known=(0, 1, 2, 3))) == 0


def test_hidden_cells_do_not_count_and_the_network_is_told_which_they_are():
    clean, cond = draw(B, T, C, H, W), conditions(known=(0,))
    visible = torch.zeros(B, H, W, dtype=torch.bool)
    visible[:, :2] = True
    beside, within = torch.zeros(B, T, C, H, W), torch.zeros(B, T, C, H, W)
    beside[:, :, :, 2:], within[:, :, :, :2] = 99, 99
    watch = Network()
    plain = loss(watch, clean, cond, visible=visible)
    assert torch.equal(watch.shown[0][2], visible)
    assert loss(Network(lambda z, level: beside), clean, cond, visible=visible) == plain
    assert loss(Network(lambda z, level: within), clean, cond, visible=visible) > plain


@pytest.mark.parametrize("mean, spread", [(0.0, 1.0), (0.8, 0.5)])
def test_levels_are_logit_normal_and_one_to_a_clip(mean, spread):
    flow, watch, b = FlowConfig(mean=mean, spread=spread).build(), Network(), 4000
    flow.loss(watch, torch.zeros(b, T, C, 1, 1), replace_size(conditions(b=b)), generator_for(0, "levels"))
    level = watch.shown[0][1]
    assert torch.equal(level, level[:, :1].expand(b, T))
    drawn = torch.logit(level[:, 0])
    assert drawn.mean().item() == pytest.approx(mean, abs=5 * spread / b**0.5)
    assert drawn.std().item() == pytest.approx(spread, rel=0.06)
    third = torch.distributions.Normal(0.0, 1.0).cdf(((drawn - mean) / spread).sort().values)
    assert (third - torch.linspace(0, 1, b)).abs().max() < 1.95 / b**0.5  # Kolmogorov and Smirnov, 0.1 percent


def replace_size(cond: Conditions) -> Conditions:
    return replace(cond, frames=cond.frames[..., :1, :1])


def test_the_same_generator_gives_the_same_loss():
    clean = draw(B, T, C, H, W)
    one, same, other = (
        FLOW.loss(Network(), clean, conditions(), generator_for(0, name)).total for name in ("a", "a", "b")
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_lesson_leaves_its_material_as_it_was():
    clean, cond = draw(B, T, C, H, W), conditions(known=(0,))
    frames = cond.frames.clone()
    loss(Network(), clean, cond)
    assert torch.equal(clean, draw(B, T, C, H, W))
    assert torch.equal(cond.frames, frames)


@pytest.mark.parametrize("known", [(), (0,), (0, 3)])
def test_the_ends_of_an_estimate_mix_back_to_what_was_asked_about(known):
    """At any level of each frame, whatever the network answers, and in known frames too."""
    z, level = draw(B, T, C, H, W), torch.rand(B, T, generator=generator_for(0))
    ends = FLOW.estimate(Network(lambda z, level: torch.sin(3 * z)), z, level, conditions(known))
    torch.testing.assert_close(mix(FLOW.path, ends, level), z)


def test_an_estimate_reads_the_answer_as_noise_minus_clean_and_shows_known_frames():
    z, level, cond, watch = (
        draw(B, T, C, H, W),
        torch.full((B, T), 0.3),
        conditions((1,)),
        Network(lambda z, level: torch.ones_like(z)),
    )
    ends = FLOW.estimate(watch, z, level, cond)
    torch.testing.assert_close(ends.noise - ends.clean, torch.ones_like(z))
    assert torch.equal(watch.shown[0][0], cond.place(z))


def test_a_network_that_knows_the_answer_finds_clean_and_noise_from_any_level():
    clean, noise = draw(B, T, C, H, W, name="clean"), draw(B, T, C, H, W, name="noise")
    for amount in (0.0, 0.25, 1.0):
        level = torch.full((B, T), amount)
        z = (1 - amount) * clean + amount * noise
        ends = FLOW.estimate(Network(lambda z, level: noise - clean), z, level, conditions())
        torch.testing.assert_close(ends.clean, clean)
        torch.testing.assert_close(ends.noise, noise)


def test_frames_may_be_left_in_their_noise_and_then_be_asked_for_too():
    clean, known = draw(B, T, C, H, W), conditions(known=(0,))
    plain, hidden = Network(), Network()
    loss(plain, clean, known)
    loss(hidden, clean, known, flow=FlowConfig(place_known=False).build())
    torch.testing.assert_close(plain.shown[-1][0][:, 0], known.frames[:, 0])
    torch.testing.assert_close(plain.shown[-1][0][:, 1:], hidden.shown[-1][0][:, 1:])
    assert not torch.allclose(hidden.shown[-1][0][:, 0], known.frames[:, 0])
    wanted = noise_shown(hidden, clean) - clean
    off = torch.cat([wanted[:, :1] + 1, wanted[:, 1:]], 1)  # wrong in the known frame alone
    for known_loss, expected in ((False, 0.0), (True, 1 / T)):
        flow = FlowConfig(place_known=False, known_loss=known_loss).build()
        assert loss(Network(lambda z, level: off), clean, known, flow=flow) == pytest.approx(expected, abs=1e-5)
