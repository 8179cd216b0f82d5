# SPDX-License-Identifier: Apache-2.0
"""Integer frequencies from weights: valid, optimal against brute force, fast."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus.entropy.tables.family import quantize_pmf

WEIGHTS = st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1e12), st.integers(1, 9)), min_size=1, max_size=5)


def cost(weights: np.ndarray, frequencies: np.ndarray) -> float:
    return float(-(weights * np.log2(frequencies)).sum())


@settings(max_examples=200, deadline=None)
@given(weights=WEIGHTS.filter(any), precision=st.integers(0, 4))
@example([1.6, 1.6, 1.6, 1.6, 25.6], 4)  # rounding down and adding the best slot is not enough here
@example([1] * 5, 3)
def test_no_table_costs_less(weights: list[float], precision: int) -> None:
    total = 1 << precision
    w = np.array(weights) / max(weights)
    if len(w) > total:
        with pytest.raises(ValueError, match="expected 1 to"):
            quantize_pmf(w, precision)
        return
    found = quantize_pmf(weights, precision)
    assert found.dtype == np.int32 and found.sum() == total and found.min() >= 1
    every = [np.diff((0, *cuts, total)) for cuts in combinations(range(1, total), len(w) - 1)]
    assert cost(w, found) <= min(cost(w, table) for table in every) + 1e-9


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 600), power=st.integers(0, 60))
def test_no_exchange_of_a_slot_saves_bits(seed: int, size: int, power: int) -> None:
    """For separable costs with falling gains this is enough for the best of all tables."""
    w = np.random.default_rng(seed).random(size) ** power
    f = quantize_pmf(w, 12).astype(np.float64)
    assert f.sum() == 4096 and f.min() >= 1
    gain = w * np.log2((f + 1) / f)
    loss = np.where(f > 1, w * np.log2(f / np.maximum(f - 1, 1)), np.inf)
    assert gain.max() <= loss.min() * (1 + 1e-9) or size == 1


def test_extremes() -> None:
    assert quantize_pmf([7], 12).tolist() == [4096]
    assert quantize_pmf([1e-300, 1], 12).tolist() == [1, 4095]
    assert quantize_pmf([5e-324, 0], 12).tolist() == [4095, 1]
    assert quantize_pmf([1e308, 1e308], 15).tolist() == [16384, 16384]
    assert (quantize_pmf(np.ones(1 << 15), 15) == 1).all()
    assert np.bincount(quantize_pmf(np.ones((1 << 15) - 1), 15)).tolist() == [0, (1 << 15) - 2, 1]


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [np.nan], [np.inf, 1], [[1, 2]], np.ones(4097)])
def test_refuses(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="quantize_pmf"):
        quantize_pmf(weights, 12)
