# SPDX-License-Identifier: Apache-2.0
"""Bjontegaard rates: known differences, and the interpolation against scipy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import PchipInterpolator

from isthmus.bench.bd_rate import Pchip, bd_rate, monotone_points

BPP = [0.1, 0.25, 0.5, 1.0, 2.0]
DB = [26.0, 29.5, 32.0, 35.5, 40.0]
steps = st.floats(0.01, 10)


@given(st.lists(st.tuples(steps, st.floats(-10, 10, allow_subnormal=False)), min_size=2, max_size=12))
def test_pchip_equals_scipys(points):
    x, y = np.cumsum([step for step, _ in points]), np.array([value for _, value in points])
    at = np.linspace(x[0], x[-1], 57)
    ours, theirs = Pchip(x, y), PchipInterpolator(x, y)
    assert ours(at) == pytest.approx(theirs(at), rel=1e-9, abs=1e-9)
    low, high = x[0] + 0.2 * (x[-1] - x[0]), x[0] + 0.9 * (x[-1] - x[0])
    assert ours.integral(low, high) == pytest.approx(float(theirs.integrate(low, high)), rel=1e-9, abs=1e-9)


def test_pchip_keeps_flats_and_monotony():
    curve = Pchip([0, 1, 2, 3, 4], [0, 0, 1, 1, 5])
    assert np.all(curve(np.linspace(0, 1, 9)) == 0)
    assert np.all(np.diff(curve(np.linspace(0, 4, 200))) >= 0)
    for x in ([1], [1, 1], [2, 1]):
        with pytest.raises(ValueError, match="strictly increasing"):
            Pchip(x, x)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25, 2.0])
def test_a_constant_factor_of_the_rate(factor):
    found = bd_rate(BPP, DB, [factor * rate for rate in BPP], DB)
    assert found.percent == pytest.approx(100 * (factor - 1))
    assert (found.low, found.high) == (26.0, 40.0)


def test_against_an_independent_integral():
    rate, quality = [0.12, 0.3, 0.7, 1.4], [28.0, 31.5, 35.0, 38.5]
    a, b = PchipInterpolator(DB, np.log(BPP)), PchipInterpolator(quality, np.log(rate))
    mean = quad(lambda q: float(b(q) - a(q)), 28.0, 38.5, limit=500, points=[*quality[1:-1], *DB[1:-1]])[0] / 10.5
    assert bd_rate(BPP, DB, rate, quality).percent == pytest.approx(100 * (np.exp(mean) - 1), rel=1e-7)


def test_range_of_the_anchor():
    # Half the rate below 32 dB, the same rate above it; 32 dB is at 0.5 bpp of the anchor.
    dense = np.linspace(26, 40, 400)
    anchor = np.exp(PchipInterpolator(DB, np.log(BPP))(dense))
    rate = np.where(dense < 32, anchor / 2, anchor)
    low = bd_rate(anchor, dense, rate, dense, anchor_range=(0.01, 0.49))
    high = bd_rate(anchor, dense, rate, dense, anchor_range=(0.52, 1.5))
    assert low.percent == pytest.approx(-50, abs=0.5) and low.low == 26.0
    assert high.percent == pytest.approx(0, abs=0.5) and 32 < high.low < high.high < 40


def test_points_are_sorted_and_beaten_ones_left_out():
    shuffled = [3, 0, 4, 1, 2]
    found = bd_rate(BPP, DB, [BPP[i] / 2 for i in shuffled] + [0.9, 3.0], [DB[i] for i in shuffled] + [20.0, np.inf])
    assert found.percent == pytest.approx(-50)
    rate, quality = monotone_points([1, 1, 2, 3, 0], [5, 6, 6, 7, 1])
    assert rate.tolist() == [1, 3] and quality.tolist() == [6, 7]


def test_no_common_quality():
    with pytest.raises(ValueError, match=r"no quality in common: anchor 26\.000 to 40\.000, codec 41"):
        bd_rate(BPP, DB, [1, 2], [41, 42])
    with pytest.raises(ValueError, match="no quality in common"):
        bd_rate(BPP, DB, [1, 2], [30, 32], anchor_range=(1.5, 1.9))
    with pytest.raises(ValueError, match="codec has 1 usable"):
        bd_rate(BPP, DB, [1, 2], [30, np.inf])
    with pytest.raises(ValueError, match="2 rates for 1 qualities"):
        bd_rate(BPP, DB, [1, 2], [30])
