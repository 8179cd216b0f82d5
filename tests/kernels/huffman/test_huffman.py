# SPDX-License-Identifier: Apache-2.0
"""The Huffman kernels equal the definition bit for bit, and damaged streams lead nowhere."""

import heapq

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus.entropy.coders import bits
from isthmus.kernels import checksums
from isthmus.kernels.huffman import decode as fast
from isthmus.kernels.huffman import encode as encoding
from isthmus.kernels.huffman import reference, tables
from isthmus.kernels.weights import planes
from isthmus.kernels.weights import planes16 as usual

SMALL = st.dictionaries(st.integers(0, 255), st.integers(1, 1 << 40), min_size=1, max_size=40)


def counts_of(found: dict[int, int]) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for symbol, count in found.items():
        counts[symbol] = count
    return counts


def lengths_of(counts: np.ndarray) -> np.ndarray:
    lengths = np.empty(256, np.uint8)
    tables.code_lengths(counts, lengths)
    return lengths


def as_dict(lengths: np.ndarray) -> dict[int, int]:
    return {s: int(bits) for s, bits in enumerate(lengths) if bits != tables.ABSENT}


def lookups_of(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = np.empty(1 << tables.LIMIT, np.uint16), np.empty(2 << tables.LIMIT, np.uint64)
    tables.make_lookups(lengths, *found)
    return found


def encoded(symbols: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return written(np.empty(0, np.uint16), symbols, lengths)[0]


def written(weights: np.ndarray, symbols: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, ...]:
    """Streams of plane 0, plane 1, and the checks of both."""
    count = max(len(weights), len(symbols))
    pairs, part, low = (
        np.empty(1 << 16, np.uint32),
        np.empty(fast.CHUNK // 4, np.uint8),
        np.empty(len(weights), np.uint8),
    )
    out, checks = np.empty(2 * count + fast.ROOM, np.uint8), np.empty((2, -(-count // fast.CHUNK), 2), np.uint32)
    size = usual.encode(weights, symbols, lengths, tables.make_codes(lengths), pairs, out, part, low, *checks)
    return out[:size], low, *checks


def drawn(rng: np.random.Generator, count: int, kind: str) -> np.ndarray:
    if kind == "exponents":
        return (rng.normal(size=count).astype(np.float32).view(np.uint32) >> 23).astype(np.uint8)
    if kind == "uniform":
        return rng.integers(0, 256, count).astype(np.uint8)
    if kind == "one":
        return np.full(count, 200, np.uint8)
    return np.minimum(rng.geometric(0.7, count), 255).astype(np.uint8)  # codes of one bit, and of twelve


KINDS = ("exponents", "uniform", "one", "skewed")


@settings(max_examples=200, deadline=None)
@given(SMALL)
@example({7: 1})
@example({0: 1, 255: 1 << 40})
@example({k: 1 << k for k in range(40)})
def test_lengths_equal_the_definition(found: dict[int, int]) -> None:
    counts = counts_of(found)
    assert as_dict(lengths_of(counts)) == reference.code_lengths(counts.tolist())


def test_lengths_of_all_symbols() -> None:
    for counts in (np.ones(256, np.int64), np.arange(1, 257) ** 4, np.r_[np.ones(255, np.int64), 1 << 50]):
        assert as_dict(lengths_of(counts)) == reference.code_lengths(counts.tolist())


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(0, 255), st.integers(1, 60), min_size=2, max_size=60))
def test_lengths_are_as_good_as_huffman(found: dict[int, int]) -> None:
    """Where the limit does not bind, the cost is that of Huffman's own construction."""
    lengths = as_dict(lengths_of(counts_of(found)))
    assert sum(2.0**-bits for bits in lengths.values()) == 1
    heap, cost = list(found.values()), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        cost += both
        heapq.heappush(heap, both)
    if max(lengths.values()) < tables.LIMIT:
        assert sum(found[s] * bits for s, bits in lengths.items()) == cost


@settings(max_examples=100, deadline=None)
@given(SMALL)
@example({7: 1})
def test_codes_and_lookups(found: dict[int, int]) -> None:
    lengths = lengths_of(counts_of(found))
    codes = tables.make_codes(lengths)
    expected = reference.codes_of(as_dict(lengths))
    assert {s: f"{codes[s]:0{max(1, len(code))}b}"[::-1] for s, code in expected.items() if code} == {
        s: code for s, code in expected.items() if code
    }
    singles, multi = lookups_of(lengths)
    by_code = {code: s for s, code in expected.items()}
    for x in range(0, 1 << tables.LIMIT, 37):
        bits, symbols, used = f"{x:0{tables.LIMIT}b}"[::-1], [], 0
        while len(symbols) < tables.MOST:
            ends = [e for e in range(used, tables.LIMIT + 1) if bits[used:e] in by_code]
            if not ends:
                break
            symbols.append(by_code[bits[used : ends[0]]])
            used = ends[0]
        entry = int(multi[(1 << tables.LIMIT) + x])
        assert [entry >> 8 * k & 255 for k in range(len(symbols))] == symbols
        assert (entry >> tables.COUNT & 255, entry >> tables.USED) == (len(symbols), used)
        assert int(singles[x]) == len(expected[symbols[0]]) << 8 | symbols[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 255, 256, 257, 1000, 5000])
def test_streams_equal_the_definition(count: int, kind: str) -> None:
    symbols = drawn(np.random.default_rng(count), count, kind)
    lengths = lengths_of(np.bincount(symbols, minlength=256) if count else np.ones(256, np.int64))
    streams = [reference.encode_stream(symbols[r.start : r.stop].tolist(), as_dict(lengths))
               for r in reference.streams_of(count)]  # fmt: skip
    data = encoded(symbols, lengths)
    assert data.tobytes() == b"".join(streams)
    counts = np.empty((4, 256), np.uint16)
    total = encoding.count_streams(symbols, counts[: 4 * (count > 0)])
    assert total.tolist() == np.bincount(symbols, minlength=256).tolist()
    if count:
        sizes = encoding.stream_bytes(counts, lengths)
        assert sizes.tolist() == [len(stream) for stream in streams]
        at = 0
        for r, stream in zip(reference.streams_of(count), streams, strict=True):
            assert reference.decode_stream(stream, len(r), as_dict(lengths)) == symbols[r.start : r.stop].tolist()
            at += len(stream)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 64, 1000, 65535, 65536, 65537, 140_000])
def test_round_trip(count: int, kind: str) -> None:
    symbols = drawn(np.random.default_rng(count), count, kind)
    lengths = lengths_of(np.bincount(symbols, minlength=256))
    data = encoded(symbols, lengths)
    counts = np.empty((4 * -(-count // fast.CHUNK), 256), np.uint16)
    encoding.count_streams(symbols, counts)
    sizes = encoding.stream_bytes(counts, lengths).reshape(-1, 4)
    places = np.cumsum(sizes.sum(axis=1)) - sizes.sum(axis=1)
    checks = np.empty((len(sizes), 2), np.uint32)
    places_and_end = np.append(places, len(data))
    checksums.checks(data, places_and_end, checks)
    assert np.array_equal(checks, written(np.empty(0, np.uint16), symbols, lengths)[2])
    assert checksums.first_damaged(data, places_and_end, checks) == -1
    padded, out = np.append(data, np.zeros(fast.ROOM, np.uint8)), np.empty(count, np.uint8)
    assert fast.decode_chunks(padded, places, sizes, checks, *lookups_of(lengths), out) == -1
    assert np.array_equal(out, symbols)
    for k in range(len(sizes)):
        wrong = checks.copy()
        wrong[k, 1] ^= 4
        assert fast.decode_chunks(padded, places, sizes, wrong, *lookups_of(lengths), out) == k
        assert checksums.first_damaged(data, places_and_end, wrong) == k


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 0, 1), (0, 0, 0, 3)])
@pytest.mark.parametrize("count", [1024, 20_000, 65_536])
def test_streams_of_very_different_lengths(count: int, order: tuple[int, ...]) -> None:
    """One stream ends long before another: kinds are 1 to 12 bits a symbol."""
    rng = np.random.default_rng(count)
    kinds = [
        np.zeros,
        lambda n: rng.integers(0, 3, n),
        lambda n: rng.integers(0, 40, n),
        lambda n: 40 + np.arange(n) % 200,
    ]
    each = count // 4
    symbols = np.concatenate([np.asarray(kinds[k](each), np.uint8) for k in order])
    lengths = lengths_of(
        1 + 1000 * np.bincount(np.zeros(count, np.uint8), minlength=256) + np.bincount(symbols, minlength=256)
    )
    data = encoded(symbols, lengths)
    counts = np.empty((4, 256), np.uint16)
    encoding.count_streams(symbols, counts)
    sizes = encoding.stream_bytes(counts, lengths)
    padded, out = np.append(data, np.zeros(fast.ROOM, np.uint8)), np.empty(count, np.uint8)
    assert fast.decode_chunk(padded, 0, sizes, *lookups_of(lengths), out, 0, out)
    assert np.array_equal(out, symbols)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_decode_to_something(data: st.DataObject) -> None:
    """Whatever the streams and their sizes, decoding ends, within its arrays."""
    count = data.draw(st.integers(1, 3000))
    noise = np.frombuffer(data.draw(st.binary(min_size=0, max_size=600)), np.uint8)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(noise)), min_size=3, max_size=3)))
    sizes = np.diff([0, *cuts, len(noise)])
    lengths = lengths_of(counts_of(data.draw(SMALL)))
    guarded, out = np.append(noise, np.zeros(fast.ROOM, np.uint8)), np.full(count + 64, 99, np.uint8)
    fast.decode_chunk(guarded, 0, sizes, *lookups_of(lengths), out[:count], 0, out)
    assert (out[count:] == 99).all()
    known = set(as_dict(lengths))
    assert set(out[:count].tolist()) <= known


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 7, 8, 9, 1000, 65536, 65537, 200_003])
def test_checks_equal_the_definition(count: int) -> None:
    for body in (np.random.default_rng(count).integers(0, 256, count).astype(np.uint8), np.full(count, 255, np.uint8)):
        assert tuple(int(v) for v in checksums.check(body)) == reference.check(body.tobytes())


@pytest.mark.parametrize("width", [2, 4])
def test_planes_equal_the_definition(width: int) -> None:
    dtype = {2: np.uint16, 4: np.uint32}[width]
    for count in (0, 1, 5, 1000):
        weights = np.random.default_rng(count).integers(0, 256**width, count).astype(dtype)
        found = [np.empty(count, np.uint8) for _ in range(width)]
        split, merge = {2: (planes.split2, planes.merge2), 4: (planes.split4, planes.merge4)}[width]
        split(weights, *found)
        assert np.stack(found, axis=1).tolist() == [reference.split(int(w), width) for w in weights] if count else True
        again = np.empty_like(weights)
        merge(*found, again)
        assert np.array_equal(again, weights)


@pytest.mark.parametrize("count", [1, 64, 1000, 65537, 131_072])
def test_one_pass_equals_plane_after_plane(count: int) -> None:
    weights = (np.random.default_rng(count).normal(size=count).astype(np.float32).view(np.uint32) >> 16).astype("u2")
    high, low = np.empty(count, np.uint8), np.empty(count, np.uint8)
    planes.split2(weights, high, low)
    counts = np.empty((4 * -(-count // fast.CHUNK), 256), np.uint16)
    again = counts.copy()
    assert np.array_equal(encoding.count_streams(high, counts), encoding.count_streams(weights, again))
    assert np.array_equal(counts, again)
    lengths = lengths_of(np.bincount(high, minlength=256))
    data, plane1, _, checks = written(weights, high[:0], lengths)
    assert np.array_equal(data, encoded(high, lengths)) and np.array_equal(plane1, low)
    assert tuple(checks[0]) == reference.check(low[: fast.CHUNK].tobytes())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 1001])
def test_wide_planes(count: int) -> None:
    """Six bits of each weight as `bits.1`, the rest as integers; what cannot be is told."""
    rng = np.random.default_rng(count)
    high, low = (rng.integers(0, 256, count).astype(np.uint8) for _ in range(2))
    symbols, packed = np.empty(count, np.int16), np.empty((6 * count + 7) // 8, np.uint8)
    planes.widen(high, low, symbols)
    planes.pack_rest(low, packed)
    assert symbols.tolist() == [h << 2 | b >> 5 & 3 for h, b in zip(high.tolist(), low.tolist(), strict=True)]
    assert packed.tobytes() == bits.encode((low >> 2 & 0x20) | low & 0x1F, 6)
    again = np.empty(count, np.uint8), np.empty(count, np.uint8)
    assert planes.narrow(symbols.astype(np.int32), packed, *again)
    assert np.array_equal(again[0], high) and np.array_equal(again[1], low)
    for bad in (1024, -1) if count else ():
        wrong = symbols.astype(np.int32)
        wrong[-1] = bad
        assert not planes.narrow(wrong, packed, *again)
    if count % 4:
        packed[-1] |= 0x80
        assert not planes.narrow(symbols.astype(np.int32), packed, *again)
