# SPDX-License-Identifier: Apache-2.0
"""Integer networks give the same indices by every path, and refuse what is not exact."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import laplace_tables, random_input, random_layer, random_network
from safetensors.numpy import load_file, save_file

from isthmus.entropy import IntegerNetwork
from isthmus.entropy.integer_layer import EXACT, ITEMS, LIMIT, IntegerLayer
from isthmus.errors import CorruptStreamError


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


def test_layers_that_do_not_fit() -> None:
    w = np.ones((2, 3, 3, 3), np.int8)
    b = np.zeros(2, np.int32)
    good = IntegerLayer(w, b, 4)
    heavy = IntegerLayer(np.full((2, 120, 3, 3), -128, np.int8), b, 4)
    for layers, told in (
        ([], "0 layers"),
        ([good] * 65, "65 layers"),
        ([good, good], "layer 1 takes 3 channels, but gets 2"),
        ([IntegerLayer(w.astype(np.int16), b, 4)], "layer 0: weight int16"),
        ([IntegerLayer(w[0], b, 4)], "layer 0: weight"),
        ([IntegerLayer(w[..., :1], b, 4)], "layer 0: weight"),
        ([IntegerLayer(np.ones((2, 3, 5, 5), np.int8), b, 4)], "layer 0: weight"),
        ([IntegerLayer(w[:, :0], b, 4)], "layer 0: weight"),
        ([IntegerLayer(w, b.astype(np.int64), 4)], "bias int64"),
        ([IntegerLayer(w, b[:1], 4)], "bias"),
        ([IntegerLayer(w, b, 24)], "shift 24"),
        ([IntegerLayer(w, b, -1)], "shift -1"),
        ([IntegerLayer(w, b, 4, 0)], "0 groups"),
        ([IntegerLayer(w, b, 4, 3)], "3 groups do not divide 2 outputs"),
        ([good, IntegerLayer(np.ones((2, 2, 1, 1), np.int8), np.array([0, -(1 << 31)], np.int32), 0)], "layer 1: sums"),
        ([heavy], "layer 0: sums may reach"),
        ([IntegerLayer(w, np.array([EXACT - 27 * LIMIT - 8, 0], np.int32), 4)], "sums may reach 16777216"),
    ):
        with pytest.raises(ValueError, match=told):
            IntegerNetwork(layers, laplace_tables(2))
    IntegerNetwork([IntegerLayer(w, np.array([EXACT - 27 * LIMIT - 9, 0], np.int32), 4)], laplace_tables(2))


def test_what_was_checked_stays() -> None:
    w = np.ones((1, 1, 1, 1), np.int8)
    layer = IntegerLayer(w, np.zeros(1, np.int32), 0)
    w[:] = 100
    assert layer.weight[0, 0, 0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[:] = 2


def test_saving_checks_the_bound() -> None:
    layer = IntegerLayer(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32), 0)
    network = IntegerNetwork([layer], laplace_tables(2))
    network.to_arrays()
    object.__setattr__(layer, "bias", np.array([EXACT - LIMIT], np.int32))
    with pytest.raises(ValueError, match="layer 0: sums may reach"):
        network.to_arrays()


def test_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    network = IntegerNetwork([random_layer(rng, 4, 6, 3, 2), random_layer(rng, 6, 3, 1)], laplace_tables(9))
    save_file(network.to_arrays(), tmp_path / "network.safetensors")
    again = IntegerNetwork.from_arrays(load_file(tmp_path / "network.safetensors"))
    assert again.hash == network.hash and again.tables.hash == network.tables.hash
    x = random_input(1, 2, 4, 5, 5)
    assert np.array_equal(again.reference(x), network.reference(x))
    assert np.array_equal(again(torch.from_numpy(x)).numpy(), network.reference(x))
    assert [a.tolist() for a in again.to_arrays().values()] == [a.tolist() for a in network.to_arrays().values()]


def test_the_hash_names_every_integer() -> None:
    def changed(name: str, value: Any) -> str:
        arrays = random_network(0, [2, 2, 2], [3, 1]).to_arrays()
        return IntegerNetwork.from_arrays(arrays | {name: value(arrays[name].copy())}).hash

    hashes = [changed("layers.0.weight", lambda a: a)]
    for name in ("layers.0.weight", "layers.1.bias", "layers.1.shape"):
        hashes.append(changed(name, lambda a: a - (np.arange(a.size) == 0).reshape(a.shape).astype(a.dtype)))
    hashes.append(IntegerNetwork(random_network(0, [2, 2, 2], [3, 1]).layers, laplace_tables(17)).hash)
    assert len(set(hashes)) == len(hashes)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_arrays(data: st.DataObject) -> None:
    """Arrays that are missing, of other shapes or dtypes, or of other values: a valid network, or the one error."""
    arrays: dict[str, Any] = random_network(0, [2, 3, 2], [3, 1], 3).to_arrays()
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(arrays)))
        a = arrays[name].copy()
        kind = data.draw(st.sampled_from(["drop", "value", "dtype", "shape", "cut", "name"]))
        if kind == "value" and a.size and a.dtype.kind in "iu":
            info = np.iinfo(a.dtype)
            a.reshape(-1)[data.draw(st.integers(0, a.size - 1))] = data.draw(st.integers(info.min, info.max))
        elif kind == "dtype":
            a = a.astype(data.draw(st.sampled_from([np.int8, np.int16, np.int64, np.uint64, np.float32, np.bool_])))
        elif kind == "shape":
            a = a.reshape(data.draw(st.sampled_from([(-1,), (1, -1), (-1, 1, 1, 1)])) if a.size else (0,))
        elif kind == "cut":
            a = a[:-1] if a.ndim else a
        del arrays[name]
        if kind == "name":
            name = data.draw(st.sampled_from(["layers.1000000.weight", "layers.", "layers.0", "tables.", "x"]))
        if kind != "drop":
            arrays[name] = a
    try:
        network = IntegerNetwork.from_arrays(arrays)
    except CorruptStreamError as error:
        assert "fetch the file again" in str(error)
    else:
        x = random_input(0, 1, network.layers[0].inputs, 3, 3) if network.layers[0].inputs < 100 else None
        assert x is None or np.array_equal(network(torch.from_numpy(x)).numpy(), network.reference(x))


def test_loading_checks_the_bound() -> None:
    arrays = random_network(0, [2, 3], [3]).to_arrays()
    for name, value, told in (
        ("layers.0.bias", np.full(3, EXACT, np.int32), "sums may reach"),
        ("layers.0.shape", np.array([24, 1], np.int32), "shift 24"),
        ("layers.0.shape", np.array([4, 0], np.int32), "0 groups"),
        ("layers.0.shape", np.array([4.0, 1.0]), "float64"),
        ("layers.0.weight", np.zeros((3, 2, 3, 3), np.float32), "float32"),
    ):
        with pytest.raises(CorruptStreamError, match=told):
            IntegerNetwork.from_arrays(arrays | {name: value})
    with pytest.raises(CorruptStreamError, match="lacks"):
        IntegerNetwork.from_arrays({k: v for k, v in arrays.items() if k != "layers.0.bias"})
    with pytest.raises(CorruptStreamError, match="0 layers"):
        IntegerNetwork.from_arrays({k: v for k, v in arrays.items() if k.startswith("tables.")})
    with pytest.raises(CorruptStreamError, match="tables"):
        IntegerNetwork.from_arrays({k: v for k, v in arrays.items() if k.startswith("layers.")})
