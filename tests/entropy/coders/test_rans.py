# SPDX-License-Identifier: Apache-2.0
"""rANS payloads: the kernel against the reference, round trips, resumed decoding, runs, inputs, size."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import RansDecoder, TableFamily, decode, encode, encode_segments
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.kernels.rans import reference as rans_reference
from tests.entropy.random_tables import (
    frequencies_of,
    laplacian_family,
    random_family,
    random_symbols,
    reference_payload,
)

LANES = [1, 2, 4, 8, 16, 32]
INT32 = st.one_of(
    st.integers(-(2**31), 2**31 - 1), st.integers(-60, 60), st.sampled_from([-(2**31), 2**31 - 1, 2**31 - 2])
)


@pytest.mark.parametrize("precision", [12, 13, 14, 15])
@pytest.mark.parametrize("lanes", LANES)
def test_the_kernel_equals_the_reference(precision: int, lanes: int) -> None:
    rng = np.random.default_rng(100 * precision + lanes)
    tables = random_family(rng, precision, 7)
    for length in (0, 1, 2, 3, 5, 31, 33, 400):
        indices = rng.integers(0, 7, length)
        symbols = random_symbols(rng, tables, indices, escapes=0.05)
        payload = encode(symbols, indices, tables, lanes=lanes)
        assert payload == reference_payload(symbols.tolist(), indices.tolist(), tables, lanes)
        np.testing.assert_array_equal(decode(payload, indices, tables), symbols)


def test_the_kernel_decodes_what_the_reference_decodes() -> None:
    """Any states and words, not only those that an encoder makes."""
    rng = np.random.default_rng(5)
    tables = random_family(rng, 15, 4, largest=3000)
    for lanes in LANES:
        states = rng.integers(1 << 15, 1 << 31, lanes)
        words = rng.integers(0, 1 << 16, 500)
        indices = rng.integers(0, 4, 300)
        payload = bytes([lanes.bit_length() - 1, 0]) + states.astype("<u4").tobytes() + words.astype("<u2").tobytes()
        expected, _ = rans_reference.decode(
            states.tolist(), words.tolist(), 0, 0, [frequencies_of(tables, k) for k in indices], 15
        )
        entries = np.array(expected)
        kept = entries[: (*np.flatnonzero(entries == tables.size[indices]), len(entries))[0]]  # no escape bytes here
        found = RansDecoder(payload, tables).decode(indices[: len(kept)])
        np.testing.assert_array_equal(found, kept + tables.low[indices[: len(kept)]])


def test_a_large_payload_equals_the_reference() -> None:
    rng = np.random.default_rng(6)
    tables = laplacian_family(np.geomspace(0.3, 20, 8), 14)
    indices = rng.integers(0, 8, 20_000)
    symbols = random_symbols(rng, tables, indices, escapes=0.001)
    payload = encode(symbols, indices, tables)
    assert payload == reference_payload(symbols.tolist(), indices.tolist(), tables, 32)
    np.testing.assert_array_equal(decode(payload, indices, tables), symbols)


def test_families_with_more_than_65536_entries() -> None:
    rng = np.random.default_rng(7)
    tables = random_family(rng, 15, 9, largest=30_000)
    assert tables.no_entries.dtype == np.uint32
    indices = rng.integers(0, 9, 3000)
    symbols = random_symbols(rng, tables, indices, escapes=0.01)
    payload = encode(symbols, indices, tables, lanes=4)
    assert payload == reference_payload(symbols.tolist(), indices.tolist(), tables, 4)
    np.testing.assert_array_equal(decode(payload, indices, tables), symbols)


def test_reciprocals_are_exact_at_every_border() -> None:
    """x // f for every frequency, at the multiples of f where rounding would show first, up to the largest state."""
    f = np.arange(1, 1 << 15, dtype=np.int32)
    rows = rans_lanes.encoder_rows(f, np.zeros_like(f)).reshape(-1, 4).astype(np.uint64)
    top = np.uint64(2**31 - 1)
    wide = f.astype(np.uint64)
    random = np.random.default_rng(8).integers(0, 1 << 31, (20, len(f)), dtype=np.uint64)
    one = np.uint64(1)
    multiples = [top // wide * wide, (top // wide - one) * wide, wide * wide, *(random // wide * wide)]
    for multiple in multiples:
        for x in (multiple, multiple - one, np.minimum(multiple + wide - one, top)):
            x = np.where(x > top, top, x)  # 0 - 1
            np.testing.assert_array_equal((x * rows[:, 2]) >> rows[:, 3], x // wide)


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.tuples(INT32, st.integers(0, 4)), max_size=80),
    lanes=st.sampled_from([None, *LANES]),
    seed=st.integers(0, 5),
)
def test_round_trip(values: list[tuple[int, int]], lanes: int | None, seed: int) -> None:
    tables = random_family(np.random.default_rng(seed), 12 + seed % 4, 5)
    symbols, indices = [v for v, _ in values], np.array([k for _, k in values], int)
    payload = encode(symbols, indices, tables, lanes=lanes)
    assert payload == reference_payload(symbols, indices.tolist(), tables, lanes or 1)
    assert decode(payload, indices, tables).tolist() == symbols


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=12), lanes=st.sampled_from(LANES), seed=st.integers(0, 99))
def test_decoding_resumes_anywhere(cuts: list[int], lanes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = random_family(rng, 13, 3)
    indices = rng.integers(0, 3, 300)
    symbols = random_symbols(rng, tables, indices, escapes=0.1)
    decoder = RansDecoder(encode(symbols, indices, tables, lanes=lanes), tables)
    places = [0, *sorted(cuts), 300]
    parts = [decoder.decode(indices[a:b]) for a, b in pairwise(places)]
    decoder.finish()
    np.testing.assert_array_equal(np.concatenate(parts), symbols)
    assert decoder.lanes == lanes


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40)), max_size=10),
    lanes=st.sampled_from([None, *LANES]),
    seed=st.integers(0, 99),
)
def test_runs_equal_an_index_for_each_symbol(runs: list[tuple[int, int]], lanes: int | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = random_family(rng, 12, 5)
    indices = np.repeat([k for k, _ in runs], [n for _, n in runs]).astype(np.uint16)
    symbols = random_symbols(rng, tables, indices, escapes=0.1)
    payload = encode(symbols, indices, tables, lanes=lanes)
    segments = []
    position = 0
    for k, n in runs:
        segments.append((symbols[position : position + n], k))
        position += n
    assert encode_segments(segments, tables, lanes=lanes) == payload
    decoder = RansDecoder(payload, tables)
    parts = [decoder.decode(k, count=n) for k, n in runs]
    decoder.finish()
    assert np.concatenate([*parts, []]).tolist() == symbols.tolist()


def test_inputs_of_every_kind_give_the_same_bytes() -> None:
    rng = np.random.default_rng(9)
    tables = random_family(rng, 12, 6)
    channel = rng.integers(0, 6, (6, 1, 1))
    symbols = rng.integers(-60, 60, (6, 5, 7)).astype(np.int16)
    payload = encode(symbols, np.broadcast_to(channel, symbols.shape).copy(), tables)
    read_only = symbols.copy()
    read_only.setflags(write=False)
    doubled = np.zeros((6, 10, 14), np.int16)
    doubled[:, ::2, ::-2] = symbols
    kinds: list[Any] = [read_only, doubled[:, ::2, ::-2], np.asfortranarray(symbols), symbols.tolist()]
    kinds += [symbols.astype(kind) for kind in (np.int8, np.int32, np.int64, ">i2", ">i4")]
    kinds += [torch.from_numpy(symbols), torch.from_numpy(symbols).long()]
    for kind in kinds:
        assert encode(kind, channel, tables) == payload
    for indices in (channel, channel.astype(np.uint8), torch.from_numpy(channel), channel.tolist()):
        assert encode(symbols, indices, tables) == payload
    spread = torch.from_numpy(channel).expand(6, 5, 7)
    for indices in (np.broadcast_to(channel, symbols.shape), np.broadcast_to(channel, symbols.shape).copy(), spread):
        np.testing.assert_array_equal(decode(payload, indices, tables), symbols)
    for data in (bytearray(payload), memoryview(payload), np.frombuffer(payload, np.uint8)):
        np.testing.assert_array_equal(decode(data, spread, tables), symbols)  # type: ignore[arg-type]
    unsigned = symbols.astype(np.uint8)
    assert encode(unsigned, channel, tables) == encode(unsigned.astype(np.int32), channel, tables)


def test_a_single_symbol_without_axes() -> None:
    tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    symbol = decode(encode(1, 0, tables), 0, tables)
    assert symbol.shape == () and symbol.dtype == np.int32 and int(symbol) == 1


def test_no_symbols_are_no_bytes() -> None:
    tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    assert encode([], 0, tables) == encode(np.zeros((3, 0), np.int8), 0, tables) == encode_segments([], tables) == b""
    decoder = RansDecoder(b"", tables)
    assert decoder.decode(np.zeros((2, 0), int)).shape == (2, 0)
    assert decoder.decode(0, count=0).shape == (0,)
    decoder.finish()
    assert decoder.lanes == 0
    assert encode([], 0, tables, lanes=decoder.lanes) == b""


def test_wrong_arguments() -> None:
    tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    payload = encode([0, 1], 0, tables)
    with pytest.raises(TypeError, match="float64"):
        encode([0.5], 0, tables)
    with pytest.raises(TypeError, match="float32"):
        encode([0], np.zeros(1, np.float32), tables)
    for symbol in (2**31, -(2**31) - 1):
        with pytest.raises(ValueError, match="32-bit"):
            encode([symbol], 0, tables)
    for index in (1, -1, [0, 70000]):
        with pytest.raises(ValueError, match="1 tables"):
            encode([0, 0], index, tables)
        with pytest.raises(ValueError, match="1 tables"):
            decode(payload, index, tables)
    for lanes in (0, 3, 64, -1):
        with pytest.raises(ValueError, match="lanes"):
            encode([0], 0, tables, lanes=lanes)
    with pytest.raises(ValueError, match="count"):
        RansDecoder(payload, tables).decode([0, 0], count=2)
    with pytest.raises(ValueError, match="count"):
        RansDecoder(payload, tables).decode(0, count=-1)
    with pytest.raises(TypeError):
        RansDecoder(payload, tables).decode(0, count=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [10_000, 100_000])
@pytest.mark.parametrize("precision", [12, 15])
def test_size_is_the_cross_entropy(length: int, precision: int) -> None:
    """Within 0.5 % and the fixed bytes of one lane; each further lane costs about 3 bytes."""
    rng = np.random.default_rng(length)
    scales = np.geomspace(0.2, 8, 16)
    tables = laplacian_family(scales, precision)
    indices = rng.integers(0, 16, length)
    symbols = np.round(rng.laplace(0, scales[indices])).astype(np.int32)
    entry = symbols - tables.low[indices]
    inside = (entry >= 0) & (entry < tables.size[indices])
    entry = np.where(inside, entry, tables.size[indices])
    ideal = (precision - np.log2(tables.frequencies[tables.starts[indices] + entry])).sum() / 8
    one = len(encode(symbols, indices, tables, lanes=1))
    escapes = 2 * np.count_nonzero(~inside)
    assert ideal <= one <= ideal * 1.005 + 8 + escapes
    assert len(encode(symbols, indices, tables)) <= one + 31 * 4


def test_lanes_cost_less_than_one_percent_from_4_kilobytes() -> None:
    rng = np.random.default_rng(10)
    tables = laplacian_family(np.array([3.0]))
    symbols = np.round(rng.laplace(0, 3, 200_000)).astype(np.int16)
    seen = set()
    for length in (10, 1500, 9_000, 15_000, 30_000, 60_000, 200_000):
        payload = encode(symbols[:length], 0, tables)
        lanes = RansDecoder(payload, tables).lanes
        one = len(encode(symbols[:length], 0, tables, lanes=1))
        assert len(payload) < 1.01 * one
        assert lanes == 1 or one >= 512 * lanes
        seen.add(lanes)
    assert seen == {1, 8, 16, 32} and lanes == 32
