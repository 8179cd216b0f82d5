# SPDX-License-Identifier: Apache-2.0
"""The plain twins of the rANS kernels: the same payloads, symbols and refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import RansDecoder, TableFamily
from isthmus.entropy.coders.rans import decode, encode, encode_segments
from isthmus.entropy.models.choices import Choices
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.entropy.tables.fixed_log2 import fixed_log2
from isthmus.errors import CorruptStreamError
from tests.entropy.models.test_factorized import make_model
from tests.kernels.tiers import both

SCALES = (0.2, 2.0, 40.0)
LANES = st.sampled_from([None, 1, 2, 4, 8, 16, 32])


def family(precision: int, longest: int = 120) -> TableFamily:
    ramp = np.arange(-longest, longest + 1)
    return TableFamily.from_counts([np.exp(-np.abs(ramp) / s) for s in SCALES], [-longest] * 3, precision=precision)


FAMILIES = [family(12), family(15), family(12, 300)]


def test_logarithms() -> None:
    plain, compiled = both(lambda: fixed_log2(np.arange(1, 1 << 15)))
    assert np.array_equal(plain, compiled)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31), tables=st.sampled_from(FAMILIES), lanes=LANES,
    kind=st.sampled_from([np.int16, np.int32]),
    sizes=st.lists(st.sampled_from([1, 2, 5, 31, 33, 200, 9000]), min_size=1, max_size=3),
    scale=st.sampled_from([0.5, 30, 1e4, 2e9]),
)  # fmt: skip
def test_payloads(seed: int, tables: TableFamily, lanes: int | None, kind: Any, sizes: list[int], scale: float) -> None:
    rng = np.random.default_rng(seed)
    limits = np.iinfo(kind)
    parts = []
    for k, n in enumerate(sizes):
        symbols = np.clip(rng.laplace(0, scale, n), limits.min, limits.max).astype(kind)
        parts.append((symbols, k % 3 if rng.random() < 0.3 else rng.integers(0, 3, n)))
    plain, compiled = both(lambda: encode_segments(parts, tables, lanes=lanes))
    assert plain == compiled

    def read() -> bytes:
        decoder = RansDecoder(plain, tables)
        found = [decoder.decode(t, len(s) if np.ndim(t) == 0 else None) for s, t in parts]
        decoder.finish()
        return b"".join(f.tobytes() for f in found)

    expected = b"".join(s.astype(np.int32).tobytes() for s, _ in parts)
    assert both(read) == (expected, expected)


@st.composite
def damaged(draw: st.DrawFn, payload: bytes) -> bytes:
    """Some bytes changed, some lost, or some more."""
    data = bytearray(payload)
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    end = draw(st.integers(0, len(data)))
    return bytes(data[:end] if draw(st.booleans()) else data + draw(st.binary(max_size=3)))


def outcome(result: Any) -> Any:
    """Values, or that the words or escapes are bad: where both are, kernels look at a few symbols together."""
    return result.tolist() if isinstance(result, np.ndarray) else result[0]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99), lanes=LANES, tables=st.sampled_from(FAMILIES))
def test_damaged_payloads(data: st.DataObject, seed: int, lanes: int | None, tables: TableFamily) -> None:
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 3, 90)
    payload = encode(rng.laplace(0, 30, 90).astype(np.int32), index, tables, lanes=lanes)
    bad = data.draw(damaged(payload))
    plain, compiled = both(lambda: decode(bad, index, tables))
    assert outcome(plain) == outcome(compiled)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(), seed=st.integers(0, 2**31), items=st.integers(0, 3), size=st.tuples(*[st.integers(1, 12)] * 2),
    scale=st.sampled_from([0, 0.3, 3, 50, 40000]), mean=st.integers(-32768, 32767), reach=st.sampled_from([3, 40, 300]),
)  # fmt: skip
def test_factorized(
    data: st.DataObject, seed: int, items: int, size: tuple[int, int], scale: float, mean: int, reach: int
) -> None:
    model = make_model(reach=reach)
    values = np.random.default_rng(seed).laplace(mean, scale or 1e-9, (items, 3, *size)).round()
    planes = np.clip(values, -32768, 32767).astype(np.int16)
    plain, compiled = both(lambda: model.encode_batch(planes, 50))
    assert plain == compiled
    for item in planes:
        assert len(set(both(lambda item=item: (model.choose(item), model.least_bytes(item))))) == 1
    results = both(lambda: model.decode_batch(plain, planes.shape[1:], 50))
    for found, choices in results:
        assert np.array_equal(found, planes)
        assert len(set(both(lambda choices=choices: tuple(model.encode_batch(planes, 50, choices))))) == 1
        assert choices == results[0][1]
    if items:
        check_damaged(model, data.draw(damaged(plain[0])), planes.shape[1:])


def check_damaged(model: FactorizedModel, payload: bytes, shape: Any) -> None:
    plain, compiled = both(lambda: model.decode(payload, shape, 50))
    if isinstance(plain[0], type):
        assert plain[0] == compiled[0]
    else:
        assert np.array_equal(plain[0], compiled[0]) and plain[1] == compiled[1]
        assert isinstance(plain[1], Choices)


@pytest.mark.parametrize("escapes", ["e4 87 00", "e4", "ff ff ff ff 7f", "ff ff ff ff ff 7f", "ff ff ff ff 1f"])
def test_escapes_that_are_not_minimal_or_beyond_32_bits(escapes: str) -> None:
    tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    whole = encode([0, 1, -1, 0, 500], 0, tables)
    assert whole.hex().endswith("e407")
    found = bytes.fromhex(escapes)
    plain, compiled = both(lambda: decode(whole[:1] + bytes([len(found)]) + whole[2:-2] + found, [0] * 5, tables))
    assert plain == compiled and plain[0] is CorruptStreamError
