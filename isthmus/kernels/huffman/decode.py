# SPDX-License-Identifier: Apache-2.0
"""Four Huffman streams a chunk on the CPU; equals `reference` bit for bit.

Bytes are read and written eight at a time at any place (`unaligned`), so each array has that much room behind it. No
stream can lead out of its array: loops are as long as the rest of each stream allows, then places are clamped to its
end; and every lookup gives at least one symbol.
"""

import numpy as np
from numba import njit

from isthmus.kernels.checksums import check
from isthmus.kernels.compiled import kernel
from isthmus.kernels.huffman.tables import COUNT, LIMIT, MOST, USED
from isthmus.kernels.native.prefetch import prefetch, prefetch_to_write
from isthmus.kernels.native.unaligned import load64, store64

STREAMS = 4
CHUNK = 1 << 16  # symbols
GROUP = 64  # symbols that lie one behind the other in one stream, whatever the length of the chunk
LOOKUPS = 4  # before more bits are loaded: LIMIT * LOOKUPS + 7 <= 64
ROOM = 8  # bytes behind an array that may be touched
U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64
TABLE = U64(1 << LIMIT)
MASK = U64((1 << LIMIT) - 1)


@njit(inline="always")
def stream_at(count, stream):  # type: ignore[no-untyped-def]
    """Where a stream of a chunk of `count` symbols begins; that of number STREAMS is where the last ends.

    All but the last ones have the same number of symbols, a multiple of GROUP.
    """
    return min(stream * ((count + STREAMS * GROUP - 1) // (STREAMS * GROUP) * GROUP), count)


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


@kernel
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


@njit(inline="always")
def _ends(data, bit, end, out, at, stop, singles, multi):  # type: ignore[no-untyped-def]
    """Decodes what is left of a stream; whether it ended where it should."""
    return (_finish(data, bit, end, out, at, stop, singles, multi) + U64(7)) >> U64(3) == end


@kernel
def decode_chunk(data, first, sizes, singles, multi, out, beside, target):  # type: ignore[no-untyped-def]
    """Decodes len(out) symbols from STREAMS streams that begin at data[first]; whether each ended where it should.

    sizes: bytes of each stream; data has ROOM bytes behind the last of them. out: uint8 [n]. The streams take turns
    lookup by lookup: each waits for its own table entry, and the processor looks ahead for a few dozen instructions.

    Meanwhile memory is asked for that will be needed next: data behind these streams, data from data[beside] on, and
    `target`, any array that will be written.
    """
    n = len(out)
    a0, s0, s1, s2, s3 = U64(0), U64(stream_at(n, 1)), U64(stream_at(n, 2)), U64(stream_at(n, 3)), U64(n)
    a1, a2, a3 = s0, s1, s2
    e0 = U64(first) + U64(sizes[0])
    e1 = e0 + U64(sizes[1])
    e2 = e1 + U64(sizes[2])
    e3 = e2 + U64(sizes[3])
    b0, b1, b2, b3 = U64(first) << U64(3), e0 << U64(3), e1 << U64(3), e2 << U64(3)
    behind, beside, ahead = e3, U64(beside), U64(0)
    closed = True
    while True:
        n0, n1, n2, n3 = _steps(b0, e0, a0, s0), _steps(b1, e1, a1, s1), _steps(b2, e2, a2, s2), _steps(b3, e3, a3, s3)
        most = max(max(n0, n1), max(n2, n3))
        b, e, a, s = b0, e0, a0, s0  # the stream with most left
        if n1 == most:
            b, e, a, s = b1, e1, a1, s1
        if n2 == most:
            b, e, a, s = b2, e2, a2, s2
        if n3 == most:
            b, e, a, s = b3, e3, a3, s3
        if n0 <= 0:  # its turns now do what that stream's do, to the same places, and cost nothing: that waits anyhow
            closed &= _ends(data, b0, e0, out, a0, s0, singles, multi)
            b0, e0, a0, s0, n0 = b, e, a, s, most
        if n1 <= 0:
            closed &= _ends(data, b1, e1, out, a1, s1, singles, multi)
            b1, e1, a1, s1, n1 = b, e, a, s, most
        if n2 <= 0:
            closed &= _ends(data, b2, e2, out, a2, s2, singles, multi)
            b2, e2, a2, s2, n2 = b, e, a, s, most
        if n3 <= 0:
            closed &= _ends(data, b3, e3, out, a3, s3, singles, multi)
            b3, e3, a3, s3, n3 = b, e, a, s, most
        if most <= 0:
            return closed
        for _ in range(min(min(n0, n1), min(n2, n3))):
            w0, w1, w2, w3 = _load(data, b0), _load(data, b1), _load(data, b2), _load(data, b3)
            prefetch(data, behind)
            prefetch(data, beside)
            prefetch_to_write(target, ahead)
            prefetch_to_write(target, ahead + U64(64))
            behind, beside, ahead = behind + U64(24), beside + U64(64), ahead + U64(128)
            for _ in range(LOOKUPS):
                w0, b0, a0 = _lookup(w0, b0, out, a0, multi)
                w1, b1, a1 = _lookup(w1, b1, out, a1, multi)
                w2, b2, a2 = _lookup(w2, b2, out, a2, multi)
                w3, b3, a3 = _lookup(w3, b3, out, a3, multi)


@kernel
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
        if not decode_chunk(data, begin, sizes[chunk], singles, multi, part, begin, part):
            return chunk
    return -1
