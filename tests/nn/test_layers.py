"""Laws of norms, modulation and embedders of numbers."""

from __future__ import annotations

import pytest
import torch

from vitascope.nn.layers import FeedForward, NumberEmbedder, modulate, rms_norm, sinusoids, stateless_norm
from vitascope.types import generator_for


def draw(*shape: int, name: str = "") -> torch.Tensor:
    return torch.randn(shape, generator=generator_for(0, "layers", name, *shape))


def test_a_normed_vector_has_mean_zero_and_variance_one():
    y = stateless_norm(3 * draw(5, 7, 64) + 2)
    torch.testing.assert_close(y.mean(-1), torch.zeros(5, 7), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(5, 7), atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", [0.01, 1.0, 1000.0])
def test_norms_forget_the_scale_of_what_they_norm(factor):
    x, ones = draw(6, 64), torch.ones(64)
    torch.testing.assert_close(stateless_norm(factor * x), stateless_norm(x), atol=0.02, rtol=0)
    torch.testing.assert_close(rms_norm(factor * x, ones), rms_norm(x, ones), atol=0.02, rtol=0)
    torch.testing.assert_close(rms_norm(factor * x, ones).square().mean(-1), torch.ones(6), atol=0.02, rtol=0)


def test_rms_norm_agrees_with_torch_in_values_and_gradients():
    mine, theirs = draw(3, 5, 16).requires_grad_(), draw(3, 5, 16).requires_grad_()
    scale = 1 + 0.1 * draw(16, name="scale")
    weights = draw(3, 5, 16, name="weights")
    y, expected = rms_norm(mine, scale), torch.nn.functional.rms_norm(theirs, (16,), scale, eps=1e-6)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_rms_norm_of_zero_is_zero_with_a_finite_gradient():
    x = torch.zeros(4, 16, requires_grad=True)
    y = rms_norm(x, torch.ones(16))
    y.sum().backward()
    assert not y.any()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_keep_the_precision_of_their_input(dtype):
    x = draw(2, 16).to(dtype)
    assert stateless_norm(x).dtype == rms_norm(x, torch.ones(16)).dtype == dtype


def test_modulation_by_zero_is_nothing_and_is_affine_in_its_input():
    x, shift, scale = draw(2, 3, 8), draw(2, 1, 8, name="shift"), draw(2, 1, 8, name="scale")
    zero = torch.zeros(2, 1, 8)
    assert torch.equal(modulate(x, zero, zero), x)
    torch.testing.assert_close(modulate(x, shift, scale), x * (1 + scale) + shift)


def test_sinusoids_lie_on_circles_and_turn_at_falling_frequencies():
    values = torch.linspace(0, 50, 11)
    cos, sin = sinusoids(values, 32).chunk(2, -1)
    torch.testing.assert_close(cos.square() + sin.square(), torch.ones(11, 16))
    torch.testing.assert_close(sin[:, 0], values.sin(), atol=1e-5, rtol=0)  # the first frequency is one
    small = sinusoids(torch.tensor(1e-3), 32)[16:]
    assert (small.diff() < 0).all()


def test_near_numbers_have_near_embeddings_and_far_ones_do_not():
    embed = NumberEmbedder(32, scale=1000.0)
    at, near, far = embed(torch.tensor([0.5, 0.5001, 0.9]))
    assert (at - near).norm() < 0.2 * (at - far).norm()


def test_the_feed_forward_layer_treats_every_token_alike():
    mlp, x = FeedForward(16), draw(2, 5, 16)
    torch.testing.assert_close(mlp(x)[:, 2], mlp(x[:, 2]))
    assert sum(p.numel() for p in mlp.parameters() if p.ndim == 2) == 8 * 16**2
