# SPDX-License-Identifier: Apache-2.0
"""Integer networks as they are built, saved and loaded: the bound holds everywhere, damaged arrays meet one error."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from isthmus.entropy import IntegerNetwork
from isthmus.entropy.models.integer_layer import EXACT, LIMIT, IntegerLayer
from isthmus.errors import CorruptStreamError
from tests.entropy.models.random_network import laplace_tables, random_input, random_layer, random_network


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
