# SPDX-License-Identifier: Apache-2.0
"""Chunks: what the page says, the same on any number of threads, and damage that is seen."""

import tracemalloc
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import TableFamily
from isthmus.entropy.coders import chunks, rans
from isthmus.errors import CorruptStreamError
from isthmus.varint import pack_varint
from tests.entropy.random_tables import random_family, random_symbols

FAMILY = random_family(np.random.default_rng(0), 13, 5)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    count=st.integers(1, 9),
    threads=st.integers(1, 3),
    one=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_page_and_the_round_trip(shape: list[int], count: int, threads: int, one: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 5, () if one else shape)
    symbols = random_symbols(rng, FAMILY, np.broadcast_to(indices, shape), escapes=0.05)
    n = symbols.size
    count = min(count, n)
    data = chunks.encode(symbols, indices, FAMILY, chunks=count or None, threads=threads)
    flat, spread = symbols.reshape(-1), np.broadcast_to(indices, shape).reshape(-1)
    cuts = [j * n // max(count, 1) for j in range(count + 1)]
    payloads = [rans.encode(flat[a:b], spread[a:b], FAMILY) for a, b in pairwise(cuts)]
    head = pack_varint(count) + b"".join(pack_varint(len(payload)) for payload in payloads) if n else b""
    assert data == head + b"".join(payloads)
    found = chunks.decode(data, int(indices) if one else indices, FAMILY, n if one else None, threads=threads)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found.reshape(shape), symbols)


def test_large_arrays_on_threads() -> None:
    rng = np.random.default_rng(1)
    indices = np.repeat(rng.integers(0, 5, 300_001), 2).astype(np.uint16)[::2]
    symbols = random_symbols(rng, FAMILY, indices, escapes=0.001)
    data = chunks.encode(symbols, indices, FAMILY, threads=2)
    assert data[0] == 2 and data == chunks.encode(symbols, indices, FAMILY)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(chunks.decode(data, indices, FAMILY, threads=threads), symbols)


@settings(max_examples=200, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 9999), st.integers(1, 255)), max_size=3), cut=st.integers(0, 9))
def test_damage(flips: list[tuple[int, int]], cut: int) -> None:
    indices = np.arange(90) % 5
    symbols = random_symbols(np.random.default_rng(3), FAMILY, indices, escapes=0.1)
    data = bytearray(chunks.encode(symbols, indices, FAMILY, chunks=4))
    for place, flip in flips:
        data[place % len(data)] ^= flip
    damaged = bytes(data[: len(data) - cut])
    try:
        found = chunks.decode(damaged, indices, FAMILY, threads=2)
    except CorruptStreamError:
        return
    assert found.shape == indices.shape


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=80), n=st.integers(0, 40))
def test_any_bytes(data: bytes, n: int) -> None:
    with suppress(CorruptStreamError):
        assert chunks.decode(data, 1, FAMILY, n).shape == (n,)


def test_lying_heads_take_no_memory() -> None:
    data = chunks.encode(np.zeros(100, int), 0, FAMILY, chunks=4)
    broadcast = np.broadcast_to(np.uint16(0), (1 << 20, 1 << 20))
    chunks.decode(data, 0, FAMILY, 100)
    heads = [pack_varint(5) + data[1:], pack_varint(1 << 40) + data[1:], bytes([1, 0]), bytes([2, 255, 255, 3, 1])]
    tracemalloc.start()
    for payload in (*heads, data + b"\0", data[:-1], b"", b"\1"):
        with pytest.raises(CorruptStreamError):
            chunks.decode(payload, 0, FAMILY, 100)
    for arguments in ((0, FAMILY, 1 << 50), (broadcast, FAMILY)):
        with pytest.raises(CorruptStreamError, match="cannot hold"):
            chunks.decode(data, *arguments)
    with pytest.raises(CorruptStreamError, match="must be empty"):
        chunks.decode(data, 0, FAMILY, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 16


def test_wrong_arguments() -> None:
    tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    for count in (0, 4, 5000):
        with pytest.raises(ValueError, match=f"{count} chunks of 3"):
            chunks.encode([0, 1, 0], 0, tables, chunks=count)
    with pytest.raises(ValueError, match="threads"):
        chunks.encode([0, 1], 0, tables, threads=0)
    with pytest.raises(ValueError, match="1 tables"):
        chunks.encode([0, 1, 0], [0, 1, 0], tables, threads=2)
    with pytest.raises(ValueError, match="count"):
        chunks.decode(b"", [0, 0], tables, 2)
    with pytest.raises(TypeError):
        chunks.encode([0.5], 0, tables)
    data = chunks.encode([0, 1, 0], 0, tables)
    with pytest.raises(ValueError, match="1 tables"):
        chunks.decode(data, 1, tables, 3)
    assert chunks.encode([], 0, tables) == b"" and chunks.decode(b"", 0, tables, 0).shape == (0,)
