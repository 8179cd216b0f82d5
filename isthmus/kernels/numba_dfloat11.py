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

from isthmus.kernels.unaligned import load64, store64

TABLE_BITS = 12
MOST_SYMBOLS = 6  # in an entry of the table
WINDOW_LOG2 = 6  # a thread of the published kernel reads 64 bits
OK, OUT_OF_BITS, NO_CODE, WRONG_END = range(4)

U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64
NUMBER, USED = U64(48), U64(56)
BYTE, ONE, SIX, SEVEN, EIGHT = U64(255), U64(1), U64(6), U64(7), U64(8)
TOP = U64(64 - TABLE_BITS)
ROUND = 4 * MOST_SYMBOLS  # symbols that one refill of 64 bits gives at most
SIGN, MANTISSA = U16(0x80), U16(0x7F)


def _byteswap(typing_context: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), build


byteswap: Any = intrinsic(_byteswap)  # (value): the bytes of a uint64 in the opposite order


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def decode_exponents(data, position, codes, lengths, symbols, table, out):  # type: ignore[no-untyped-def]
    """Writes the symbols from bit `position` of uint8 data to out; gives a status and the bit behind the last symbol.

    out: uint8, 8 bytes longer than the number of symbols. Reads nothing outside the data, whatever they hold.
    """
    n, end = U64(len(out)) - EIGHT, U64(len(data)) << U64(3)
    at, position = U64(0), U64(position)
    while at < n:
        if position >= end:
            return OUT_OF_BITS, position
        bits = _peek(data, position)
        if at + U64(ROUND) <= n:
            before = at
            for _ in range(4):  # 4 times 12 bits of at least 57
                entry = table[bits >> TOP]
                store64(out, at, entry)
                at += (entry >> NUMBER) & SEVEN
                used = entry >> USED
                bits <<= used
                position += used
            if at > before:
                continue
        place = _search(bits, codes, lengths)
        if place < 0:
            return NO_CODE, position
        out[at] = symbols[place]
        at += ONE
        position += U64(lengths[place])
    return (OK if position <= end else OUT_OF_BITS), position


@njit(cache=True, nogil=True)
def merge(exponents, sign_mantissa, out):  # type: ignore[no-untyped-def]
    """uint16 weights of exponents and sign << 7 | mantissa, all [n]."""
    for i in range(len(out)):
        rest = U16(sign_mantissa[i])
        out[i] = (rest & SIGN) << U16(8) | U16(exponents[i]) << U16(7) | (rest & MANTISSA)


@njit(cache=True, nogil=True)
def decode_chunks(  # type: ignore[no-untyped-def]
    data, starts, positions, first, last, codes, lengths, symbols, table, sign_mantissa, out
):
    """Decodes the chunks first .. last - 1; gives a status and, unless it is OK, the number of the chunk at fault.

    starts: int64, the bit at which each chunk's first code begins, and -1 for the end of the data, which may be up to
    7 bits behind its last code. positions: int64 [chunks + 1], of its first weight. sign_mantissa: uint8 [n]; out:
    uint16 [n].
    """
    longest = np.int64(0)
    for chunk in range(first, last):
        longest = max(longest, positions[chunk + 1] - positions[chunk])
    room = np.empty(longest + 8, np.uint8)
    for chunk in range(first, last):
        a, b = positions[chunk], positions[chunk + 1]
        status, end = decode_exponents(data, starts[chunk], codes, lengths, symbols, table, room[: b - a + 8])
        if status != OK:
            return status, chunk
        follows = np.int64(end)
        wanted = starts[chunk + 1]
        if (wanted >= 0 and follows != wanted) or (wanted < 0 and (follows + 7) >> 3 != len(data)):
            return WRONG_END, chunk
        merge(room[: b - a], sign_mantissa[a:b], out[a:b])
    return OK, 0


@njit(cache=True, nogil=True)
def split(weights, exponents, sign_mantissa, counts):  # type: ignore[no-untyped-def]
    """The inverse of `merge`, which also adds the exponents to counts, int64 [256]."""
    for i in range(len(weights)):
        w = weights[i]
        exponents[i] = U8(w >> U16(7))
        sign_mantissa[i] = U8(((w >> U16(8)) & SIGN) | (w & MANTISSA))
    lanes = np.zeros((4, 256), np.int64)  # equal neighbours would wait for each other's sums
    whole = len(exponents) & ~3
    for i in range(0, whole, 4):
        for lane in range(4):
            lanes[lane, exponents[U64(i + lane)]] += 1
    for i in range(whole, len(exponents)):
        lanes[0, exponents[i]] += 1
    for lane in range(4):
        counts += lanes[lane]


@njit(cache=True, nogil=True)
def encode_part(exponents, begin, first, code_of, length_of, chunk_log2, out, gaps, positions):  # type: ignore[no-untyped-def]
    """Codes exponents [n], of which the first is weight `first` and begins at bit `begin`, to uint8 out.

    code_of: uint64 [256], right-aligned. out starts with the byte that holds bit `begin` and is 8 bytes longer than
    needed. For each window of 64 bits, and each chunk of 2**chunk_log2 bits, that a code of this part reaches first,
    the place of the next code goes to gaps (bits from the window's begin) and positions (number of the weight).
    """
    position, at = U64(begin), U64(0)
    filled = position & SEVEN
    bits = U64(0)
    chunk = U64(chunk_log2)
    for i in range(len(exponents)):
        length = U64(length_of[exponents[i]])
        bits |= U64(code_of[exponents[i]]) << (U64(64) - filled - length)
        filled += length
        store64(out, at, byteswap(bits))
        at += filled >> U64(3)
        bits <<= filled & ~SEVEN
        filled &= SEVEN
        after = position + length
        if after >> SIX != position >> SIX:
            if after >> SIX < U64(len(gaps)):
                gaps[after >> SIX] = U8(after & U64(63))
            if after >> chunk != position >> chunk and after >> chunk < U64(len(positions)):
                positions[after >> chunk] = U32(first + i + 1)
        position = after
