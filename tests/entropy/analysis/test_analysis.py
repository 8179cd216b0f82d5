# SPDX-License-Identifier: Apache-2.0
"""Couplings and information: margins, bounds, sequential codes, planted labels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy.analysis import code_length, couple, couple_through, entropy, label_information

MASSES = st.lists(st.integers(0, 99), min_size=1, max_size=12).filter(sum)


@settings(deadline=None)
@given(MASSES, MASSES)
def test_couplings_have_their_margins_and_bounds(one: list[int], other: list[int]) -> None:
    p, q = (np.array(m) / sum(m) for m in (one, other))
    joint = couple(p, q)
    np.testing.assert_allclose(joint.sum(1), p, atol=1e-9)
    np.testing.assert_allclose(joint.sum(0), q, atol=1e-9)
    assert (joint >= 0).all() and np.count_nonzero(joint) <= np.count_nonzero(p) + np.count_nonzero(q) - 1
    least = max(entropy(p), entropy(q))
    assert least - 1e-9 <= entropy(joint) <= min(least + math.log2(math.e), entropy(p) + entropy(q)) + 1e-9


def test_equal_distributions_are_matched_exactly() -> None:
    p = np.array([0.5, 0.2, 0.3])
    joint = couple(p, p[[2, 0, 1]])
    assert entropy(joint) == pytest.approx(entropy(p)) and joint[0, 1] == pytest.approx(0.5)


@settings(deadline=None)
@given(MASSES, MASSES, st.floats(0, 4))
def test_bottlenecks_keep_their_rate(one: list[int], other: list[int], bits: float) -> None:
    p, q = (np.array(m) / sum(m) for m in (one, other))
    found = couple_through(p, q, bits)
    assert entropy(found.merged) <= bits + 1e-9 or len(found.merged) == 1
    np.testing.assert_allclose(np.bincount(found.index, p, len(found.merged)), found.merged)
    np.testing.assert_allclose(found.joint.sum(0), q, atol=1e-9)
    assert -1e-9 <= found.information <= min(entropy(found.merged), entropy(q)) + 1e-9


@pytest.mark.parametrize("wrong", [[], [[0.5, 0.5]], [0.5, 0.6], [1.5, -0.5], [float("nan"), 1]])
def test_what_is_no_distribution(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="coupling"):
        couple(wrong, [1.0])
    with pytest.raises(ValueError, match="0 or more"):
        couple_through([1.0], [1.0], -1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60))
def test_code_lengths_are_those_of_a_code_that_learns(symbols: list[int]) -> None:
    seen, bits = [0.5] * 5, 0.0
    for symbol in symbols:
        bits -= math.log2(seen[symbol] / sum(seen))
        seen[symbol] += 1
    assert code_length(np.bincount(symbols, minlength=5)) == pytest.approx(bits, abs=1e-8)


def test_labels_that_tell_something_and_nothing() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(400) % 4
    mean = np.stack([labels * 2 + 8, np.full(400, 10)], 1)  # the second channel knows no labels
    values = random.poisson(mean[..., None], (400, 2, 16)).clip(0, 31)
    histograms = (values[..., None] == np.arange(32)).sum(2)
    found = label_information(histograms, labels)
    assert found.net[0] > 1 and found.low[0] > 0.8 and found.low[1] < 0.1 and abs(found.net[1]) < 0.2
    assert found.bits.shape == found.control.shape == (2,)
    np.testing.assert_array_equal(label_information(histograms, labels).bits, found.bits)
    for wrong in (labels[:3], np.zeros(400, np.int64), labels - 1):
        with pytest.raises(ValueError, match="label_information"):
            label_information(histograms, wrong)
