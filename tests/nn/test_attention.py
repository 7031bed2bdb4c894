"""Laws of attention, for every way in which the backbones use it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from vitascope.nn.attention import FEW, Attention, dot_product
from vitascope.nn.positions import rotary_1d
from vitascope.types import generator_for

WIDTH, HEADS = 32, 2
MOST = math.isqrt(FEW)  # tokens that are not too many to look at each other without the fused kernel


def draw(*shape: int, name: str = "") -> torch.Tensor:
    return torch.randn(shape, generator=generator_for(0, "attention", name, *shape))


def self_attention(**options) -> Attention:
    return Attention(WIDTH, HEADS, "space", **options)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("num", [1, 7, MOST, MOST + 1])
def test_the_core_agrees_with_torch_for_short_and_long_sequences(num, masked):
    q, k, v = (draw(2, 2, num, 16, name=name) for name in "qkv")
    mask = (torch.arange(num) <= num // 2).expand(2, 1, 1, num) if masked else None
    torch.testing.assert_close(
        dot_product(q, k, v, mask), scaled_dot_product_attention(q, k, v, mask), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("shape", [(8 * MOST, MOST // 8), (MOST // 8, 8 * MOST), (8 * MOST, MOST // 8 + 1)])
def test_the_core_agrees_with_torch_where_one_sequence_is_long_and_the_other_short(shape):
    long, short = shape
    q, k, v = draw(2, 2, long, 16, name="q"), draw(2, 2, short, 16, name="k"), draw(2, 2, short, 16, name="v")
    mask = (torch.arange(short) <= torch.tensor([short // 2, short // 3])[:, None]).view(2, 1, 1, short)
    torch.testing.assert_close(
        dot_product(q, k, v, mask), scaled_dot_product_attention(q, k, v, mask), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("num", [7, MOST + 1])
@pytest.mark.parametrize("kind", ["all", "of each clip", "causal"])
def test_the_core_agrees_with_torch_for_several_leading_dims(num, kind):
    q, k, v = (draw(2, 3, 2, num, 16, name=name) for name in "qkv")
    real = (torch.arange(num) <= torch.tensor([num // 2, num // 3])[:, None]).view(2, 1, 1, 1, num)
    causal = torch.ones(num, num, dtype=torch.bool).tril()
    mask = {"all": None, "of each clip": real, "causal": causal}[kind]
    torch.testing.assert_close(
        dot_product(q, k, v, mask), scaled_dot_product_attention(q, k, v, mask), atol=1e-5, rtol=1e-4
    )


def test_without_positions_the_order_of_tokens_does_not_matter():
    part, x = self_attention(), draw(2, 6, WIDTH)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(part(x[:, order]), part(x)[:, order], atol=1e-5, rtol=1e-4)


def test_with_positions_it_does():
    part, x = self_attention(), draw(2, 6, WIDTH)
    turns = rotary_1d(torch.arange(6).float(), WIDTH // HEADS)
    moved = part(x.flip(1), turns=turns).flip(1)
    assert (moved - part(x, turns=turns)).abs().max() > 1e-3


def test_queries_and_keys_of_any_size_attend_alike_with_qk_norm():
    """The weights of attention depend on the directions of queries and keys only; values keep their size."""
    part, x = self_attention(), draw(2, 6, WIDTH)
    before = part(x)
    with torch.no_grad():
        part.enter.weight[: 2 * WIDTH] *= 100
        part.enter.bias[: 2 * WIDTH] *= 100
    torch.testing.assert_close(part(x), before, atol=1e-4, rtol=1e-3)


def test_without_qk_norm_they_do_not():
    part, x = self_attention(qk_norm=False), draw(2, 6, WIDTH)
    before = part(x)
    with torch.no_grad():
        part.enter.weight[: 2 * WIDTH] *= 100
    assert (part(x) - before).abs().max() > 1e-2


def test_causal_attention_does_not_look_ahead():
    part, x = self_attention(causal=True), draw(2, 6, WIDTH)
    other = x.clone()
    other[:, 4:] += 1
    torch.testing.assert_close(part(other)[:, :4], part(x)[:, :4])
    assert not torch.allclose(part(other)[:, 4:], part(x)[:, 4:])


def test_tokens_that_are_not_real_have_no_influence():
    part, x = self_attention(), draw(2, 6, WIDTH)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    other = torch.where(mask[..., None], x, 1000.0)
    torch.testing.assert_close(part(other, mask=mask)[mask], part(x, mask=mask)[mask])
    torch.testing.assert_close(part(x, mask=mask)[0, :4], part(x[:1, :4])[0], atol=1e-5, rtol=1e-4)


def test_cross_attention_reads_the_context_and_only_its_real_tokens():
    part = Attention(WIDTH, HEADS, "text", context_width=24)
    x, context, mask = draw(2, 5, WIDTH), draw(2, 4, 24), torch.tensor([[True] * 4, [True, True, False, False]])
    alone = part(x[1:], context[1:, :2])
    torch.testing.assert_close(part(x, context, mask)[1:], alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(part(x, context.roll(1, 0), mask), part(x, context, mask))
    with pytest.raises(ValueError, match="goes along dim -2, got -3"):
        part(x, context, along=-3)


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"qk_norm": False}])
def test_attending_along_another_dim_is_attending_along_the_last_but_one_of_the_transposed(options):
    part, x = self_attention(**options), draw(2, 5, 6, WIDTH)
    turns = rotary_1d(torch.arange(5).float(), WIDTH // HEADS)
    expected = part(x.transpose(1, 2), turns=turns).transpose(1, 2)
    torch.testing.assert_close(part(x, turns=turns, along=-3), expected)


def test_leading_dims_are_so_many_separate_sequences():
    part, x = self_attention(), draw(2, 3, 6, WIDTH)
    torch.testing.assert_close(part(x)[1, 2], part(x[1, 2]), atol=1e-5, rtol=1e-4)


def test_the_core_may_be_replaced_from_outside():
    part, x = self_attention(), draw(2, 6, WIDTH)
    before, seen = part(x), []

    def watched(q, k, v, mask):
        seen.append((q.shape, k.shape, v.shape, mask))
        return dot_product(q, k, v, mask)

    part.core = watched
    assert torch.equal(part(x), before)
    assert seen == [((2, HEADS, 6, WIDTH // HEADS),) * 3 + (None,)]


@pytest.mark.parametrize("context_width, count", [(None, 4), (WIDTH, 4)])
def test_an_attention_has_four_matrices_of_its_width(context_width, count):
    part = Attention(WIDTH, HEADS, "text", context_width=context_width)
    assert sum(p.numel() for name, p in part.named_parameters() if name.endswith("weight")) == count * WIDTH**2


def test_wrong_uses_are_refused_in_words():
    with pytest.raises(ValueError, match="heads divide, got width 32 and 5 heads"):
        Attention(32, 5, "space")
    with pytest.raises(ValueError, match="built without a context and was called with one"):
        self_attention()(draw(1, 2, WIDTH), draw(1, 3, WIDTH))
    with pytest.raises(ValueError, match="built with a context and was called without one"):
        Attention(WIDTH, HEADS, "text", context_width=8)(draw(1, 2, WIDTH))
