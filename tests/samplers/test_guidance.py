"""Laws of guidance, on an estimator that is told different things by text, by known frames and by z."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import pytest
import torch

from vitascope.choices import SOLVER_NAMES, GuidanceKind, KnownSlots
from vitascope.conditions import Conditions, TextFeatures
from vitascope.noise import Cosine, Estimate, Straight, from_noise, from_velocity, mix, velocity
from vitascope.samplers.guidance import (
    GUIDANCE,
    blank_guidance,
    joint_guidance,
    renormalised,
    separate_guidance,
    text_guidance,
    within,
)
from vitascope.samplers.solvers import KNOWN_SLOTS, SOLVERS, evolving, integrate, levels, renoised
from vitascope.types import generator_for

PATHS = [Straight(), Cosine()]


def draw(*shape: int, name: str = "") -> torch.Tensor:
    return torch.randn(shape, generator=generator_for(3, "guidance", name, *shape))


def text(num_samples: int, num_tokens: int, name: str) -> TextFeatures:
    real = torch.arange(num_tokens) < num_tokens - 1
    return TextFeatures(draw(num_samples, num_tokens, 3, name=name), real.expand(num_samples, -1), draw(num_samples, 3))


def conditions(num_samples: int = 2, num_frames: int = 3, known: tuple[int, ...] = (0,)) -> Conditions:
    mask = torch.tensor([frame in known for frame in range(num_frames)]).expand(num_samples, -1)
    frames = draw(num_samples, num_frames, 2, 2, 2, name="frames") * mask[:, :, None, None, None]
    return Conditions(mask, frames, text(num_samples, 5, "told"), text(num_samples, 2, "empty"), draw(num_samples, 6))


class Model:
    """Believes in a velocity that depends on everything it sees; counts how often it was asked."""

    def __init__(self, path=None):
        self.path, self.calls, self.rows = path or Straight(), 0, 0

    def __call__(self, z, level, cond):
        self.calls, self.rows = self.calls + 1, self.rows + len(z)
        z, real = cond.place(z), cond.text.mask[..., None]
        said = (cond.text.tokens * real).sum((1, 2)) / real.sum((1, 2))
        told = said + cond.text.pooled.sum(1) + cond.micro.sum(1)
        context = z.mean((1, 3, 4), keepdim=True) * (1 + cond.known.sum(1))[:, None, None, None, None]
        return from_velocity(self.path, torch.tanh(z + context + told[:, None, None, None, None]), z, level)


def same(one: Estimate, other: Estimate, atol: float = 1e-5) -> bool:
    return torch.allclose(one.clean, other.clean, atol=atol) and torch.allclose(one.noise, other.noise, atol=atol)


def equal(one: Estimate, other: Estimate) -> bool:
    return torch.equal(one.clean, other.clean) and torch.equal(one.noise, other.noise)


Z, LEVEL = draw(2, 3, 2, 2, 2, name="z"), torch.tensor([[0.6] * 3, [0.3] * 3])


def test_each_name_that_a_sampling_can_choose_stands_for_something_and_no_other_does():
    assert tuple(GUIDANCE) == get_args(GuidanceKind)
    assert tuple(KNOWN_SLOTS) == get_args(KnownSlots)
    assert tuple(SOLVERS) == SOLVER_NAMES


@pytest.mark.parametrize("name", list(GUIDANCE))
def test_scale_one_is_no_guidance_and_costs_one_pass(name):
    model, cond = Model(), conditions()
    guided = GUIDANCE[name](model, 1.0, 1.0)
    assert equal(guided(Z, LEVEL, cond), Model()(Z, LEVEL, cond))
    assert equal(renormalised(guided, model.path)(Z, LEVEL, cond), Model()(Z, LEVEL, cond))
    assert model.rows == 2 * len(Z)


@pytest.mark.parametrize(("name", "passes"), [("text", 2), ("joint", 2), ("separate", 3), ("blank", 2)])
def test_passes_share_one_call_and_equal_passes_made_apart(name, passes):
    model, cond = Model(), conditions()
    ends = renormalised(GUIDANCE[name](model, 4.0, 1.5), model.path)(Z, LEVEL, cond)
    assert (model.calls, model.rows) == (1, passes * len(Z))
    alone = [
        renormalised(GUIDANCE[name](Model(), 4.0, 1.5), model.path)(Z[i : i + 1], LEVEL[i : i + 1], only(cond, i))
        for i in range(len(Z))
    ]
    together = Estimate(torch.cat([one.clean for one in alone]), torch.cat([one.noise for one in alone]))
    assert same(ends, together)


def only(cond: Conditions, i: int) -> Conditions:
    def part(told: TextFeatures) -> TextFeatures:
        return TextFeatures(told.tokens[i : i + 1], told.mask[i : i + 1], told.pooled[i : i + 1])

    here = slice(i, i + 1)
    return Conditions(cond.known[here], cond.frames[here], part(cond.text), part(cond.empty_text), cond.micro[here])


def test_each_guidance_is_its_formula_on_frames_to_be_made():
    cond, made, plain = conditions(), ~conditions().known, Model()
    nothing, frames, full = (
        velocity(plain.path, plain(Z, LEVEL, told), LEVEL)
        for told in (cond.without(text=True, frames=True), cond.without(text=True), cond)
    )
    expected = {
        "text": frames + 4 * (full - frames),
        "joint": nothing + 4 * (full - nothing),
        "separate": nothing + 1.5 * (frames - nothing) + 4 * (full - frames),
    }
    for name, formula in expected.items():
        found = velocity(plain.path, GUIDANCE[name](Model(), 4.0, 1.5)(Z, LEVEL, cond), LEVEL)
        assert torch.allclose(found[made], formula[made], atol=1e-4), name


def test_without_known_frames_joint_and_separate_are_ordinary_guidance():
    cond = conditions(known=())
    ordinary = text_guidance(Model(), 5.0)(Z, LEVEL, cond)
    assert same(joint_guidance(Model(), 5.0)(Z, LEVEL, cond), ordinary)
    assert same(separate_guidance(Model(), 5.0, 2.0)(Z, LEVEL, cond), ordinary)


def test_guidance_away_from_blanks_knows_frames_in_both_passes_and_in_one_of_them_nothing_of_what_they_show():
    seen = []

    def looks(z, level, cond):
        seen.append(cond)
        return Model()(z, level, cond)

    cond = conditions()
    guided = blank_guidance(looks, 3.5)(Z, LEVEL, cond)
    (both,) = seen
    blank, full = both.known.chunk(2)
    assert torch.equal(blank, cond.known) and torch.equal(full, cond.known)
    assert not both.frames.chunk(2)[0].any() and torch.equal(both.frames.chunk(2)[1], cond.frames)
    weak = Model()(Z, LEVEL, replace(cond.without(text=True), frames=torch.zeros_like(cond.frames)))
    plain, unknown = Model()(Z, LEVEL, cond), ~cond.known[:, :, None, None, None]
    expected = weak.clean + 3.5 * (plain.clean - weak.clean)
    assert torch.allclose(guided.clean * unknown, expected * unknown, atol=1e-5)
    assert same(blank_guidance(Model(), 1.0)(Z, LEVEL, cond), plain)


def test_separate_guidance_holds_the_other_two():
    cond = conditions()
    assert equal(separate_guidance(Model(), 5.0, 1.0)(Z, LEVEL, cond), text_guidance(Model(), 5.0)(Z, LEVEL, cond))
    assert equal(separate_guidance(Model(), 5.0, 5.0)(Z, LEVEL, cond), joint_guidance(Model(), 5.0)(Z, LEVEL, cond))


@pytest.mark.parametrize("name", list(GUIDANCE))
def test_guidance_without_anything_to_tell_changes_nothing(name):
    cond = conditions(known=())
    cond = replace(cond, text=cond.empty_text)
    assert same(GUIDANCE[name](Model(), 7.5, 1.5)(Z, LEVEL, cond), Model()(Z, LEVEL, cond))


def test_known_slots_hold_the_estimate_of_the_forgetful_pass():
    cond = conditions()
    weak, guided = Model()(Z, LEVEL, cond.without(text=True, frames=True)), joint_guidance(Model(), 5.0)
    for ends in (guided(Z, LEVEL, cond), renormalised(guided, Straight())(Z, LEVEL, cond)):
        assert torch.allclose(ends.clean[cond.known], weak.clean[cond.known], atol=1e-6)
        assert torch.allclose(ends.noise[cond.known], weak.noise[cond.known], atol=1e-6)


@pytest.mark.parametrize("name", list(GUIDANCE))
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_guided_ends_still_mix_to_z_on_frames_to_be_made(path, name):
    cond = conditions()
    guided = GUIDANCE[name](Model(path), 6.0, 1.5)
    for ends in (guided(Z, LEVEL, cond), renormalised(guided, path)(Z, LEVEL, cond)):
        assert torch.allclose(mix(path, ends, LEVEL)[~cond.known], Z[~cond.known], atol=1e-4)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_guiding_velocities_noises_or_clean_videos_is_the_same(path):
    cond = conditions(known=())
    ends = text_guidance(Model(path), 6.0)(Z, LEVEL, cond)
    weak, strong = Model(path)(Z, LEVEL, cond.without(text=True)), Model(path)(Z, LEVEL, cond)
    by_velocity = velocity(path, weak, LEVEL) + 6 * (velocity(path, strong, LEVEL) - velocity(path, weak, LEVEL))
    assert same(ends, from_velocity(path, by_velocity, Z, LEVEL), atol=1e-4)
    assert same(ends, from_noise(path, weak.noise + 6 * (strong.noise - weak.noise), Z, LEVEL), atol=1e-4)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("scale", [0.5, 3.0, 20.0])
def test_renorm_keeps_the_direction_of_guidance_and_the_length_of_the_plain_velocity(path, scale):
    cond = conditions()
    made = ~cond.known
    guided = joint_guidance(Model(path), scale)
    before, after = (
        velocity(path, estimator(Z, LEVEL, cond), LEVEL)[made].unflatten(0, (2, -1)).flatten(1)
        for estimator in (guided, renormalised(guided, path))
    )
    plain = velocity(path, Model(path)(Z, LEVEL, cond), LEVEL)[made].unflatten(0, (2, -1)).flatten(1)
    assert torch.allclose(after.norm(dim=1), plain.norm(dim=1), rtol=1e-4)
    assert torch.allclose(torch.cosine_similarity(before, after), torch.ones(2), atol=1e-5)


def test_renorm_with_nothing_to_make_is_finite():
    cond = conditions(known=(0, 1, 2))
    ends = renormalised(joint_guidance(Model(), 5.0), Straight())(Z, LEVEL, cond)
    assert torch.isfinite(ends.clean).all()
    assert torch.isfinite(ends.noise).all()


@pytest.mark.parametrize(("low", "high"), [(0.7, 0.9), (0.0, 0.2)])
def test_outside_its_interval_guidance_is_one_plain_pass(low, high):
    model, cond = Model(), conditions()
    guided = renormalised(within(joint_guidance(model, 5.0), model, low, high), Straight())
    assert equal(guided(Z, LEVEL, cond), Model()(Z, LEVEL, cond))
    assert (model.calls, model.rows) == (1, len(Z))


def test_inside_its_interval_guidance_is_as_without_it():
    cond, always = conditions(), joint_guidance(Model(), 5.0)(Z, LEVEL, conditions())
    assert equal(within(joint_guidance(Model(), 5.0), Model(), 0.0, 1.0)(Z, LEVEL, cond), always)
    mixed = within(joint_guidance(Model(), 5.0), Model(), 0.5, 1.0)(Z, LEVEL, cond)  # the second sample is below it
    plain = Model()(Z, LEVEL, cond)
    assert torch.equal(mixed.clean[0], always.clean[0])
    assert torch.allclose(mixed.clean[1], plain.clean[1], atol=1e-5)


@pytest.mark.parametrize("name", list(SOLVERS))
@pytest.mark.parametrize("keep", [renoised, evolving])
def test_guidance_and_solvers_meet(name, keep):
    """Known frames out bit for bit, and the same sample whatever shares its batch."""
    cond, noise = conditions(), draw(2, 3, 2, 2, 2, name="noise")
    guided = renormalised(within(joint_guidance(Model(), 3.0), Model(), 0.0, 1.0), Straight())

    def sample(noise, cond, *numbers):
        rng = [generator_for(number) for number in numbers]
        return integrate(SOLVERS[name], Straight(), guided, noise, levels(4), cond, rng=rng, keep=keep)

    video = sample(noise, cond, 0, 1)
    assert torch.equal(video[cond.known], cond.frames[cond.known])
    assert torch.allclose(video[1:], sample(noise[1:], only(cond, 1), 1), atol=1e-4)


def test_both_rules_for_known_slots_show_the_forgetful_pass_what_they_promise():
    """Renoised: the given frame at this level. Evolving: what that pass alone would have made of the noise so far."""
    cond, noise, path, seen = conditions(), draw(2, 3, 2, 2, 2, name="noise"), Straight(), []

    class Watched(Model):
        def __call__(self, z, level, cond):
            seen.append((z[: len(noise)], level[: len(noise)]))
            return super().__call__(z, level, cond)

    integrate(SOLVERS["heun"], path, joint_guidance(Watched(), 3.0), noise, levels(6), cond, keep=renoised)
    for z, level in seen:
        assert torch.equal(z[cond.known], mix(path, Estimate(cond.frames, noise), level)[cond.known])

    seen.clear()
    integrate(SOLVERS["euler"], path, joint_guidance(Watched(), 3.0), noise, levels(6), cond, keep=evolving)
    for (z, level), (after, later) in pairwise(seen):
        weak = Model()(z, level, cond.without(text=True, frames=True))
        assert torch.allclose(after[cond.known], mix(path, weak, later)[cond.known], atol=1e-5)
