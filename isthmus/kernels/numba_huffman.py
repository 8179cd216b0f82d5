# SPDX-License-Identifier: Apache-2.0
"""Four Huffman streams a chunk on the CPU; equals `reference_huffman` bit for bit.

Bytes are read and written eight at a time at any place (`unaligned`), so each array has that much room behind it. No
stream can lead out of its array: places are clamped to its end, and every lookup gives at least one symbol.
"""

import numpy as np
from numba import njit

from isthmus.kernels.numba_huffman_tables import LIMIT, MOST, SYMBOLS
from isthmus.kernels.unaligned import load64, store64

STREAMS = 4
GROUP = 64  # weights that lie one behind the other in one stream, whatever the length of the chunk
LOOKUPS = 4  # before more bits are loaded: LIMIT * LOOKUPS + 7 <= 64
AHEAD = MOST * LOOKUPS + 8  # symbols that may be written between two looks at the end
ROOM = 8  # bytes behind an array that may be touched
U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64
TABLE = U64(1 << LIMIT)
MASK = U64((1 << LIMIT) - 1)


@njit(cache=True, nogil=True)
def quarter(count):  # type: ignore[no-untyped-def]
    """Symbols of each stream but the last ones, of a chunk of `count`: a multiple of GROUP."""
    return (count + STREAMS * GROUP - 1) // (STREAMS * GROUP) * GROUP


@njit(cache=True, nogil=True)
def count_symbols(symbols, counts):  # type: ignore[no-untyped-def]
    """Adds the histogram of symbols, uint8 [n], to counts, int64 [256]."""
    parts = np.zeros((4, SYMBOLS), np.uint32)  # a run of one symbol would wait for its own counter
    whole = len(symbols) // 4 * 4
    for i in range(0, whole, 4):
        k = U64(i)
        parts[0, symbols[k]] += U32(1)
        parts[1, symbols[k + U64(1)]] += U32(1)
        parts[2, symbols[k + U64(2)]] += U32(1)
        parts[3, symbols[k + U64(3)]] += U32(1)
    for i in range(whole, len(symbols)):
        parts[0, symbols[i]] += U32(1)
    for s in range(SYMBOLS):
        counts[s] += np.int64(parts[0, s]) + np.int64(parts[1, s]) + np.int64(parts[2, s]) + np.int64(parts[3, s])


@njit(inline="always")
def _step(data, bit, end, out, at, multi):  # type: ignore[no-untyped-def]
    """LOOKUPS lookups: the bit and the place in `out` after them."""
    byte = min(bit >> U64(3), end)
    bits = load64(data, byte) >> (bit & U64(7))
    for _ in range(LOOKUPS):
        entry = multi[TABLE + (bits & MASK)]
        store64(out, at, entry >> U64(8))
        at += entry >> U64(4) & U64(15)
        used = entry & U64(15)
        bits >>= used
        bit += used
    return bit, at


@njit(inline="always")
def _finish(data, bit, end, out, at, stop, singles):  # type: ignore[no-untyped-def]
    """The symbols at..stop, one by one: the bit after them."""
    while at < stop:
        byte = min(bit >> U64(3), end)
        one = U64(singles[load64(data, byte) >> (bit & U64(7)) & MASK])
        out[at] = U8(one & U64(255))
        bit += one >> U64(8)
        at += U64(1)
    return bit


@njit(cache=True, nogil=True)
def decode_chunk(data, first, sizes, singles, multi, out):  # type: ignore[no-untyped-def]
    """Decodes len(out) symbols from STREAMS streams that begin at data[first]; whether each ended where it should.

    sizes: bytes of each stream; data has ROOM bytes behind the last of them. out: uint8 [n].
    """
    n = U64(len(out))
    q = U64(quarter(len(out)))
    e0 = U64(first) + U64(sizes[0])
    e1 = e0 + U64(sizes[1])
    e2 = e1 + U64(sizes[2])
    e3 = e2 + U64(sizes[3])
    b0, b1, b2, b3 = U64(first) << U64(3), e0 << U64(3), e1 << U64(3), e2 << U64(3)
    a0, a1, a2, a3 = U64(0), min(q, n), min(q * U64(2), n), min(q * U64(3), n)
    s0, s1, s2 = a1, a2, a3
    ahead = U64(AHEAD)
    while a0 + ahead <= s0 and a1 + ahead <= s1 and a2 + ahead <= s2 and a3 + ahead <= n:
        b0, a0 = _step(data, b0, e0, out, a0, multi)
        b1, a1 = _step(data, b1, e1, out, a1, multi)
        b2, a2 = _step(data, b2, e2, out, a2, multi)
        b3, a3 = _step(data, b3, e3, out, a3, multi)
    while a0 + ahead <= s0:
        b0, a0 = _step(data, b0, e0, out, a0, multi)
    while a1 + ahead <= s1:
        b1, a1 = _step(data, b1, e1, out, a1, multi)
    while a2 + ahead <= s2:
        b2, a2 = _step(data, b2, e2, out, a2, multi)
    while a3 + ahead <= n:
        b3, a3 = _step(data, b3, e3, out, a3, multi)
    b0 = _finish(data, b0, e0, out, a0, s0, singles)
    b1 = _finish(data, b1, e1, out, a1, s1, singles)
    b2 = _finish(data, b2, e2, out, a2, s2, singles)
    b3 = _finish(data, b3, e3, out, a3, n, singles)
    up = U64(7)
    closed = (b0 + up) >> U64(3) == e0 and (b1 + up) >> U64(3) == e1
    return closed and (b2 + up) >> U64(3) == e2 and (b3 + up) >> U64(3) == e3


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
def _put(symbols, at, pairs, bits, used, out, byte):  # type: ignore[no-untyped-def]
    """Eight symbols: the bits that are left over, their number, and the place of their byte."""
    eight = load64(symbols, at)
    for _ in range(2):
        for _ in range(2):
            pair = U64(pairs[eight & U64(0xFFFF)])
            bits |= (pair & U64(0xFFFFFF)) << used
            used += pair >> U64(24)
            eight >>= U64(16)
        store64(out, byte, bits)
        byte += used >> U64(3)
        bits >>= used & ~U64(7)
        used &= U64(7)
    return bits, used, byte


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
        store64(out, byte, bits)
        byte += used >> U64(3)
        bits >>= used & ~U64(7)
        used &= U64(7)
    store64(out, byte, bits)
    return byte + U64(used > U64(0))
