# SPDX-License-Identifier: Apache-2.0
"""Payloads that bring or learn their table: what the page says, round trips, sizes, and bytes from anywhere."""

import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isthmus.entropy import RansDecoder, TableFamily
from isthmus.entropy.coders import adaptive, histogram, mask, measured
from isthmus.errors import CorruptStreamError
from isthmus.varint import unpack_varint

Coder = tuple[Callable[[NDArray[np.int64]], bytes], Callable[[bytes, int], NDArray[np.int32]]]
CODERS = {"histogram": (histogram.encode, histogram.decode), "adaptive": (adaptive.encode, adaptive.decode)}
coders = pytest.mark.parametrize("coder", CODERS.values(), ids=CODERS.keys())


def entropy_bytes(symbols: NDArray[np.int64]) -> float:
    counts = np.unique(symbols, return_counts=True)[1]
    return float((counts * np.log2(counts.sum() / counts)).sum() / 8)


def page_table(weights: list[int], low: int, precision: int) -> TableFamily:
    """ "Frequencies from weights", one by one."""
    n, total = len(weights), sum(weights)
    frequencies = [1 + w * (2**precision - n) // total for w in weights]
    frequencies[weights.index(max(weights))] += 2**precision - sum(frequencies)
    return TableFamily(precision, [low], [n - 1], frequencies)


def page_head(data: bytes) -> tuple[int, int, int, int]:
    """Precision, low, size and the place behind them."""
    z, at = unpack_varint(data, 1)
    size, at = unpack_varint(data, at)
    return data[0], z // 2 if z % 2 == 0 else -(z + 1) // 2, size, at


def page_histogram(data: bytes, count: int) -> list[int]:
    precision, low, size, at = page_head(data)
    length, at = unpack_varint(data, at)
    frequencies = [max(2, 580 // 2 ** (abs(d) // 2)) if d else 580 for d in range(-16, 17)]
    differences = TableFamily(12, [-16], [33], [*frequencies, 56])
    decoder = RansDecoder(data[at : at + length], differences)
    levels = np.cumsum(decoder.decode(0, size + 1)).tolist()
    decoder.finish()
    weights = [k if k < 8 else (8 + k % 8) * 2 ** (k // 8 - 1) for k in levels]
    decoder = RansDecoder(data[at + length :], page_table(weights, low, precision))
    found = decoder.decode(0, count).tolist()
    decoder.finish()
    return list(found)


def page_adaptive(data: bytes, count: int) -> list[int]:
    precision, low, size, at = page_head(data)
    weights = [1] * (size + 1)
    decoder = RansDecoder(data[at:], page_table(weights, low, precision))
    found: list[int] = []
    while len(found) < count:
        decoder.use(page_table(weights, low, precision))
        i = len(found)
        block = decoder.decode(0, min(count - i, max(256, min(i, 2**12), i // 32))).tolist()
        if i:
            weights = [w // 2 for w in weights]
        for symbol in block:
            weights[symbol - low if low <= symbol < low + size else size] += 16
        weights = [max(w, 1) for w in weights]
        found += block
    decoder.finish()
    return found


@settings(max_examples=60, deadline=None)
@given(
    count=st.sampled_from([1, 2, 3, 50, 255, 256, 257, 1000, 9000]),
    scale=st.sampled_from([0.0, 0.1, 3.0, 60.0, 3e5, 1e12]),
    center=st.sampled_from([0, -7, 300, 2**24 + 5, -(2**25), 2**31 - 1, -(2**31)]),
    seed=st.integers(0, 9),
)
def test_the_page_and_round_trips(count: int, scale: float, center: int, seed: int) -> None:
    values = np.round(np.random.default_rng(seed).laplace(center, scale, count))
    symbols = np.clip(values, -(2**31), 2**31 - 1).astype(np.int64)
    data = histogram.encode(symbols)
    np.testing.assert_array_equal(histogram.decode(data, count), symbols)
    assert page_histogram(data, count) == symbols.tolist()
    data = adaptive.encode(symbols)
    np.testing.assert_array_equal(adaptive.decode(data, count), symbols)
    assert page_adaptive(data, count) == symbols.tolist()


@coders
def test_shapes_and_types(coder: Coder) -> None:
    encode, decode = coder
    symbols = np.random.default_rng(0).integers(-9, 9, (7, 5, 6)).astype(np.int8)
    data = encode(symbols)
    assert decode(data, symbols.size).dtype == np.int32
    assert encode(symbols.astype(np.int16).transpose(2, 0, 1)[::-1]) == encode(symbols.transpose(2, 0, 1)[::-1].copy())
    assert encode(np.empty((3, 0), int)) == b"" and decode(b"", 0).shape == (0,)
    with pytest.raises(TypeError):
        encode(np.zeros(3))
    with pytest.raises(ValueError, match="32-bit"):
        encode(np.array([2**31]))
    with pytest.raises(ValueError, match="-1 symbols"):
        decode(data, -1)


@pytest.mark.parametrize("scale", [0.2, 3.0, 20.0])
def test_sizes(scale: float) -> None:
    symbols = np.round(np.random.default_rng(1).laplace(0, scale, 500_000)).astype(np.int64)
    entropy = entropy_bytes(symbols)
    assert len(histogram.encode(symbols)) <= 1.005 * entropy
    assert len(adaptive.encode(symbols)) <= 1.01 * entropy


def test_adaptive_follows_a_drift() -> None:
    rng = np.random.default_rng(2)
    symbols = np.concatenate([np.round(rng.laplace(m, 1, 30_000)) for m in (0, 20, -20, 5)]).astype(np.int64)
    assert len(adaptive.encode(symbols)) < 0.8 * len(histogram.encode(symbols))


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=60).filter(any))
@settings(max_examples=60, deadline=None)
def test_the_precision_is_the_least_that_will_do(counts: list[int]) -> None:
    chosen = measured.choose_precision(counts)
    losses = {}
    for precision in range(12, 16):
        w = np.array(counts, float)
        cost = (w * (precision - np.log2(measured.quantize_pmf(w, precision)))).sum()
        losses[precision] = cost / max(_entropy(w), 1e-300) - 1
    enough = [p for p, loss in losses.items() if loss <= 0.005]
    assert chosen == (enough[0] if enough else min(losses, key=lambda p: losses[p]))


def _entropy(w: NDArray[np.float64]) -> float:
    w = w[w > 0]
    return float((w * np.log2(w.sum() / w)).sum())


@coders
@settings(max_examples=150, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 9999), st.integers(1, 255)), max_size=3),
    cut=st.integers(0, 9),
    count=st.integers(0, 700),
)
def test_damage(coder: Coder, flips: list[tuple[int, int]], cut: int, count: int) -> None:
    encode, decode = coder
    data = bytearray(encode(np.round(np.random.default_rng(0).laplace(0, 3, 600)).astype(np.int64)))
    for place, flip in flips:
        data[place % len(data)] ^= flip
    with suppress(CorruptStreamError):
        assert decode(bytes(data[: len(data) - cut]), count).shape == (count,)


@coders
@settings(max_examples=200, deadline=None)
@given(first=st.integers(11, 16), data=st.binary(max_size=60), count=st.integers(0, 300))
def test_any_bytes(coder: Coder, first: int, data: bytes, count: int) -> None:
    with suppress(CorruptStreamError):
        assert coder[1](bytes([first]) + data, count).shape == (count,)


@coders
def test_impossible_counts_take_no_memory(coder: Coder) -> None:
    encode, decode = coder
    data = encode(np.arange(100) % 3)
    decode(data, 100)
    tracemalloc.start()
    with pytest.raises(CorruptStreamError):
        decode(data, 1 << 50)
    with pytest.raises(CorruptStreamError, match="must be empty"):
        decode(data, 0)
    with pytest.raises(CorruptStreamError):
        decode(b"", 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 18


def test_levels_that_are_no_table() -> None:
    from isthmus.entropy import encode
    from isthmus.varint import pack_varint

    for levels in ([0, 0, 0], [112, 3, 3], [5, -1, 3], [2**31 - 1, 0, 0]):
        payload = encode(np.clip(np.diff(levels, prepend=0), -(2**31), 2**31 - 1), 0, measured.level_table())
        with pytest.raises(CorruptStreamError, match="level"):
            histogram.decode(bytes([12, 0, 2]) + pack_varint(len(payload)) + payload, 5)
    with pytest.raises(CorruptStreamError, match="no integers"):
        histogram.decode(bytes([12, 0, 0, 0]), 5)
    with pytest.raises(CorruptStreamError, match="bytes of levels"):
        histogram.decode(bytes([12, 0, 1, 9]), 5)


@settings(max_examples=80, deadline=None)
@given(
    count=st.sampled_from([0, 1, 7, 8, 9, 1000, 4096]),
    density=st.sampled_from([0, 0.01, 0.5, 1]),
    run=st.sampled_from([1, 40]),
    seed=st.integers(0, 9),
)
def test_masks(count: int, density: float, run: int, seed: int) -> None:
    bits = np.repeat(np.random.default_rng(seed).random(count) < density, run)[:count]
    data = mask.encode(bits)
    found = mask.decode(data, count)
    assert found.dtype == np.bool_ and np.array_equal(found, bits)
    if count:
        width = data[0]
        symbols = page_histogram(data[1:], -(-count // width))
        assert [s >> k & 1 for s in symbols for k in range(width)][:count] == bits.tolist()


def test_masks_take_the_shorter_form() -> None:
    rng = np.random.default_rng(3)
    noise = rng.random(50_000) < 0.05
    disc = np.hypot(*np.mgrid[-100:100, -100:100]) < 50
    assert mask.encode(noise)[0] == 1 and len(mask.encode(noise)) < 1.02 * entropy_bytes(noise) + 20
    assert mask.encode(disc)[0] == 8 and len(mask.encode(disc)) < 0.3 * entropy_bytes(disc)


@settings(max_examples=200, deadline=None)
@given(width=st.sampled_from([0, 1, 8, 9]), data=st.binary(max_size=40), count=st.integers(0, 100))
def test_masks_of_any_bytes(width: int, data: bytes, count: int) -> None:
    with suppress(CorruptStreamError):
        assert mask.decode(bytes([width, 12]) + data, count).shape == (count,)


def test_bad_masks() -> None:
    with pytest.raises(TypeError, match="booleans"):
        mask.encode([0, 1])
    with pytest.raises(ValueError, match="-1 bits"):
        mask.decode(b"", -1)
    with pytest.raises(CorruptStreamError, match="must be empty"):
        mask.decode(b"\1", 0)
    for head, symbols, count in ((1, [2], 1), (8, [-1], 8), (8, [256], 8), (8, [1, 4], 10), (8, [1 << 20], 4)):
        with pytest.raises(CorruptStreamError, match="bits"):
            mask.decode(bytes([head]) + histogram.encode(symbols), count)
    assert mask.decode(bytes([8]) + histogram.encode([1, 3]), 10).tolist() == [True] + [False] * 7 + [True] * 2
