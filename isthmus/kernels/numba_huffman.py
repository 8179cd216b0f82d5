# SPDX-License-Identifier: Apache-2.0
"""Four Huffman streams a chunk on the CPU; equals `reference_huffman` bit for bit.

Bytes are read and written eight at a time at any place (`unaligned`), so each array has that much room behind it. No
stream can lead out of its array: loops are as long as the rest of each stream allows, then places are clamped to its
end; and every lookup gives at least one symbol.
"""

import numpy as np
from numba import njit

from isthmus.kernels.numba_huffman_tables import COUNT, LIMIT, MOST, SYMBOLS, USED
from isthmus.kernels.numba_weight_planes import check
from isthmus.kernels.unaligned import load64, store64

STREAMS = 4
CHUNK = 1 << 16  # symbols
GROUP = 64  # symbols that lie one behind the other in one stream, whatever the length of the chunk
LOOKUPS = 4  # before more bits are loaded: LIMIT * LOOKUPS + 7 <= 64
ROOM = 8  # bytes behind an array that may be touched
U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64
TABLE = U64(1 << LIMIT)
MASK = U64((1 << LIMIT) - 1)
PAIR, CODE = U64(0xFFFF), U64(0xFFFFFF)  # of `make_pairs`: two symbols, and their code


@njit(cache=True, nogil=True)
def quarter(count):  # type: ignore[no-untyped-def]
    """Symbols of each stream but the last ones, of a chunk of `count`: a multiple of GROUP."""
    return (count + STREAMS * GROUP - 1) // (STREAMS * GROUP) * GROUP


@njit(cache=True, nogil=True)
def streams_of(count):  # type: ignore[no-untyped-def]
    """Where the streams of a chunk of `count` symbols begin, and the last ends: int64 [5]."""
    each = (count + STREAMS * GROUP - 1) // (STREAMS * GROUP) * GROUP
    return np.minimum(np.arange(STREAMS + 1) * each, count)


@njit(cache=True, nogil=True)
def count_stream(symbols, counts, total):  # type: ignore[no-untyped-def]
    """Fills counts, uint16 [256], with the histogram of symbols, uint8 [n], n < 2**16, and adds it to int64 `total`."""
    parts = np.zeros((8, SYMBOLS), np.uint32)  # a run of one symbol would wait for its own counter
    whole = len(symbols) // 8 * 8
    for i in range(0, whole, 8):
        eight = load64(symbols, U64(i))
        for k in range(8):
            parts[k, eight & U64(255)] += U32(1)
            eight >>= U64(8)
    for i in range(whole, len(symbols)):
        parts[0, symbols[i]] += U32(1)
    for s in range(SYMBOLS):
        count = parts[:, s].sum()
        counts[s] = U16(count)
        total[s] += np.int64(count)


@njit(cache=True, nogil=True)
def count_streams(symbols, counts):  # type: ignore[no-untyped-def]
    """Fills counts, uint16 [chunks * STREAMS, 256], with each stream's histogram; returns their sum, int64 [256]."""
    total = np.zeros(SYMBOLS, np.int64)
    for row in range(len(counts)):
        chunk = symbols[row // STREAMS * CHUNK :][:CHUNK]
        at = streams_of(len(chunk))
        count_stream(chunk[at[row % STREAMS] : at[row % STREAMS + 1]], counts[row], total)
    return total


@njit(cache=True, nogil=True)
def stream_bytes(counts, lengths, sizes):  # type: ignore[no-untyped-def]
    """Fills sizes, int64 [streams], with the bytes of streams of the given histograms, uint16 [streams, 256]."""
    for i in range(len(counts)):
        bits = np.int64(0)
        for s in range(SYMBOLS):
            bits += np.int64(counts[i, s]) * np.int64(lengths[s])
        sizes[i] = (bits + 7) // 8


@njit(inline="always")
def _load(data, bit):  # type: ignore[no-untyped-def]
    """57 bits or more from a bit on."""
    return load64(data, bit >> U64(3)) >> (bit & U64(7))


@njit(inline="always")
def _lookup(bits, bit, out, at, multi):  # type: ignore[no-untyped-def]
    """One lookup: the bits that are left, the bit and the place in `out` after it."""
    entry = multi[TABLE + (bits & MASK)]
    store64(out, at, entry)
    used = entry >> U64(USED)
    return bits >> used, bit + used, at + (entry >> U64(COUNT) & U64(255))


@njit(inline="always")
def _steps(bit, end, at, stop):  # type: ignore[no-untyped-def]
    """How many times LOOKUPS lookups can be made without leaving the stream or its symbols; signed."""
    symbols = (np.int64(stop) - np.int64(at) - ROOM) // (MOST * LOOKUPS)
    return min(symbols, (np.int64(end) * 8 - np.int64(bit)) // (LIMIT * LOOKUPS))


@njit(cache=True, nogil=True)
def _finish(data, bit, end, out, at, stop, singles, multi):  # type: ignore[no-untyped-def]
    """The symbols at..stop of one stream: the bit after them. Here places are clamped to the stream's end."""
    while at + U64(ROOM) <= stop:
        bits = load64(data, min(bit >> U64(3), end)) >> (bit & U64(7))
        bits, bit, at = _lookup(bits, bit, out, at, multi)
    while at < stop:
        one = U64(singles[load64(data, min(bit >> U64(3), end)) >> (bit & U64(7)) & MASK])
        out[at] = U8(one & U64(255))
        bit += one >> U64(8)
        at += U64(1)
    return bit


@njit(cache=True, nogil=True)
def decode_chunk(data, first, sizes, singles, multi, out):  # type: ignore[no-untyped-def]
    """Decodes len(out) symbols from STREAMS streams that begin at data[first]; whether each ended where it should.

    sizes: bytes of each stream; data has ROOM bytes behind the last of them. out: uint8 [n]. The streams take turns
    lookup by lookup: each waits for its own table entry, and the processor looks ahead for a few dozen instructions.
    """
    at = streams_of(len(out))
    a0, s0, s1, s2, n = U64(0), U64(at[1]), U64(at[2]), U64(at[3]), U64(at[4])
    a1, a2, a3 = s0, s1, s2
    e0 = U64(first) + U64(sizes[0])
    e1 = e0 + U64(sizes[1])
    e2 = e1 + U64(sizes[2])
    e3 = e2 + U64(sizes[3])
    b0, b1, b2, b3 = U64(first) << U64(3), e0 << U64(3), e1 << U64(3), e2 << U64(3)
    steps = np.int64(1)
    while steps > 0:
        steps = min(_steps(b0, e0, a0, s0), _steps(b1, e1, a1, s1))
        steps = min(steps, min(_steps(b2, e2, a2, s2), _steps(b3, e3, a3, n)))
        for _ in range(steps):
            w0, w1, w2, w3 = _load(data, b0), _load(data, b1), _load(data, b2), _load(data, b3)
            for _ in range(LOOKUPS):
                w0, b0, a0 = _lookup(w0, b0, out, a0, multi)
                w1, b1, a1 = _lookup(w1, b1, out, a1, multi)
                w2, b2, a2 = _lookup(w2, b2, out, a2, multi)
                w3, b3, a3 = _lookup(w3, b3, out, a3, multi)
    b0 = _finish(data, b0, e0, out, a0, s0, singles, multi)
    b1 = _finish(data, b1, e1, out, a1, s1, singles, multi)
    b2 = _finish(data, b2, e2, out, a2, s2, singles, multi)
    b3 = _finish(data, b3, e3, out, a3, n, singles, multi)
    up = U64(7)
    closed = (b0 + up) >> U64(3) == e0 and (b1 + up) >> U64(3) == e1
    return closed and (b2 + up) >> U64(3) == e2 and (b3 + up) >> U64(3) == e3


@njit(cache=True, nogil=True)
def decode_chunks(data, places, sizes, checks, singles, multi, out):  # type: ignore[no-untyped-def]
    """Decodes len(places) chunks of one table, each checked before; the number of the first damaged one, or -1.

    places: int64 [chunks], where each begins in data; sizes: int64 [chunks, STREAMS]; checks: uint32 [chunks, 2].
    """
    for chunk in range(len(places)):
        begin = places[chunk]
        a, b = check(data[begin : begin + sizes[chunk].sum()])
        if a != checks[chunk, 0] or b != checks[chunk, 1]:
            return chunk
        part = out[chunk * CHUNK : (chunk + 1) * CHUNK]
        if not decode_chunk(data, begin, sizes[chunk], singles, multi, part):
            return chunk
    return -1


@njit(cache=True, nogil=True)
def make_pairs(lengths, codes, pairs):  # type: ignore[no-untyped-def]
    """Fills pairs, uint32 [65536], where both symbols occur: their code, the first lowest; its length from bit 24."""
    for s in range(SYMBOLS):
        if lengths[s] > LIMIT:
            continue
        for t in range(SYMBOLS):
            if lengths[t] > LIMIT:
                continue
            bits = U32(lengths[s])
            code = U32(codes[s]) | U32(codes[t]) << bits
            pairs[t << 8 | s] = code | (bits + U32(lengths[t])) << U32(24)


@njit(inline="always")
def _flush(bits, used, out, byte):  # type: ignore[no-untyped-def]
    """Writes whole bytes of at most 63 bits: what is left, how much, and the place of its byte."""
    store64(out, byte, bits)
    return bits >> (used & U64(56)), used & U64(7), byte + (used >> U64(3))


@njit(inline="always")
def _put(symbols, at, pairs, bits, used, out, byte):  # type: ignore[no-untyped-def]
    """Eight symbols: the bits that are left over, their number, and the place of their byte."""
    eight = load64(symbols, at)
    p0, p1 = U64(pairs[eight & PAIR]), U64(pairs[eight >> U64(16) & PAIR])
    p2, p3 = U64(pairs[eight >> U64(32) & PAIR]), U64(pairs[eight >> U64(48)])
    n0, n1, n2, n3 = p0 >> U64(24), p1 >> U64(24), p2 >> U64(24), p3 >> U64(24)
    low, low_bits = p0 & CODE | (p1 & CODE) << n0, n0 + n1
    high, high_bits = p2 & CODE | (p3 & CODE) << n2, n2 + n3
    if low_bits + high_bits > U64(56):  # rare: seven more may be left over
        bits, used, byte = _flush(bits | low << used, used + low_bits, out, byte)
        return _flush(bits | high << used, used + high_bits, out, byte)
    return _flush(bits | (low | high << low_bits) << used, used + low_bits + high_bits, out, byte)


@njit(cache=True, nogil=True)
def encode_stream(symbols, lengths, codes, pairs, out, byte):  # type: ignore[no-untyped-def]
    """Writes the code of symbols, uint8 [n], from out[byte] on, and zeros beyond; the place behind them."""
    bits, used, byte = U64(0), U64(0), U64(byte)
    whole = len(symbols) // 8 * 8
    for i in range(0, whole, 8):
        bits, used, byte = _put(symbols, U64(i), pairs, bits, used, out, byte)
    for i in range(whole, len(symbols)):
        s = U64(symbols[i])
        bits |= U64(codes[s]) << used
        used += U64(lengths[s])
        bits, used, byte = _flush(bits, used, out, byte)
    store64(out, byte, bits)
    return byte + U64(used > U64(0))


@njit(cache=True, nogil=True)
def encode_chunks(symbols, lengths, codes, pairs, out):  # type: ignore[no-untyped-def]
    """Writes the streams of symbols, uint8 [n], chunk after chunk, to `out`; the bytes they take.

    out has ROOM bytes beyond what they take.
    """
    byte = U64(0)
    for begin in range(0, len(symbols), CHUNK):
        part = symbols[begin : begin + CHUNK]
        at = streams_of(len(part))
        for s in range(STREAMS):
            byte = encode_stream(part[at[s] : at[s + 1]], lengths, codes, pairs, out, byte)
    return np.int64(byte)


@njit(cache=True, nogil=True)
def group_bits(symbols, lengths, bits):  # type: ignore[no-untyped-def]
    """Fills bits, uint16 [groups], with the bits of each GROUP of symbols, uint8 [n]."""
    for group in range(len(bits)):
        total = U16(0)
        for s in symbols[group * GROUP : (group + 1) * GROUP]:
            total += U16(lengths[s])
        bits[group] = total
