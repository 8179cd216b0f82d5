# SPDX-License-Identifier: Apache-2.0
"""Tables from probabilities: alphabets, the choice of precision, the check of symbols, bad arguments."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import TableFamily, decode, encode


def loss(tables: TableFamily, k: int, weights: np.ndarray) -> tuple[float, float]:
    """Bits that table k costs above the entropy of weights, the escape's last, and that entropy."""
    start = tables.starts[k]
    f = tables.frequencies[start : start + tables.size[k] + 1]
    p = weights / weights.sum()
    some = p[p > 0]
    entropy = float(-(some * np.log2(some)).sum())
    return float((p * (tables.precision - np.log2(f))).sum()) - entropy, entropy


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_rows_keep_their_alphabets_and_their_entropy(shapes: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    full = [rng.random(n + 1) ** power for n, power in shapes]
    full = [row / row.sum() for row in full]
    low = rng.integers(-100, 100, len(full)).tolist()
    tables = TableFamily.from_pmf([row[:-1] for row in full], low)
    assert tables.size.tolist() == [n for n, _ in shapes] and tables.low.tolist() == low
    for k, row in enumerate(full):
        bits, entropy = loss(tables, k, row)
        assert bits <= 0.004 * max(entropy, 0.1) + 1e-9 or tables.precision == 15


def test_the_least_precision_that_is_enough() -> None:
    flat, sharp = np.full(8, 1 / 8), np.array([0.9999, 0.0001])
    assert TableFamily.from_pmf([flat], [0]).precision == 12
    both = TableFamily.from_pmf([flat, sharp], [0, 0])
    assert both.precision > 12
    for precision in range(12, both.precision):
        coarse = TableFamily.from_pmf([flat, sharp], [0, 0], precision=precision)
        assert any(
            bits > 0.004 * max(entropy, 0.1)
            for bits, entropy in (loss(coarse, k, np.append(row, 0)) for k, row in enumerate((flat, sharp)))
        )


def test_many_rows_leave_less_precision() -> None:
    sharp = [0.9999, 0, 0, 0, 0, 0]
    for count, precision in ((1024, 12), (513, 12), (512, 13), (128, 15), (1, 15)):
        assert TableFamily.from_pmf([sharp] * count, [0] * count).precision == precision
    assert TableFamily.from_pmf([np.full(5000, 1 / 5000)], [0]).precision > 12  # longer than 2**12 slots
    with pytest.raises(ValueError, match="1025 rows"):
        TableFamily.from_pmf([[1.0]] * 1025, [0] * 1025)


@pytest.mark.parametrize(
    "row", [[], [[0.5, 0.5]], [-0.1, 0.5], [0.6, 0.5], [float("nan")], [float("inf")], 0.5], ids=str
)
def test_refuses_rows_that_are_no_probabilities(row: object) -> None:
    with pytest.raises(ValueError, match="row 1 must be probabilities"):
        TableFamily.from_pmf([[1.0], row], [0, 0])  # type: ignore[list-item]


def test_refuses_precisions_and_lows() -> None:
    for precision in (11, 16, 40, 0):
        with pytest.raises(ValueError, match=f"precision {precision}, expected 12..15"):
            TableFamily.from_pmf([[1.0]], [0], precision=precision)
    with pytest.raises(ValueError, match=r"precision 14, expected 12..13"):
        TableFamily.from_pmf([[1.0]] * 512, [0] * 512, precision=14)
    with pytest.raises(ValueError, match="as many of both"):
        TableFamily.from_pmf([[1.0]], [0, 1])
    with pytest.raises(ValueError, match="begins beyond"):
        TableFamily.from_pmf([[1.0]], [2**25])
    with pytest.raises(ValueError):
        TableFamily.from_pmf([np.full(4097, 1 / 4097)], [0], precision=12)


def test_a_table_that_does_not_sum_is_named() -> None:
    with pytest.raises(ValueError, match=r"table 1 sums to 4095, expected 2\*\*12 = 4096"):
        TableFamily(12, [0, 0], [1, 1], [4095, 1, 4000, 95])


def test_check_names_the_symbol_and_its_table() -> None:
    tables = TableFamily.from_pmf([[0.5, 0.5], [0.2, 0.3, 0.5]], [0, -1])
    tables.check([[0, 1], [-1, 1]], [[0, 0], [1, 1]])
    tables.check(torch.tensor([0, 1]), 1)
    tables.check([], 0)
    tables.check(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.int64))
    with pytest.raises(ValueError, match=r"symbol 2 at flat index 2 is outside table 0, which codes 0\.\.1"):
        tables.check([0, 1, 2], 0)
    with pytest.raises(ValueError, match=r"symbol -2 at flat index 3 is outside table 1, which codes -1\.\.1"):
        tables.check([[0, 1], [0, -2]], [[0, 0], [1, 1]])
    with pytest.raises(ValueError, match="symbol -2147483648"):
        tables.check(np.array([-(2**31)], np.int32), 1)
    with pytest.raises(ValueError, match="table index 2, but the family has 2 tables"):
        tables.check([0, 0], [0, 2])
    with pytest.raises(ValueError, match="table index -1"):
        tables.check([0], -1)


@pytest.mark.parametrize("kind", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8])
def test_torch_in_numpy_out(kind: torch.dtype) -> None:
    tables = TableFamily.from_pmf([np.full(16, 1 / 16), np.full(4, 1 / 4)], [0, 0])
    symbols = torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1).to(kind)  # not contiguous
    indices = (symbols % 2).to(torch.int64)
    data = encode(symbols, indices, tables)
    assert data == encode(symbols.numpy(), indices.numpy(), tables)
    back = decode(data, indices, tables)
    assert isinstance(back, np.ndarray) and back.dtype == np.int32 and back.shape == (4, 2, 3)
    np.testing.assert_array_equal(back, symbols.numpy())
    with pytest.raises(TypeError, match="expected integers"):
        encode(symbols.float(), indices, tables)
    with pytest.raises(ValueError, match="but the family has 2 tables"):
        encode(symbols, 2, tables)
    with pytest.raises(ValueError, match="but the family has 2 tables"):
        decode(data, indices + 1, tables)
