# SPDX-License-Identifier: Apache-2.0
"""bf16 weights to the layout of the dfloat11 package; see `dfloat11` for what that is."""

import numpy as np
from numba import njit

from isthmus.kernels.compiled import kernel
from isthmus.kernels.native.unaligned import store64
from isthmus.kernels.weights.dfloat11 import MANTISSA, SEVEN, SIGN, byteswap

U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64
SIX, LENGTH = U64(6), U64(63)  # the published kernel has windows of 2**6 bits
ONE, TOGETHER = U64(1), U64(4)  # symbols that are written at once
MOST_BITS = U64(57)  # which they may have then: up to 7 others come before them


@kernel
def split(weights, exponents, sign_mantissa, counts):  # type: ignore[no-untyped-def]
    """The inverse of `dfloat11.merge`, which also adds the exponents to counts, int64 [256]."""
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


@njit(inline="always")
def _put(code, length, bits, filled, at, out):  # type: ignore[no-untyped-def]
    """Writes up to 57 bits behind `filled` others of byte `at`: the bits of the last byte, their number, its place."""
    filled += length
    bits |= code << (U64(64) - filled)
    store64(out, at, byteswap(bits))
    return bits << (filled & ~SEVEN), filled & SEVEN, at + (filled >> U64(3))


@kernel
def _mark(exponents, i, position, first, rows, chunk, gaps, positions):  # type: ignore[no-untyped-def]
    """Notes the code behind the first that reaches the next window, of exponents i and following, at bit `position`."""
    after = position
    while after >> SIX == position >> SIX:
        after += rows[exponents[i]] & LENGTH
        i += ONE
    if after >> SIX < U64(len(gaps)):
        gaps[after >> SIX] = U8(after & U64(63))
    if after >> chunk != position >> chunk and after >> chunk < U64(len(positions)):
        positions[after >> chunk] = U32(first + i)


@kernel
def encode_part(exponents, begin, first, rows, chunk_log2, out, gaps, positions):  # type: ignore[no-untyped-def]
    """Codes exponents [n], of which the first is weight `first` and begins at bit `begin`, to uint8 out.

    rows: uint64 [256], right-aligned code << 6 | length. out starts with the byte that holds bit `begin` and is 8 bytes
    longer than needed. For each window of 64 bits, and each chunk of 2**chunk_log2 bits, that a code of this part
    reaches first, the place of the next code goes to gaps (bits from the window's begin) and positions (number of the
    weight).
    """
    position, at, filled, bits = U64(begin), U64(0), U64(begin) & SEVEN, U64(0)
    chunk, start, i, n = U64(chunk_log2), U64(first), U64(0), U64(len(exponents))
    while i < n:
        count, length = ONE, U64(0)
        if i + TOGETHER <= n:
            r0, r1, r2, r3 = (rows[exponents[i]], rows[exponents[i + ONE]], rows[exponents[i + U64(2)]],
                              rows[exponents[i + U64(3)]])  # fmt: skip
            l1, l2, l3 = r1 & LENGTH, r2 & LENGTH, r3 & LENGTH
            length = (r0 & LENGTH) + l1 + l2 + l3
        if ONE <= length <= MOST_BITS:
            code = ((r0 >> SIX << l1 | r1 >> SIX) << l2 | r2 >> SIX) << l3 | r3 >> SIX
            count = TOGETHER
        else:  # the last ones, or long codes
            code, length = rows[exponents[i]] >> SIX, rows[exponents[i]] & LENGTH
        bits, filled, at = _put(code, length, bits, filled, at, out)
        if (position + length) >> SIX != position >> SIX:
            _mark(exponents, i, position, start, rows, chunk, gaps, positions)
        position += length
        i += count
