# SPDX-License-Identifier: Apache-2.0
"""Integer networks as they are trained: the same indices as when they run, and fewer bytes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isthmus.entropy import IntegerNetwork, TableFamily, decode, encode
from isthmus.entropy.models.integer_layer import EXACT, LIMIT
from isthmus.models.integer_network import QuantizedConv, QuantizedNetwork, TableCost

SCALES = 0.2 * 1.4 ** np.arange(16)


@pytest.fixture(scope="module")
def tables() -> TableFamily:
    """Laplace tables in order of scale; values beyond 60 are escaped."""
    return TableFamily.from_counts([np.exp(-np.abs(np.arange(-60, 61)) / s) for s in SCALES], [-60] * len(SCALES))


def same_indices(network: QuantizedNetwork, tables: TableFamily, x: torch.Tensor) -> NDArray[np.int16]:
    """Indices of a trained network, after a look at all ways to find them."""
    trained = network(x).detach()
    whole = network.to_integers(tables)
    found = whole(x)
    assert torch.equal(trained, found.to(trained.dtype))
    indices: NDArray[np.int16] = whole.reference(x.numpy())
    assert np.array_equal(indices, found.numpy())
    return indices


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    kernels=st.lists(st.sampled_from([1, 3]), min_size=1, max_size=3),
    groups=st.sampled_from([1, 2]),
    size=st.sampled_from([1e-8, 0.01, 1.0, 30.0, 300.0]),
    bias=st.sampled_from([0.0, 1.0, 1e3]),
    dtype=st.sampled_from([torch.uint8, torch.int8, torch.int16, torch.int64]),
)
def test_what_is_trained_is_what_runs(
    tables: TableFamily, seed: int, kernels: list[int], groups: int, size: float, bias: float, dtype: torch.dtype
) -> None:
    """Whatever the size of the weights, beyond the 127 of the largest integer too."""
    torch.manual_seed(seed)
    widths = [4, *[6] * (len(kernels) - 1), 2]
    network = QuantizedNetwork(widths, kernels, len(tables), [groups] * len(kernels))
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(size)
            layer.bias.add_(torch.randn_like(layer.bias) * bias)
    same_indices(network, tables, torch.randint(0, 300, (2, 4, 6, 5)).to(dtype))


def test_shifts_follow_the_weights() -> None:
    conv = QuantizedConv(2, 3, 1)
    for largest, shift in ((1.0, 6), (0.99, 7), (127.0, 0), (500.0, 0), (0.0, 23), (1e-9, 23)):
        with torch.no_grad():
            conv.weight.fill_(-largest)
        weight, _, found = conv.integers()
        assert found == shift and (weight == -min(LIMIT, round(largest * 2**shift))).all()


def test_shifts_leave_room_for_sums() -> None:
    """Where the bound asks for it a layer has smaller weights, and where none are small enough it is refused."""
    conv = QuantizedConv(2, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(1 / 64)
        conv.bias.fill_(9000.0)
    _, bias, shift = conv.integers()
    assert shift == 6 and bias == 9000 * 16 * 64 < EXACT
    for bad in (2.0**20, float("nan"), float("inf")):
        with torch.no_grad():
            conv.bias.fill_(bad)
        with pytest.raises(ValueError, match="beyond what an integer layer can hold"):
            conv.integers()
    with torch.no_grad():
        conv.bias.zero_()
        conv.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="beyond what an integer layer can hold"):
        conv.integers()


def test_gradients_pass_through_rounding() -> None:
    torch.manual_seed(0)
    conv = QuantizedConv(3, 2, 3)
    x = torch.randint(-20, 20, (1, 3, 5, 5)).float().requires_grad_()
    with torch.no_grad():
        conv.bias.fill_(4.0)  # in the middle of 0..127: nothing is clipped
    y = conv(x)
    assert y.min() > 0 and y.max() < LIMIT
    g = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, conv.weight, conv.bias), g)
    weight, bias, shift = conv.integers()
    w = (weight / 2**shift).requires_grad_()
    b = (bias / 2**shift).requires_grad_()
    expected = torch.autograd.grad(torch.nn.functional.conv2d(x, w, b, padding=1), (x, w, b), g)
    assert torch.allclose(found[0], expected[0], atol=1e-5)
    assert torch.allclose(found[1], expected[1], atol=1e-3)
    assert torch.allclose(found[2], expected[2] * 16, atol=1e-3)  # biases are trained in units of 16


def test_gradients_lead_back_inside() -> None:
    conv = QuantizedConv(1, 1, 1, high=15)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    for value, gradient, passes in ((-5, 1.0, 0.0), (-5, -1.0, -1.0), (40, -1.0, 0.0), (40, 1.0, 1.0), (7, 1.0, 1.0)):
        x = torch.full((1, 1, 1, 1), float(value), requires_grad=True)
        y = conv(x)
        assert y == min(max(value, 0), 15)
        assert torch.autograd.grad(y, x, torch.full_like(y, gradient))[0] == passes


def test_bad_arguments(tables: TableFamily) -> None:
    with pytest.raises(ValueError, match="kernel 2"):
        QuantizedConv(2, 2, 2)
    with pytest.raises(ValueError, match="2 groups do not divide 3 inputs"):
        QuantizedConv(3, 2, 1, groups=2)
    for widths, kernels, groups in (([2], [], None), ([2, 2], [1, 1], None), ([2, 2], [1], [1, 1])):
        with pytest.raises(ValueError, match="one width more"):
            QuantizedNetwork(widths, kernels, 16, groups)
    with pytest.raises(ValueError, match="16 tables, expected 8"):
        QuantizedNetwork([2, 2], [1], 8).to_integers(tables)


def test_costs_are_those_of_the_tables(tables: TableFamily) -> None:
    """Symbol by symbol, against the frequencies and the length of an escape's varint."""
    cost = TableCost(tables, -300, 9000)
    symbols = torch.tensor([0, 1, -1, 7, -60, 60, 61, -61, 124, 125, -124, -125, 300, -300, 8252, 8253, 9000])
    for k in (0, 7, 15):
        bits = cost(torch.full(symbols.shape, float(k)), symbols)
        first, low, size = int(tables.starts[k]), int(tables.low[k]), int(tables.size[k])
        for symbol, found in zip(symbols.tolist(), bits.tolist(), strict=True):
            inside = low <= symbol < low + size
            frequency = tables.frequencies[first + (symbol - low if inside else size)]
            expected = tables.precision - np.log2(frequency)
            if not inside:
                u = 2 * (symbol - low - size) if symbol > 0 else 2 * (low - 1 - symbol) + 1
                expected += 8 * -(-u.bit_length() // 7 or -1)
            assert found == pytest.approx(expected, abs=1e-3)
    assert torch.equal(cost(torch.tensor([3.0, 3.0]), torch.tensor([-5000, 10**6])), cost.costs[3, [0, -1]])


def test_costs_are_what_coding_takes(tables: TableFamily) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 16, 20_000)
    symbols = np.rint(rng.laplace(0, 2 * SCALES[indices])).astype(np.int32)
    cost = TableCost(tables, -300, 300)
    bits = cost(torch.from_numpy(indices).float(), torch.from_numpy(symbols)).sum().item()
    assert 8 * len(encode(symbols, indices, tables)) == pytest.approx(bits, rel=0.01)


def test_gradients_of_costs_lead_to_the_cheaper_neighbour(tables: TableFamily) -> None:
    cost = TableCost(tables, -60, 60)
    index = torch.tensor([0.0, 15.0, 8.0, 8.0], requires_grad=True)
    (slope,) = torch.autograd.grad(cost(index, torch.tensor([2, 0, 50, 0])).sum(), index)
    assert slope[0] < 0 < slope[1] and slope[2] < 0 < slope[3]
    table = cost.costs
    assert slope[2] == pytest.approx((table[9, 110] - table[7, 110]).item() / 2)
    assert slope[0] == pytest.approx((table[1, 62] - table[0, 62]).item())


def textured(seed: int, side: int) -> tuple[torch.Tensor, NDArray[np.int16]]:
    """Integers seen before, [1, 2, side, side], and those to code, [1, 1, side, side], whose scale the first tell."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / 9.0
    scale = np.exp(1.6 * np.sin(y + rng.uniform(0, 6)) * np.cos(x + rng.uniform(0, 6)))
    planes = np.rint(rng.laplace(0, 3 * scale, (3, side, side))).clip(-LIMIT, LIMIT).astype(np.int16)
    return torch.from_numpy(np.abs(planes[None, :2])), planes[None, 2:]


def trained(tables: TableFamily, steps: int) -> QuantizedNetwork:
    torch.manual_seed(1)
    network = QuantizedNetwork([2, 8, 1], [3, 3], len(tables))
    cost = TableCost(tables, -LIMIT, LIMIT)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for step in range(steps):
        before, symbols = textured(step, 40)
        loss = cost(network(before), torch.from_numpy(symbols)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def test_training_makes_bytes_fewer(tables: TableFamily) -> None:
    """Real bytes of planes that training never saw, against the best table for all and the network before training."""
    network = trained(tables, 60)
    before, symbols = textured(10_000, 64)
    indices = same_indices(network, tables, before)
    payload = encode(symbols, indices, tables)
    assert np.array_equal(decode(payload, indices, tables), symbols)
    again = IntegerNetwork.from_arrays(network.to_integers(tables).to_arrays())
    assert np.array_equal(decode(payload, again(before).numpy(), tables), symbols)
    single = min(len(encode(symbols, k, tables)) for k in range(len(tables)))
    untrained = len(encode(symbols, same_indices(trained(tables, 0), tables, before), tables))
    assert len(payload) < 0.95 * single and len(payload) < 0.95 * untrained
