# SPDX-License-Identifier: Apache-2.0
"""Muon: steps of one size in every direction, and a state that travels with AdamW's."""

import copy

import pytest
import torch
from torch import nn

from isthmus.optim.muon import ADAMS_SIZE, Muon, MuonAdamW, orthogonalize


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 12, 5), (2, 5, 12), (1, 1, 1)])
def test_singular_values_are_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(shape) * 1e-3).float())
    assert values.min() > 0.3 and values.max() < 1.3


def test_directions_stay() -> None:
    """The factor is the matrix's own: the symmetric part that is left is positive."""
    torch.manual_seed(1)
    matrix = torch.randn(1, 9, 6)
    left, _, right = torch.linalg.svd(matrix[0], full_matrices=False)
    assert (orthogonalize(matrix)[0].float() * (left @ right)).sum() > 0.8 * 6


def layers() -> nn.ModuleList:
    torch.manual_seed(2)
    return nn.ModuleList(nn.Conv2d(6, 10, 1) for _ in range(3))


def optimizer(model: nn.ModuleList) -> MuonAdamW:
    muon = Muon([[layer.weight for layer in model]], 0.1)  # type: ignore[misc]
    return MuonAdamW(muon, torch.optim.AdamW([layer.bias for layer in model], lr=0.1))


def train(model: nn.ModuleList, steps: MuonAdamW, begin: int, end: int) -> None:
    for step in range(begin, end):
        x = torch.randn(4, 6, 2, 2, generator=torch.Generator().manual_seed(step))
        steps.zero_grad()
        sum((layer(x) - k).square().mean() for k, layer in enumerate(model)).backward()  # type: ignore[union-attr]
        steps.step()


def test_a_step_has_the_size_of_adams() -> None:
    model = layers()
    before = [layer.weight.detach().clone() for layer in model]
    train(model, optimizer(model), 0, 1)
    for layer, old in zip(model, before, strict=True):
        step = (layer.weight.detach() - old).square().mean().sqrt().item() / 0.1
        assert step == pytest.approx(ADAMS_SIZE, rel=0.35)


def test_taken_up_from_its_state_it_goes_on_alike() -> None:
    whole, part = layers(), layers()
    steps = optimizer(whole)
    train(whole, steps, 0, 5)
    first = optimizer(part)
    train(part, first, 0, 2)
    state = copy.deepcopy(first.state_dict())
    assert sorted(state["state"]) == [0, 1, 2, 3, 4, 5]
    again = optimizer(part)
    again.load_state_dict(again.state_dict() | state)
    train(part, again, 2, 5)
    for a, b in zip(whole.parameters(), part.parameters(), strict=True):
        assert torch.equal(a, b)
