# SPDX-License-Identifier: Apache-2.0
"""Symbols to four Huffman streams a chunk on the CPU; equals `reference` bit for bit.

Bytes are read and written eight at a time at any place (`unaligned`), so `out` has that much room behind it.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from isthmus.kernels.compiled import kernel
from isthmus.kernels.huffman.decode import CHUNK, GROUP, STREAMS, stream_at
from isthmus.kernels.huffman.tables import LIMIT, SYMBOLS
from isthmus.kernels.native.prefetch import prefetch, prefetch_to_write
from isthmus.kernels.native.read_only import read_only
from isthmus.kernels.native.unaligned import load64, store64

AHEAD = 2048  # bytes that are asked for before they are counted
U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64
PAIR, CODE = U64(0xFFFF), U64(0xFFFFFF)  # of `make_pairs`: two symbols, and their code


def count_streams(weights: NDArray[Any], counts: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Fills counts, uint16 [chunks * STREAMS, 256], with the histogram of each stream of plane 0 of weights.

    weights: uint16 [n], or plane 0 itself, uint8 [n]. Returns the sum of all, int64 [256].
    """
    parts, total = np.empty(8 * SYMBOLS, np.uint32), np.zeros(SYMBOLS, np.int64)
    _count_streams(read_only(weights).view(np.uint8), weights.itemsize, counts, parts, total)
    return total


@kernel
def _count_streams(data, width, counts, parts, total):  # type: ignore[no-untyped-def]
    """`count_streams`; one kernel for both widths, as each takes long to compile. parts: memory, uint32 [8 * 256]."""
    n = len(data) // width
    for row in range(len(counts)):
        for s in range(8 * SYMBOLS):  # eight counters of each symbol: a run of one would wait for its own
            parts[s] = U32(0)
        chunk = row // STREAMS * CHUNK
        count = min(n - chunk, CHUNK)
        begin, end = chunk + stream_at(count, row % STREAMS), chunk + stream_at(count, row % STREAMS + 1)
        whole = begin + (end - begin) // 8 * 8
        for i in range(begin, whole, 8):
            at = U64(width * i)
            prefetch(data, at + U64(AHEAD))
            first = load64(data, at)
            if width == 2:
                second = load64(data, at + U64(8))
                for k in range(4):
                    parts[U64(SYMBOLS * k) + (first >> U64(7) & U64(255))] += U32(1)
                    parts[U64(SYMBOLS * (k + 4)) + (second >> U64(7) & U64(255))] += U32(1)
                    first >>= U64(16)
                    second >>= U64(16)
            else:
                for k in range(8):
                    parts[U64(SYMBOLS * k) + (first & U64(255))] += U32(1)
                    first >>= U64(8)
        for i in range(whole, end):
            symbol = U64(data[i])
            if width == 2:
                symbol = (U64(data[2 * i]) >> U64(7) | U64(data[2 * i + 1]) << U64(1)) & U64(255)
            parts[symbol] += U32(1)
        for s in range(SYMBOLS):
            found = U32(0)
            for k in range(8):
                found += parts[SYMBOLS * k + s]
            counts[row, s] = U16(found)
            total[s] += np.int64(found)


def stream_bytes(counts: NDArray[np.uint16], lengths: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bytes of streams of the given histograms, uint16 [streams, 256]: int64 [streams]."""
    sizes = np.empty(len(counts), np.int64)
    _stream_bytes(counts, lengths, sizes)
    return sizes


@kernel
def _stream_bytes(counts, lengths, sizes):  # type: ignore[no-untyped-def]
    for i in range(len(counts)):
        bits = np.int64(0)
        for s in range(SYMBOLS):
            bits += np.int64(counts[i, s]) * np.int64(lengths[s])
        sizes[i] = (bits + 7) // 8


@kernel
def make_pairs(lengths, codes, pairs):  # type: ignore[no-untyped-def]
    """Fills pairs, uint32 [65536], of two symbols that have codes, the first one's lowest.

    An entry is their code; its length from bit 24 on.
    """
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


@kernel
def encode_stream(symbols, lengths, codes, pairs, out, byte, following, target):  # type: ignore[no-untyped-def]
    """Writes the code of symbols, uint8 [n], from out[byte] on, and zeros beyond; the place behind them.

    Meanwhile memory is asked for that will be needed next: 2 n bytes of `following` to read, n of `target` to write.
    """
    bits, used, byte = U64(0), U64(0), U64(byte)
    whole = len(symbols) // 8 * 8
    for begin in range(0, whole, 32):
        prefetch(following, U64(2 * begin))
        prefetch_to_write(target, U64(begin))
        for i in range(begin, min(begin + 32, whole), 8):
            bits, used, byte = _put(symbols, U64(i), pairs, bits, used, out, byte)
    for i in range(whole, len(symbols)):
        s = U64(symbols[i])
        bits |= U64(codes[s]) << used
        used += U64(lengths[s])
        bits, used, byte = _flush(bits, used, out, byte)
    store64(out, byte, bits)
    return byte + U64(used > U64(0))


@kernel
def group_bits(symbols, lengths, bits):  # type: ignore[no-untyped-def]
    """Fills bits, uint16 [groups], with the bits of each GROUP of symbols, uint8 [n]."""
    for group in range(len(bits)):
        total = U16(0)
        for s in symbols[group * GROUP : (group + 1) * GROUP]:
            total += U16(lengths[s])
        bits[group] = total
