# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile rANS payloads: CorruptStreamError, bounded memory, one spelling."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import RansDecoder, TableFamily, decode, encode
from isthmus.errors import CorruptStreamError
from tests.entropy.random_tables import laplacian_family, random_family, random_symbols

TABLES = random_family(np.random.default_rng(0), 12, 5)
INDICES = np.random.default_rng(1).integers(0, 5, 300)
SYMBOLS = random_symbols(np.random.default_rng(2), TABLES, INDICES, escapes=0.05)
PAYLOADS = {lanes: encode(SYMBOLS, INDICES, TABLES, lanes=lanes) for lanes in (1, 8)}


def refused_or_canonical(data: bytes) -> None:
    """Only CorruptStreamError; what decodes nevertheless encodes to the same bytes again."""
    try:
        decoder = RansDecoder(data, TABLES)
        symbols = decoder.decode(INDICES)
        decoder.finish()
    except CorruptStreamError:
        return
    assert encode(symbols, INDICES, TABLES, lanes=decoder.lanes) == data


@pytest.mark.parametrize("lanes", [1, 8])
def test_truncated(lanes: int) -> None:
    for length in range(len(PAYLOADS[lanes])):
        with pytest.raises(CorruptStreamError):
            decode(PAYLOADS[lanes][:length], INDICES, TABLES)


@settings(max_examples=400, deadline=None)
@given(
    lanes=st.sampled_from([1, 8]),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 3),
    tail=st.binary(max_size=3),
)
def test_flipped_cut_and_prolonged(lanes: int, flips: list[tuple[int, int]], cut: int, tail: bytes) -> None:
    data = bytearray(PAYLOADS[lanes])
    for place, bits in flips:
        data[place % len(data)] ^= bits
    refused_or_canonical(bytes(data[: len(data) - cut]) + tail)


@settings(max_examples=300, deadline=None)
@given(head=st.integers(0, 6), data=st.binary(max_size=400))
def test_random_bytes(head: int, data: bytes) -> None:
    refused_or_canonical(bytes([head]) + data)


def test_every_payload_has_one_spelling() -> None:
    """Of the shortest payloads, those that decode as one or two symbols are what the encoder makes of these."""
    tables = TableFamily(12, [0], [2], [3000, 1000, 96])
    accepted = []
    for state in range(43_000, 63_000):
        data = bytes([0, 0]) + state.to_bytes(4, "little")
        for indices in ([0], [0, 0]):
            try:
                symbols = decode(data, indices, tables)
            except CorruptStreamError:
                continue
            accepted.append(symbols.tolist())
            assert encode(symbols, 0, tables, lanes=1) == data
    assert accepted == [[0], [0, 0]]


@pytest.mark.parametrize(
    "data,message",
    [
        (bytes([6, 0]) + bytes(400), "lane code 6"),
        (bytes([0]), "cut"),
        (bytes([0, 0x80, 0]) + bytes(8), "not minimal"),
        (bytes([0, 0, 0, 128, 0]), "5 bytes cannot hold 1 states and 0 bytes"),
        (bytes([0, 0, 0, 128, 0, 0, 7]), "cannot hold"),
        (bytes([0, *[255] * 8, 0x7F, 0, 128, 0, 0]), "cannot hold 1 states and 9223372036854775807 bytes"),
        (bytes([0, 0, 255, 127, 0, 0]), "outside"),
        (bytes([0, 0, 0, 0, 0, 128]), "outside"),
    ],
)
def test_the_head_is_checked(data: bytes, message: str) -> None:
    with pytest.raises(CorruptStreamError, match=message):
        RansDecoder(data, TABLES)


def test_a_payload_must_be_used_up() -> None:
    tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    payload = encode([0, 1, 300, 0], 0, tables)
    for count in (1, 2, 3):
        decoder = RansDecoder(payload, tables)
        decoder.decode(0, count=count)
        with pytest.raises(CorruptStreamError, match="left over"):
            decoder.finish()
    with pytest.raises(CorruptStreamError):
        decode(payload, np.zeros(5, int), tables)


def test_no_symbols_have_no_other_spelling() -> None:
    with pytest.raises(CorruptStreamError, match="left over"):
        RansDecoder(bytes([0, 0, 0, 128, 0, 0]), TABLES).finish()


def test_escapes_are_checked() -> None:
    tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    payload = encode([2**31 - 1], 0, tables)  # 5 bytes: 2 (2^31 - 1 - 2) = fa ff ff ff 0f
    assert payload[-5:].hex() == "faffffff0f"
    for escape in ("fcffffff0f01", "feffffff0f", "fafffffffF00", "fa80", "fa", "ffffffff7f", "ffffffffff01", ""):
        data = payload[:1] + bytes([len(escape) // 2]) + payload[2:-5] + bytes.fromhex(escape)
        with pytest.raises(CorruptStreamError):
            decode(data, [0], tables)
    assert decode(payload[:-5] + bytes.fromhex("fbffffff0f"), [0], tables) == -1 - 1 - (2**31 - 3)


def test_a_decoder_that_failed_stays_failed() -> None:
    decoder = RansDecoder(PAYLOADS[1][:-40] + PAYLOADS[1][-38:], TABLES)
    for _ in range(3):
        with pytest.raises(CorruptStreamError):
            decoder.decode(INDICES)
        with pytest.raises(CorruptStreamError):
            decoder.finish()


def test_impossible_counts_take_no_memory() -> None:
    """A header may announce any size; `count`, and indices that are broadcast, are bounded by the payload."""
    tables = laplacian_family(np.array([0.05, 3.0]), 15)
    payload = encode(np.zeros(1000, int), 1, tables)
    huge = np.broadcast_to(np.array([1, 1, 1], np.uint16)[:, None, None], (3, 1 << 16, 1 << 16))
    for indices, count in ((1, 1000), (np.ones(1000, np.uint16), None)):  # tables and kernels are made at first use
        assert not decode(payload, indices, tables, count).any()
    tracemalloc.start()
    for indices, count in ((1, 1 << 40), (1, 1 << 100), (0, 1 << 40), (huge, None)):
        with pytest.raises(CorruptStreamError, match="more symbols were announced"):
            RansDecoder(payload, tables).decode(indices, count)
    with pytest.raises(CorruptStreamError, match="more symbols were announced"):
        RansDecoder(b"", tables).decode(0, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 16


def test_the_bound_holds_for_the_cheapest_symbols() -> None:
    """A table that is as certain as tables can be: the longest payloads for their size are not refused."""
    for precision in (12, 15):
        tables = TableFamily(precision, [0], [1], [(1 << precision) - 1, 1])
        for lanes in (1, 2, 32):
            symbols = np.zeros(2_000_000, np.int16)
            payload = encode(symbols, 0, tables, lanes=lanes)
            assert not decode(payload, 0, tables, count=2_000_000).any()
        split = RansDecoder(payload, tables)
        for _ in range(4):
            split.decode(0, 500_000)
        split.finish()
        with pytest.raises(CorruptStreamError):
            RansDecoder(payload, tables).decode(0, 1 << 30)
