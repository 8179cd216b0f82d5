# SPDX-License-Identifier: Apache-2.0
"""Families of distributions: loss against the entropy with escapes, symmetry, fixed integers, indices of scales."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from isthmus.entropy import TableFamily, decode, distributions, encode

FAMILIES = {
    "gaussian": (distributions.gaussian, stats.norm, "b244522f"),
    "laplace": (distributions.laplace, stats.laplace, "f288ee08"),
    "logistic": (distributions.logistic, stats.logistic, "753f4dde"),
}
WIDE = 12_000  # integers to either side, beyond which the widest distribution has nothing


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> tuple[TableFamily, stats.rv_continuous, str]:
    make, law, digest = FAMILIES[request.param]
    return make(), law, digest


def test_the_integers_never_change(family: tuple[TableFamily, stats.rv_continuous, str]) -> None:
    tables, _, digest = family
    assert tables.hash == digest and len(tables) == 64


def test_each_table_costs_at_most_half_a_percent_more_than_its_entropy(
    family: tuple[TableFamily, stats.rv_continuous, str],
) -> None:
    tables, law, _ = family
    values = np.arange(WIDE + 1)
    for k, scale in enumerate(distributions.SCALES):
        edges = law.sf((values - 0.5) / scale)
        mass = np.append(edges[:-1] - edges[1:], edges[-1])
        mass = np.concatenate([mass[:0:-1], mass])
        start, low, size = tables.starts[k], tables.low[k], tables.size[k]
        f = tables.frequencies[start : start + size + 1]
        bits = np.empty(2 * WIDE + 1)
        inside = slice(WIDE + low, WIDE + low + size)
        distance = np.maximum(np.abs(np.arange(-WIDE, WIDE + 1)) + low, 1) - 1  # from the nearest end
        varint = np.where(distance < 64, 8, np.where(distance < 8192, 16, 24))
        bits[:] = tables.precision - np.log2(f[-1]) + varint
        bits[inside] = tables.precision - np.log2(f[:-1])
        some = mass > 0
        entropy = float(-(mass[some] * np.log2(mass[some])).sum())
        assert float((mass * bits).sum()) - entropy <= 0.005 * max(entropy, 0.1), (k, scale)


def test_tables_are_centred_and_fall(family: tuple[TableFamily, stats.rv_continuous, str]) -> None:
    tables, _, _ = family
    assert (tables.size == 1 - 2 * tables.low).all() and (np.diff(tables.size) >= 0).all()
    for k in range(64):
        f = tables.frequencies[tables.starts[k] : tables.starts[k] + tables.size[k]].astype(int)
        assert np.abs(f - f[::-1]).max() <= 1  # equal masses may be a slot apart
        assert (np.diff(f[: tables.size[k] // 2 + 1]) >= -1).all()


def test_symbols_round_trip_at_the_size_of_their_entropy() -> None:
    rng = np.random.default_rng(5)
    tables = distributions.laplace()
    indices = rng.integers(0, 64, (30, 1000))
    symbols = np.rint(rng.laplace(size=indices.shape) * distributions.SCALES[indices]).astype(np.int32)
    data = encode(symbols, indices, tables)
    np.testing.assert_array_equal(decode(data, indices, tables), symbols)
    x, scale = np.abs(symbols), distributions.SCALES[indices]
    mass = np.where(x == 0, 1 - np.exp(-0.5 / scale), 0.5 * (np.exp(-(x - 0.5) / scale) - np.exp(-(x + 0.5) / scale)))
    assert 8 * len(data) <= 1.01 * float(-np.log2(mass).sum())


def test_precision_and_scales_can_be_chosen() -> None:
    tables = distributions.gaussian([3.0, 0.5], precision=12)
    assert tables.precision == 12 and tables.size[0] > tables.size[1]
    assert distributions.gaussian([1e-9]).size.tolist() == [1]


@pytest.mark.parametrize("make", [distributions.gaussian, distributions.laplace, distributions.logistic])
def test_refuses_scales(make: Callable[..., TableFamily]) -> None:
    for scales in ([], [0.0], [-1.0], [math.nan], [math.inf], [[1.0]], 1.0):
        with pytest.raises(ValueError, match=f"{make.__name__}: scales must be"):
            make(scales)
    with pytest.raises(ValueError, match=f"{make.__name__}: scale 90000.0 needs more symbols"):
        make([1.0, 90_000.0])


def test_scale_index() -> None:
    scales = distributions.SCALES
    assert len(scales) == 64 and scales[0] == pytest.approx(0.11, abs=1e-5) and scales[-1] == 256
    np.testing.assert_array_equal(distributions.scale_index(scales), np.arange(64))
    values = np.exp(np.random.default_rng(0).uniform(-4, 7, (7, 5)))
    nearest = np.abs(np.log(values)[..., None] - np.log(scales)).argmin(-1)
    found = distributions.scale_index(values)
    assert found.dtype == np.uint16 and found.shape == (7, 5)
    np.testing.assert_array_equal(found, nearest)
    np.testing.assert_array_equal(distributions.scale_index(torch.from_numpy(values)), nearest)
    assert distributions.scale_index(1e30) == 63 and distributions.scale_index([]).shape == (0,)
    for dtype in (torch.bfloat16, torch.float16, torch.float8_e4m3fn):
        near = torch.from_numpy(values).clamp(0.125, 200).to(dtype)
        assert np.array_equal(distributions.scale_index(near), distributions.scale_index(near.double()))
    assert distributions.scale_index([5.0, 0.1], [1.0]).tolist() == [0, 0]
    for bad, words in ((math.nan, "nan among 2"), (np.inf, "inf among 2"), (-0.5, "a scale is -0.5")):
        with pytest.raises(ValueError, match=f"scale_index: .*{words}"):
            distributions.scale_index([1.0, bad])
    for scales in ([2.0, 1.0], [], [0.0, 1.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="scale_index: the scales of the tables"):
            distributions.scale_index([1.0], scales)
    with pytest.raises(ValueError, match="log_spaced"):
        distributions.log_spaced(1)
    with pytest.raises(ValueError, match="log_spaced"):
        distributions.log_spaced(8, 2.0, 1.0)
