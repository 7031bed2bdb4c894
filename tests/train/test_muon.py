"""Muon turns the updates of hidden matrices into orthogonal ones and leaves the rest to Adam."""

from __future__ import annotations

import torch
from torch import nn

from vitascope.nn.attention import Attention
from vitascope.nn.layers import ResidualBlock
from vitascope.recipes import laptop
from vitascope.train.initialise import initialised
from vitascope.train.muon import MuonConfig, hidden_matrices, orthogonal


def test_singular_values_of_an_update_are_about_one():
    rng = torch.Generator().manual_seed(0)
    for shape in ((64, 128), (96, 256), (256, 96)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(1, *shape, generator=rng)))
        assert values.min() > 0.6 and values.max() < 1.3


def test_an_update_keeps_the_singular_directions():
    """U S V^T becomes about U V^T, so that U^T X V is close to the identity."""
    matrix = torch.randn(64, 80, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ orthogonal(matrix[None])[0] @ v.T
    assert (inside - torch.diag(inside.diagonal())).abs().max() < 0.05


def test_hidden_are_the_matrices_of_blocks_and_nothing_that_leads_into_or_out_of_the_network():
    model = initialised(laptop.stiv().model, 0)
    names = {weight: name for name, weight in model.named_parameters()}
    hidden = {names[weight]: parts for weight, parts in hidden_matrices(model)}
    assert hidden["backbone.blocks.0.time.enter.weight"] == hidden["text.layers.0.attention.enter.weight"] == 3
    assert hidden["backbone.blocks.0.text.enter.weight"] == 2
    assert hidden["backbone.blocks.0.mlp.0.weight"] == hidden["tokenizer.decoder.1.first.weight"] == 1
    inside = ("backbone.blocks.", "text.layers.", "tokenizer.encoder.", "tokenizer.decoder.")
    assert all(name.startswith(inside) and name.endswith("weight") for name in hidden)
    assert not {"tokenizer.encoder.1.weight", "tokenizer.decoder.0.weight"} & hidden.keys()


def test_queries_keys_and_values_are_turned_one_by_one():
    """Each moves by an orthogonal matrix of its own, although they are kept as one."""
    block = ResidualBlock()
    block.attention = attention = Attention(64, 2, "space")
    before = attention.enter.weight.detach().clone()
    attention.enter.weight.grad = torch.randn(192, 64, generator=torch.Generator().manual_seed(0))
    attention.enter.weight.grad[128:] *= 100
    MuonConfig().build(block, 0.1).step()
    for moved in (attention.enter.weight.detach() - before).chunk(3):
        values = torch.linalg.svdvals(moved / 0.1)
        assert values.median() > 0.6 and values.max() < 1.3


def test_the_rest_moves_as_adam_would():
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    config = MuonConfig()
    one = config.build(nn.ParameterList([ours]), 0.1)
    two = torch.optim.Adam([theirs], 0.1 * config.rest, (config.beta1, config.beta2))
    for _ in range(5):
        for optimizer, weight in ((one, ours), (two, theirs)):
            optimizer.zero_grad()
            (weight - 2).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_weights_that_decay_stay_bounded_where_others_grow():
    """Updates that always point one way: the singular values settle at 1 / decay, without decay they never do."""
    bounded, growing = (ResidualBlock() for _ in range(2))
    for block, decay in ((bounded, 0.5), (growing, 0.0)):
        block.layer = layer = nn.Linear(32, 32, bias=False)
        optimizer = MuonConfig(weight_decay=decay).build(block, 0.2)
        for _ in range(100):
            layer.weight.grad = torch.eye(32)
            optimizer.step()
    settled, grown = (block.layer.weight.detach().diagonal().mean().abs() for block in (bounded, growing))
    assert 1.5 < settled < 2.5 and grown > 10


def test_it_descends():
    rng = torch.Generator().manual_seed(0)
    wanted, given = torch.randn(64, 64, generator=rng), torch.randn(256, 64, generator=rng)
    block = ResidualBlock()
    block.layer = layer = nn.Linear(64, 64)
    optimizer = MuonConfig().build(block, 0.1)
    losses = []
    for step in range(200):
        for group in optimizer.param_groups:
            group["lr"] = 0.3 * (1 - step / 200)
        loss = (layer(given) - given @ wanted.T).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.05 * losses[0]
