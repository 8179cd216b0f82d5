# SPDX-License-Identifier: Apache-2.0
"""Integer networks give the same indices by every path, and refuse convolutions that are not exact."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import IntegerNetwork
from isthmus.entropy.models.integer_layer import EXACT, ITEMS, IntegerLayer
from tests.entropy.models.random_network import laplace_tables, random_input, random_layer, random_network


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """Puts back what the matrix changes."""
    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    yield
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn


def by_hand(layer: IntegerLayer, x: np.ndarray, high: int) -> np.ndarray:
    """One layer of one item, int [in, H, W], sum by sum in Python's integers, as docs/format-network.md says it."""
    outputs, width, k, _ = layer.weight.shape
    w, _, (height, columns) = layer.weight.tolist(), x.tolist(), x.shape[1:]
    y = np.zeros((outputs, height, columns), np.int64)
    for o, r, c in np.ndindex(*y.shape):
        total = int(layer.bias[o]) + (2 ** (layer.shift - 1) if layer.shift else 0)
        first = o // (outputs // layer.groups) * width
        for i, a, b in np.ndindex(width, k, k):
            row, column = r + a - k // 2, c + b - k // 2
            if 0 <= row < height and 0 <= column < columns:
                total += w[o][i][a][b] * int(x[first + i, row, column])
        y[o, r, c] = min(max(total // 2**layer.shift, 0), high)
    return y


def test_the_reference_is_the_page() -> None:
    rng = np.random.default_rng(3)
    first, second = random_layer(rng, 4, 6, 3, groups=2), random_layer(rng, 6, 2, 1)
    network = IntegerNetwork([first, second], laplace_tables(20))
    x = random_input(4, 1, 4, 3, 5)
    hidden = by_hand(first, np.clip(x[0].astype(int), -127, 127), 127)
    expected = by_hand(second, hidden, 19)
    assert 0 < hidden.mean() < 127 and 0 < expected.mean() < 19
    assert np.array_equal(network.reference(x)[0], expected)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.sampled_from([0, 1, 2, 17]), st.integers(0, 9), st.integers(0, 9)),
    groups=st.sampled_from([1, 1, 2, 3]),
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    kernel=st.sampled_from([1, 3]),
    shift=st.one_of(st.none(), st.integers(0, 23)),
    tables=st.sampled_from([1, 2, 16, 1024]),
    dtype=st.sampled_from([np.int8, np.uint8, np.int16, np.int32, np.int64]),
)
def test_convolutions_are_the_reference(
    seed: int,
    shape: tuple[int, int, int],
    groups: int,
    widths: list[int],
    kernel: int,
    shift: int | None,
    tables: int,
    dtype: type,
) -> None:
    rng = np.random.default_rng(seed)
    sides = [w * groups for w in widths]
    layers = [
        random_layer(rng, *pair, kernel, groups, shift if i == 0 else None) for i, pair in enumerate(pairwise(sides))
    ]
    network = IntegerNetwork(layers, laplace_tables(tables))
    batch, height, width = shape
    x = random_input(seed, batch, sides[0], height, width, dtype=dtype)
    expected = network.reference(x)
    found = network(torch.from_numpy(x))
    assert expected.dtype == np.int16 and found.dtype == torch.int16
    assert found.shape == (batch, sides[-1], height, width)
    assert np.array_equal(found.numpy(), expected)
    assert np.array_equal(network(torch.from_numpy(x), dtype=torch.float64).numpy(), expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64])
def test_inputs_of_every_dtype(dtype: type) -> None:
    """Clipped to -127..127, which not every dtype holds, the least and the largest value of the dtype too."""
    network = random_network(2, [3, 8, 2], [3, 1])
    x = random_input(3, 2, 3, 9, 8, dtype=dtype)
    assert {np.iinfo(dtype).min, np.iinfo(dtype).max} <= set(x.reshape(-1).tolist())
    expected = network.reference(np.array([min(max(v, -127), 127) for v in x.reshape(-1).tolist()]).reshape(x.shape))
    assert np.array_equal(network.reference(x), expected)
    assert np.array_equal(network(torch.from_numpy(x)).numpy(), expected)


@pytest.mark.parametrize("batch", [1, ITEMS, ITEMS + 1, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_matrix(torch_settings: None, seed: int, batch: int) -> None:
    """Threads, memory formats, oneDNN and dtypes. Without oneDNN torch would take Winograd from 16 items on."""
    network = random_network(seed, [6, 16, 16, 4], [3, 3, 1], 64)
    x = random_input(seed, batch, 6, 13, 11)
    expected = network.reference(x)
    assert len(np.unique(expected)) > 40
    for threads in (1, 2):
        for onednn in (True, False):
            torch.set_num_threads(threads)
            torch.backends.mkldnn.enabled = onednn
            for layout in (torch.contiguous_format, torch.channels_last):
                for dtype in (torch.float32, torch.float64):
                    found = network(torch.from_numpy(x).contiguous(memory_format=layout), dtype=dtype)
                    assert np.array_equal(found.numpy(), expected), (threads, onednn, layout, dtype)


def test_under_other_modes_of_torch() -> None:
    network = random_network(5, [3, 8, 2], [3, 3])
    x = torch.from_numpy(random_input(6, 2, 3, 9, 8))
    expected = network.reference(x.numpy())
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(network(x).numpy(), expected)
    with torch.inference_mode():
        assert np.array_equal(network(x).numpy(), expected)
    assert not network(x).requires_grad


def test_inputs_of_other_layouts() -> None:
    network = random_network(7, [3, 8, 2], [3, 1])
    wide = torch.from_numpy(random_input(8, 4, 6, 20, 15))
    for x in (wide[::2, ::2, 1::3, ::2], wide[:, :3].transpose(2, 3), wide[:1, 1:4].expand(3, -1, -1, -1)):
        assert not x.is_contiguous()
        assert np.array_equal(network(x).numpy(), network.reference(x.numpy()))


def test_sums_at_the_bound() -> None:
    """Sums that come within 127 of 2**24, both ways: one more and float32 would round them."""
    weight = np.full((2, 115, 3, 3), 127, np.int8)
    weight[1] *= -1
    rest = EXACT - 1 - 115 * 9 * 127 * 127
    layer = IntegerLayer(weight, np.array([rest, -rest], np.int32), 0)
    network = IntegerNetwork([layer], laplace_tables(2))
    assert layer.reach.tolist() == [EXACT - 1] * 2
    x = np.full((1, 115, 3, 3), 127)
    sums = layer.sums(torch.from_numpy(x).float())
    assert sums[0, :, 1, 1].tolist() == [EXACT - 1, 1 - EXACT]
    assert np.array_equal(network(torch.from_numpy(x)).numpy(), network.reference(x))
    over = IntegerLayer(weight, np.array([0, -rest - 1], np.int32), 0)
    with pytest.raises(ValueError, match=r"layer 0: sums may reach 16777216"):
        IntegerNetwork([over], laplace_tables(2))


def test_bad_calls() -> None:
    network = random_network(0, [3, 2], [3])
    for x in (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.bool)):
        with pytest.raises(TypeError, match="expected integers"):
            network(x)
    with pytest.raises(TypeError, match="expected integers"):
        network.reference(np.zeros((1, 3, 4, 4)))
    for shape in ((3, 4, 4), (1, 2, 4, 4), (1, 4, 4, 3)):
        with pytest.raises(ValueError, match="input"):
            network(torch.zeros(shape, dtype=torch.int8))
    with pytest.raises(TypeError, match="float16"):
        network(torch.zeros(1, 3, 4, 4, dtype=torch.int8), dtype=torch.float16)


def reduced(kind: str) -> Any:
    """torch's convolution with a fault."""
    exact = torch._convolution

    def convolve(x: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        sums = exact(x, *arguments, **named)
        if kind == "bfloat16":
            return sums.bfloat16().to(sums)
        if kind == "last bit":
            return sums + sums.abs() * 2.0**-22
        if kind == "one place":
            return sums + torch.nn.functional.one_hot(torch.tensor(sums.shape[3] - 1), sums.shape[3])
        return sums.clamp(-(1 << 23), 1 << 23)  # only the largest sums are wrong

    return convolve


@pytest.mark.parametrize("kind", ["bfloat16", "last bit", "one place", "largest sums"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_convolutions_that_are_not_exact_are_caught(
    monkeypatch: pytest.MonkeyPatch, kind: str, dtype: torch.dtype
) -> None:
    rng = np.random.default_rng(0)
    heavy = IntegerLayer(rng.choice(np.array([-128, 127], np.int8), (3, 100, 3, 3)), np.array([1, -2, 0], np.int32), 3)
    network = IntegerNetwork([random_layer(rng, 2, 100, 1), heavy], laplace_tables(4))
    monkeypatch.setattr(torch, "_convolution", reduced(kind))
    with pytest.raises(RuntimeError, match=r"layer [01]: .* not exact for input \(1, 2, 21, 18\)"):
        network(torch.zeros(1, 2, 21, 18, dtype=torch.int8), dtype=dtype)
    monkeypatch.undo()
    network(torch.zeros(1, 2, 21, 18, dtype=torch.int8), dtype=dtype)


def test_the_check_runs_once_per_shape(monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    checked: list[tuple[int, ...]] = []
    probe = IntegerLayer.probe

    def counted(layer: IntegerLayer, like: torch.Tensor) -> tuple[torch.Tensor, bool]:
        checked.append(tuple(like.shape))
        return probe(layer, like)

    monkeypatch.setattr(IntegerLayer, "probe", counted)
    network = random_network(1, [3, 5, 2], [3, 3])
    x = torch.zeros(2, 3, 6, 7, dtype=torch.int8)
    for _ in range(3):
        network(x)
    assert checked == [(2, 3, 6, 7), (2, 5, 6, 7)]
    network(x[:, :, :5])
    network(x)
    assert len(checked) == 4
    network(x, dtype=torch.float64)
    network(x.contiguous(memory_format=torch.channels_last))
    torch.backends.mkldnn.enabled = not torch.backends.mkldnn.enabled
    network(x)
    torch.set_num_threads(3 - min(2, torch.get_num_threads()))
    network(x)
    assert len(checked) == 12
    network(x[:0])
    assert len(checked) == 12
