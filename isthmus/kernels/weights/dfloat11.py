# SPDX-License-Identifier: Apache-2.0
"""bf16 weights in the layout of the dfloat11 package: exponents as Huffman bits, most significant first, in chunks.

A code is three arrays sorted by its left-aligned bits: codes uint32 [m], lengths uint8 [m] (1 to 32), symbols uint8
[m]. The table of the decoder holds for each 12 bits the symbols whose codes lie within them: bits used << 56 | number
of symbols << 48 | up to six symbols, the first lowest. A number of 0 leaves a code to a search of the sorted list.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from isthmus.kernels.compiled import kernel
from isthmus.kernels.native.unaligned import load64, store64

TABLE_BITS = 12
MOST_SYMBOLS = 6  # in an entry of the table
OK, OUT_OF_BITS, NO_CODE, WRONG_END = range(4)

U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64
NUMBER, USED = U64(48), U64(56)
ONE, SEVEN, EIGHT = U64(1), U64(7), U64(8)
TOP = U64(64 - TABLE_BITS)
LOOKUPS = 4  # of 12 bits, from at least 57
ROUND = U64(LOOKUPS * MOST_SYMBOLS)  # symbols that they give at most
NOWHERE = U64(1 << 62)
SIGN, MANTISSA = U16(0x80), U16(0x7F)


def _byteswap(typing_context: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), build


byteswap: Any = intrinsic(_byteswap)  # (value): the bytes of a uint64 in the opposite order


@kernel
def fill_table(codes, lengths, symbols, table):  # type: ignore[no-untyped-def]
    """Fills `table`, uint64 [4096], for a code."""
    first = np.zeros(1 << TABLE_BITS, np.uint16)  # length << 8 | symbol of the first code; 0 where it is longer
    for j in range(len(codes)):
        length = np.int64(lengths[j])
        if length <= TABLE_BITS:
            begin = np.int64(codes[j]) >> (32 - TABLE_BITS)
            first[begin : begin + (1 << (TABLE_BITS - length))] = U16(length << 8 | np.int64(symbols[j]))
    for window in range(1 << TABLE_BITS):
        entry, number, used = U64(0), np.int64(0), np.int64(0)
        while number < MOST_SYMBOLS:
            found = np.int64(first[(window << used) & ((1 << TABLE_BITS) - 1)])
            if found == 0 or used + (found >> 8) > TABLE_BITS:
                break
            entry |= U64(found & 255) << U64(8 * number)
            number += 1
            used += found >> 8
        table[window] = entry | U64(number) << NUMBER | U64(used) << USED


@kernel
def _peek(data, position):  # type: ignore[no-untyped-def]
    """At least 57 bits from bit `position` on, left-aligned; bits behind the end of the data are 0."""
    byte = position >> U64(3)
    size = U64(len(data))
    if byte + EIGHT <= size:
        return byteswap(load64(data, byte)) << (position & SEVEN)
    bits = U64(0)
    for j in range(8):
        bits <<= EIGHT
        if byte + U64(j) < size:
            bits |= U64(data[byte + U64(j)])
    return bits << (position & SEVEN)


@kernel
def _search(bits, codes, lengths):  # type: ignore[no-untyped-def]
    """The place in the list of the code that the left-aligned `bits` begin with; -1 where there is none."""
    window = bits >> U64(32)
    low, high = 0, len(codes)
    while low < high:
        middle = (low + high) >> 1
        if U64(codes[middle]) <= window:
            low = middle + 1
        else:
            high = middle
    if low == 0 or (window - U64(codes[low - 1])) >> U64(32 - lengths[low - 1]) != 0:
        return -1
    return low - 1


@njit(inline="always")
def _step(data, position, at, table, out):  # type: ignore[no-untyped-def]
    """LOOKUPS lookups, where 8 bytes of data and ROUND places are left: the bit and the place in `out` after them.

    The place stays as it is where a code longer than 12 bits is next.
    """
    bits = byteswap(load64(data, position >> U64(3))) << (position & SEVEN)
    for _ in range(LOOKUPS):
        entry = table[bits >> TOP]
        store64(out, at, entry)
        at += (entry >> NUMBER) & SEVEN
        used = entry >> USED
        bits <<= used
        position += used
    return position, at


@kernel
def _one(data, position, at, code, out):  # type: ignore[no-untyped-def]
    """One symbol, whatever the length of its code; the bit NOWHERE where the bits are none."""
    codes, lengths, symbols = code
    place = _search(_peek(data, position), codes, lengths)
    if place < 0:
        return NOWHERE, at
    out[at] = symbols[place]
    return position + U64(lengths[place]), at + ONE


@kernel
def _four(data, bits, count, table, code, rooms, done):  # type: ignore[no-untyped-def]
    """Decodes up to `count` symbols of each of four chunks, so that one goes on while another waits for its lookup.

    bits: uint64 [4], where the next code of each begins, and done: how many symbols are there; both are moved on.
    """
    r0, r1, r2, r3 = rooms
    p0, p1, p2, p3 = bits[0], bits[1], bits[2], bits[3]
    a0 = a1 = a2 = a3 = U64(0)
    safe = U64(max(len(data) - 8, 0)) << U64(3)  # bits before it have 8 bytes from theirs on
    stopped = True
    while stopped:
        stopped = False
        b0 = b1 = b2 = b3 = NOWHERE
        while max(max(a0, a1), max(a2, a3)) + ROUND <= count and max(max(p0, p1), max(p2, p3)) < safe:
            b0, b1, b2, b3 = a0, a1, a2, a3
            p0, a0 = _step(data, p0, a0, table, r0)
            p1, a1 = _step(data, p1, a1, table, r1)
            p2, a2 = _step(data, p2, a2, table, r2)
            p3, a3 = _step(data, p3, a3, table, r3)
            if a0 == b0 or a1 == b1 or a2 == b2 or a3 == b3:
                stopped = True
                break
        if stopped:
            if a0 == b0:
                p0, a0 = _one(data, p0, a0, code, r0)
            if a1 == b1:
                p1, a1 = _one(data, p1, a1, code, r1)
            if a2 == b2:
                p2, a2 = _one(data, p2, a2, code, r2)
            if a3 == b3:
                p3, a3 = _one(data, p3, a3, code, r3)
    bits[0], bits[1], bits[2], bits[3] = p0, p1, p2, p3
    done[0], done[1], done[2], done[3] = a0, a1, a2, a3


@kernel
def _finish(data, position, at, table, code, out):  # type: ignore[no-untyped-def]
    """Decodes what is left of a chunk, of which `at` symbols are there; a status, and the bit behind the last symbol.

    out: uint8, 8 bytes longer than the number of symbols. Reads nothing outside the data, whatever they hold.
    """
    n, end = U64(len(out)) - EIGHT, U64(len(data)) << U64(3)
    while at < n and position < end:
        before = at
        if at + ROUND <= n and position + U64(64) <= end:
            position, at = _step(data, position, at, table, out)
        if at == before:
            position, at = _one(data, position, at, code, out)
    if position == NOWHERE:
        return NO_CODE, position
    return (OK if at == n and position <= end else OUT_OF_BITS), position


@kernel
def merge(exponents, sign_mantissa, out):  # type: ignore[no-untyped-def]
    """uint16 weights of exponents and sign << 7 | mantissa, all [n]."""
    for i in range(len(out)):
        rest = U16(sign_mantissa[i])
        out[i] = (rest & SIGN) << U16(8) | U16(exponents[i]) << U16(7) | (rest & MANTISSA)


@kernel
def decode_chunks(data, starts, positions, first, last, code, table, sign_mantissa, out):  # type: ignore[no-untyped-def]
    """Decodes the chunks first .. last - 1; gives a status and, unless it is OK, the number of the chunk at fault.

    starts: int64, the bit at which each chunk's first code begins, and -1 for the end of the data, which may be up to
    7 bits behind its last code. positions: int64 [chunks + 1], of its first weight. code: codes, lengths and symbols.
    sign_mantissa: uint8 [n]; out: uint16 [n].
    """
    longest = np.int64(0)
    for chunk in range(first, last):
        longest = max(longest, positions[chunk + 1] - positions[chunk])
    room = np.empty((4, longest + 8), np.uint8)
    rooms = (room[0], room[1], room[2], room[3])
    bits, done = np.zeros(4, np.uint64), np.zeros(4, np.uint64)
    for chunk in range(first, last, 4):
        count = min(4, last - chunk)
        fewest = longest
        for k in range(count):
            bits[k], done[k] = starts[chunk + k], 0
            fewest = min(fewest, positions[chunk + k + 1] - positions[chunk + k])
        if count == 4:
            _four(data, bits, U64(fewest), table, code, rooms, done)
        for k in range(count):
            a, b = positions[chunk + k], positions[chunk + k + 1]
            status, end = _finish(data, bits[k], done[k], table, code, room[k][: b - a + 8])
            if status != OK:
                return status, chunk + k
            follows, wanted = np.int64(end), starts[chunk + k + 1]
            if (wanted >= 0 and follows != wanted) or (wanted < 0 and (follows + 7) >> 3 != len(data)):
                return WRONG_END, chunk + k
            merge(room[k][: b - a], sign_mantissa[a:b], out[a:b])
    return OK, 0
