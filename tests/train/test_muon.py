"""Muon turns the updates of hidden matrices into orthogonal ones and leaves the rest to Adam."""

from __future__ import annotations

import torch
from torch import nn

from vitascope.train.muon import MuonConfig, is_hidden, orthogonal


def test_singular_values_of_an_update_are_about_one():
    rng = torch.Generator().manual_seed(0)
    for shape in ((64, 128), (96, 256), (256, 96)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=rng)))
        assert values.min() > 0.6 and values.max() < 1.3


def test_an_update_keeps_the_singular_directions():
    """U S V^T becomes about U V^T, so that U^T X V is close to the identity."""
    matrix = torch.randn(64, 80, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ orthogonal(matrix) @ v.T
    assert (inside - torch.diag(inside.diagonal())).abs().max() < 0.05


def test_vectors_embeddings_and_narrow_layers_are_not_hidden():
    assert is_hidden(nn.Linear(64, 256).weight)
    assert is_hidden(nn.Conv2d(64, 128, 3).weight)
    for weight in (nn.Linear(64, 64).bias, nn.Embedding(1024, 128).weight, nn.Conv2d(12, 64, 3).weight):
        assert not is_hidden(weight)


def test_the_rest_moves_as_adam_would():
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    config = MuonConfig()
    one = config.build([ours], 0.1)
    two = torch.optim.Adam([theirs], 0.1 * config.rest, (config.beta1, config.beta2))
    for _ in range(5):
        for optimizer, weight in ((one, ours), (two, theirs)):
            optimizer.zero_grad()
            (weight - 2).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_it_descends():
    rng = torch.Generator().manual_seed(0)
    wanted, given = torch.randn(64, 64, generator=rng), torch.randn(256, 64, generator=rng)
    layer = nn.Linear(64, 64)
    optimizer = MuonConfig().build(layer.parameters(), 0.1)
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
