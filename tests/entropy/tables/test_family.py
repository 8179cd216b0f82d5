# SPDX-License-Identifier: Apache-2.0
"""Table families: from counts, saved and loaded, hostile arrays, the hash, costs."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from isthmus.entropy import TableFamily
from isthmus.entropy.tables.fixed_log2 import fixed_log2
from isthmus.errors import CorruptStreamError
from tests.entropy.random_tables import laplacian_family, random_family

VALID = {"precision": [12], "low": [-1, 0], "size": [3, 1], "frequencies": [1024, 2047, 1024, 1, 4090, 6]}


def test_from_counts_leaves_the_rarest_ends_of_long_alphabets_to_the_escape() -> None:
    tables = TableFamily.from_counts([[5, 1, 9, 8, 7, 6], [2, 3]], [-3, 0], longest=3)
    assert tables.low.tolist() == [-1, 0] and tables.size.tolist() == [3, 2]
    rest = tables.frequencies[3] / (1 << tables.precision)
    assert abs(rest - 12 / 36) < 0.01
    whole = TableFamily.from_counts([np.ones(300)], [0])
    assert whole.slots.dtype == np.uint16
    assert TableFamily.from_counts([np.ones(300)], [0], longest=255).slots.dtype == np.uint8


def test_from_counts_leaves_thin_ends_to_the_escape() -> None:
    tables = TableFamily.from_counts([[0, 1, 500_000, 0, 500_000, 1, 0, 0], [3]], [-4, 7])
    assert tables.low.tolist() == [-2, 7] and tables.size.tolist() == [3, 1] and len(tables) == 2
    assert tables.frequencies.tolist() == [2047, 1, 2047, 1, 4095, 1]


def test_from_counts_refuses() -> None:
    for row in ([], [0, 0], [-1, 2], [np.inf, 1], [np.nan, 1], [[1, 2]]):
        with pytest.raises(ValueError, match="each row"):
            TableFamily.from_counts([row], [0])
    with pytest.raises(ValueError, match="slots are too few"):
        TableFamily.from_counts([np.ones(1 << 12)], [0])
    with pytest.raises(ValueError, match="slots are too few"):
        TableFamily.from_counts([np.ones(1 << 16)], [0])
    assert len(TableFamily.from_counts([np.ones((1 << 12) - 1)], [0]).frequencies) == 1 << 12
    with pytest.raises(ValueError):
        TableFamily.from_counts([[1], [1]], [0])


def test_saved_and_loaded() -> None:
    tables = random_family(np.random.default_rng(0), 14, 9)
    arrays = tables.to_arrays()
    assert all(array.dtype == np.int32 and array.ndim == 1 for array in arrays.values())
    again = TableFamily.from_arrays(arrays)
    assert again.hash == tables.hash and again.precision == 14
    for name, array in arrays.items():
        np.testing.assert_array_equal(again.to_arrays()[name], array)


def test_the_tables_cannot_be_changed() -> None:
    tables = TableFamily.from_arrays(VALID)
    for name in ("low", "size", "frequencies", "starts", "cumulative", "costs", "least_costs", "slots"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(tables, name)[0] = 1


@pytest.mark.parametrize(
    "change",
    [
        {"precision": [11]},
        {"precision": [16]},
        {"precision": [-1]},
        {"precision": [2**40]},
        {"precision": []},
        {"precision": [12, 12]},
        {"precision": 12},
        {"precision": [12.0]},
        {"low": 0},
        {"low": []},
        {"low": [0]},
        {"low": [[-1, 0]]},
        {"low": [-1.0, 0.0]},
        {"low": [-1, 2**24 + 1]},
        {"low": [-(2**31), 0]},
        {"low": [2**32 - 1, 0]},  # -1 modulo 2**32
        {"size": [3]},
        {"size": [0, 4]},
        {"size": [4, 0]},
        {"size": [-1, 5]},
        {"size": [2**31 - 1, 2**31 - 1]},
        {"size": [4096, 1]},
        {"size": [2, 2]},
        {"frequencies": []},
        {"frequencies": [1024, 2047, 1024, 1, 4090]},
        {"frequencies": [1024, 2048, 1024, 0, 4090, 6]},
        {"frequencies": [1024, 2048, 1025, -1, 4090, 6]},
        {"frequencies": [1024, 2047, 1024, 1, 4090, 7]},
        {"frequencies": [2**31 - 1] * 6},
        {"frequencies": [1024, 2047, 1024, 2**32 + 1, 4090, 6]},
        {"frequencies": [1024, 2047, 1024, 2**70, 4090, 6]},
        {"frequencies": ["a"] * 6},
        {"low": [0] * 1025, "size": [1] * 1025, "frequencies": [4095, 1] * 1025},
        {"precision": [15], "low": [0] * 129, "size": [1] * 129, "frequencies": [32767, 1] * 129},
    ],
)
def test_hostile_arrays(change: dict[str, Any]) -> None:
    tracemalloc.start()
    with pytest.raises(CorruptStreamError, match="weights file: "):
        TableFamily.from_arrays(VALID | change)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("name", list(VALID))
def test_a_missing_array(name: str) -> None:
    with pytest.raises(CorruptStreamError, match=name):
        TableFamily.from_arrays({k: v for k, v in VALID.items() if k != name})


def test_the_largest_family_takes_bounded_memory() -> None:
    tables = TableFamily(15, [0] * 128, [1] * 128, [32767, 1] * 128)
    tracemalloc.start()
    assert tables.slots.size == 1 << 22
    assert len(tables.decoder_entries) == len(tables.encoder_rows) // 4 == 256
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


def test_hashes_never_change() -> None:
    assert TableFamily.from_arrays(VALID).hash == "e97eaec8"
    for change in (
        {"low": [0, 0]},
        {"size": [1, 3], "frequencies": [4090, 6, 1024, 2047, 1024, 1]},
        {"frequencies": [1025, 2046, 1024, 1, 4090, 6]},
    ):
        assert TableFamily.from_arrays(VALID | change).hash != "e97eaec8"
    kinds = {name: np.array(value, np.int64) for name, value in VALID.items()}
    assert TableFamily.from_arrays(kinds).hash == "e97eaec8"


def test_derived_numbers() -> None:
    tables = TableFamily.from_arrays(VALID)
    assert tables.starts.tolist() == [0, 4]
    assert tables.cumulative.tolist() == [0, 1024, 3071, 4095, 0, 4090]
    assert tables.slots.tolist() == [
        e for f in ([1024, 2047, 1024, 1], [4090, 6]) for e in range(len(f)) for _ in range(f[e])
    ]
    bits = 12 - np.log2(tables.frequencies)
    assert ((tables.costs / 65536 >= bits) & (tables.costs / 65536 < bits + 1e-4)).all()
    assert (tables.least_costs / 65536 <= [bits[:4].min(), bits[4:].min()]).all() and (tables.least_costs >= 1).all()


def test_logarithms() -> None:
    values = np.arange(1, 1 << 15)
    error = np.log2(values) * 65536 - fixed_log2(values)
    assert error.min() >= 0 and error.max() < 1 + 1e-5
    powers = 1 << np.arange(15)
    np.testing.assert_array_equal(fixed_log2(powers), np.arange(15) * 65536)


def test_every_precision_costs_no_less_than_its_least() -> None:
    for precision in (12, 13, 14, 15):
        tables = TableFamily(precision, [0], [1], [(1 << precision) - 1, 1])
        assert 1 <= tables.least_costs[0] / 65536 * 65536 <= (precision - np.log2((1 << precision) - 1)) * 65536
    assert (laplacian_family(np.geomspace(0.01, 50, 20)).least_costs >= 1).all()
