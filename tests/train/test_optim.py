"""Laws of optimizers, of the learning rate's course and of the moving average."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vitascope.train.muon import MuonConfig
from vitascope.train.optim import AdafactorConfig, AdamWConfig, MovingAverage, warmup_then_decay

SHAPES = ((), (7,), (4, 6), (3, 2, 5), (4, 3, 3, 3))


def parameter(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def gradients(*shape: int, steps: int = 5) -> list[Tensor]:
    return list(torch.randn((steps, *shape), generator=torch.Generator().manual_seed(1)))


def descend(optimizer: torch.optim.Optimizer, weight: nn.Parameter, steps: list[Tensor]) -> Tensor:
    for gradient in steps:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


def exact(weight: Tensor, steps: list[Tensor], rate: float, config: AdafactorConfig) -> Tensor:
    """The same rule with the whole second moment kept: what factoring approximates."""
    moment, momentum = torch.zeros_like(weight), torch.zeros_like(weight)
    for number, gradient in enumerate(steps, start=1):
        moment = config.beta2 * moment + (1 - config.beta2) * gradient**2
        update = gradient / (moment / (1 - config.beta2**number)).sqrt()
        update = update / max(1.0, float(update.square().mean().sqrt()) / config.clip_update)
        momentum = config.beta1 * momentum + (1 - config.beta1) * update
        weight = weight - rate * momentum
    return weight


@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_step_is_that_of_torchs_adafactor(shape: tuple[int, ...]) -> None:
    ours, theirs, steps = parameter(*shape), parameter(*shape), gradients(*shape, steps=1)
    config = AdafactorConfig(beta1=0.0, scale_by_parameter=True)
    got = descend(config.build(nn.ParameterList([ours]), 0.01), ours, steps)
    wanted = descend(torch.optim.Adafactor([theirs], lr=0.01, weight_decay=0.0), theirs, steps)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("shape", [(7,), (4, 6)])
def test_the_second_moment_is_exact_for_vectors_and_for_gradients_of_rank_one(shape: tuple[int, ...]) -> None:
    weight, config = parameter(*shape), AdafactorConfig(clip_update=0.5)
    rank_one = torch.ones(4, 1) * torch.arange(
        1.0, 7.0
    )  # the same in all steps, as sums of rank one are not of rank one
    steps = gradients(*shape) if len(shape) == 1 else [sign * rank_one for sign in (1.0, -0.5, 2.0)]
    wanted = exact(weight.detach().clone(), steps, 0.1, config)
    torch.testing.assert_close(descend(config.build(nn.ParameterList([weight]), 0.1), weight, steps), wanted)


def test_memory_of_a_matrix_is_a_row_and_a_column() -> None:
    weight = parameter(40, 60)
    optimizer = AdafactorConfig().build(nn.ParameterList([weight]), 0.1)
    descend(optimizer, weight, gradients(40, 60, steps=1))
    state = optimizer.state[weight]
    assert state["row"].numel() + state["column"].numel() == 100


@pytest.mark.parametrize("clip", [0.1, 1.0])
def test_no_update_is_longer_than_the_clip(clip: float) -> None:
    weight = parameter(20, 30)
    before = weight.detach().clone()
    config = AdafactorConfig(beta1=0.0, clip_update=clip)
    calm = [0.01 * gradient for gradient in gradients(20, 30, steps=20)]
    optimizer = config.build(nn.ParameterList([weight]), 1.0)
    before = descend(optimizer, weight, calm).clone()
    after = descend(optimizer, weight, [torch.full((20, 30), 1e4)])  # a shock
    assert (after - before).square().mean().sqrt() <= clip * 1.0001


@pytest.mark.parametrize("config", [AdafactorConfig(), AdamWConfig(), MuonConfig()])
def test_rows_and_columns_that_never_have_a_gradient_stay_among_others_that_move(
    config: AdafactorConfig | AdamWConfig | MuonConfig,
) -> None:
    weight = parameter(64, 80)
    before = weight.detach().clone()
    steps = gradients(64, 80, steps=20)
    for gradient in steps:
        gradient[:3], gradient[:, 5:9] = 0, 0
    after = descend(config.build(nn.ParameterList([weight]), 0.01), weight, steps)
    assert after.isfinite().all() and not torch.equal(after, before)
    assert torch.equal(after[:3, 5:9], before[:3, 5:9])


@pytest.mark.parametrize("shape", [(6, 8), (64, 80)])  # the larger one is a hidden matrix to Muon
@pytest.mark.parametrize("config", [AdafactorConfig(), AdamWConfig(), MuonConfig()])
def test_a_restored_optimizer_goes_on_bit_for_bit(
    config: AdafactorConfig | AdamWConfig | MuonConfig, shape: tuple[int, int]
) -> None:
    steps = gradients(*shape, steps=6)
    whole = parameter(*shape)
    wanted = descend(config.build(nn.ParameterList([whole]), 0.1), whole, steps)
    half = parameter(*shape)
    first = config.build(nn.ParameterList([half]), 0.1)
    descend(first, half, steps[:3])
    second = config.build(nn.ParameterList([half]), 0.1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(descend(second, half, steps[3:]), wanted)


def test_weights_without_gradient_stay() -> None:
    weight = parameter(3, 3)
    before = weight.detach().clone()
    AdafactorConfig().build(nn.ParameterList([weight]), 1.0).step()
    assert torch.equal(weight, before)


def test_the_rate_warms_up_then_stays_then_falls_to_nothing() -> None:
    rates = [warmup_then_decay(step, step / 1000, warmup_steps=100, decay_share=0.3) for step in range(1001)]
    assert rates[0] == 0.01
    assert rates == sorted(rates[:500]) + sorted(rates[500:], reverse=True)
    assert set(rates[100:700]) == {1.0}
    assert rates[850] == pytest.approx(0.5)
    assert rates[1000] == 0
    assert warmup_then_decay(5, 1.5, 0, 0.3) == 0  # time is up: never negative
    assert warmup_then_decay(5, 1.0, 0, 0.0) == 1  # no decay wanted


def test_a_young_average_is_near_the_weights_and_an_old_one_forgets_at_its_decay() -> None:
    module = nn.Linear(1, 1, bias=False)
    module.register_buffer("seen", torch.zeros((), dtype=torch.long))
    nn.init.zeros_(module.weight)
    average = MovingAverage(module, decay=0.9)
    nn.init.ones_(module.weight)
    average.update(module)
    assert average.weights["weight"].item() == pytest.approx(9 / 11)  # decay (1 + n) / (10 + n) at first
    for _ in range(100):
        module.seen += 1
        average.update(module)
    assert average.weights["weight"].item() == pytest.approx(1)
    nn.init.constant_(module.weight, 2)
    average.update(module)
    assert average.weights["weight"].item() == pytest.approx(1.1)  # now at the decay that was asked for
    assert average.weights["seen"] == 100  # what is no number of floating point is copied
