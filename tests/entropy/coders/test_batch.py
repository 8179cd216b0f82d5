# SPDX-License-Identifier: Apache-2.0
"""Batches of payloads: the same bytes and symbols as item by item, on any number of threads, and errors that name."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import TableFamily, decode, encode
from isthmus.entropy.coders.batch import decode_batch, encode_batch
from isthmus.errors import CorruptStreamError
from tests.entropy.random_tables import random_family, random_symbols

FAMILY = random_family(np.random.default_rng(0), 13, 5)


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(0, 9),
    shape=st.lists(st.integers(0, 9), max_size=3),
    kind=st.sampled_from(["one", "item", "each"]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_as_item_by_item(items: int, shape: list[int], kind: str, threads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 5, {"one": (), "item": shape, "each": (items, *shape)}[kind])
    spread = np.broadcast_to(indices, (items, *shape))
    symbols = random_symbols(rng, FAMILY, spread, escapes=0.05)
    payloads = encode_batch(symbols, indices, FAMILY, threads=threads)
    assert payloads == [encode(symbols[i], spread[i], FAMILY) for i in range(items)]
    found = decode_batch(payloads, indices, FAMILY, tuple(shape), threads=threads)
    assert found.dtype == np.int32 and found.shape == symbols.shape
    np.testing.assert_array_equal(found, symbols)


@pytest.mark.parametrize("size", [300, 1500, 4000, 40_000])
def test_lanes_are_chosen_alike(size: int) -> None:
    rng = np.random.default_rng(size)
    indices = rng.integers(0, 5, size)
    symbols = random_symbols(rng, FAMILY, np.broadcast_to(indices, (3, size)), escapes=0.001)
    payloads = encode_batch(symbols[:, ::-1], indices[::-1], FAMILY)
    assert payloads == [encode(item[::-1], indices[::-1], FAMILY) for item in symbols]
    np.testing.assert_array_equal(decode_batch(payloads, indices[::-1], FAMILY, (size,)), symbols[:, ::-1])


@settings(max_examples=200, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=3),
    cut=st.integers(0, 9),
    tail=st.binary(max_size=3),
    seed=st.integers(0, 5),
)
def test_damage_is_seen_as_in_one_payload(flips: list[tuple[int, int]], cut: int, tail: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 5, 60)
    symbols = random_symbols(rng, FAMILY, np.broadcast_to(indices, (3, 60)), escapes=0.1)
    payloads = encode_batch(symbols, indices, FAMILY)
    data = bytearray(payloads[1])
    for place, bits in flips:
        data[place % len(data)] ^= bits
    payloads[1] = bytes(data[: len(data) - cut]) + tail
    try:
        expected = decode(payloads[1], indices, FAMILY)
    except CorruptStreamError:
        with pytest.raises(CorruptStreamError, match="item 1"):
            decode_batch(payloads, indices, FAMILY, (60,))
        return
    np.testing.assert_array_equal(decode_batch(payloads, indices, FAMILY, (60,))[1], expected)


@settings(max_examples=200, deadline=None)
@given(head=st.binary(max_size=12), data=st.binary(max_size=200))
def test_random_bytes(head: bytes, data: bytes) -> None:
    for payload in (head + data, bytes([0]) + head + data, bytes([2, 0]) + data):
        try:
            decode_batch([payload], 0, FAMILY, (7,))
        except CorruptStreamError:
            continue
        assert decode(payload, 0, FAMILY, count=7).shape == (7,)


def test_impossible_counts_take_no_memory() -> None:
    payloads = encode_batch(np.zeros((3, 10), int), 0, FAMILY)
    decode_batch(payloads, 0, FAMILY, (10,))
    tracemalloc.start()
    for shape in ((1 << 40,), (1 << 62, 1 << 62), (1 << 20, 1 << 20)):
        with pytest.raises(CorruptStreamError, match="item 0: .* cannot hold"):
            decode_batch(payloads, 0, FAMILY, shape)
    with pytest.raises(CorruptStreamError, match="item 2: 0 bytes"):
        decode_batch([*payloads[:2], b""], 0, FAMILY, (10,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 16


def test_wrong_arguments() -> None:
    tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    payloads = encode_batch([[0, 1]], 0, tables)
    with pytest.raises(ValueError, match="no axes"):
        encode_batch(3, 0, tables)
    with pytest.raises(ValueError, match="1 tables"):
        encode_batch([[0, 1]], [0, 1], tables)
    with pytest.raises(ValueError, match="1 tables"):
        decode_batch(payloads, 1, tables, (2,))
    with pytest.raises(ValueError, match="sides"):
        decode_batch(payloads, 0, tables, (-2,))
    with pytest.raises(ValueError):
        encode_batch([[0, 1]], [0, 0, 0], tables)
    with pytest.raises(TypeError, match="item 0 is str"):
        decode_batch(["x"], 0, tables, (2,))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="float64"):
        encode_batch([[0.5]], 0, tables)
    with pytest.raises(ValueError, match="32-bit"):
        encode_batch([[2**31]], 0, tables)
    with pytest.raises(CorruptStreamError, match="empty"):
        decode_batch(payloads, 0, tables, (0,))
