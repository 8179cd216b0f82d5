# SPDX-License-Identifier: Apache-2.0
"""Weights to planes of bytes and back (docs/format-dfloat.md); equals `huffman.reference`.

Each loop runs over whole arrays: LLVM turns such loops into vector instructions, and those with offsets not.
"""

import numpy as np
from numba import njit

from isthmus.kernels.compiled import kernel

U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64


@kernel
def split2(weights, plane0, plane1):  # type: ignore[no-untyped-def]
    """uint16 [n] to two planes, uint8 [n]."""
    for i in range(len(weights)):
        x = weights[i]
        plane0[i] = U8(x >> U16(7))
        plane1[i] = U8(x >> U16(8) & U16(0x80) | x & U16(0x7F))


@kernel
def merge2(plane0, plane1, weights):  # type: ignore[no-untyped-def]
    """The inverse of `split2`."""
    for i in range(len(weights)):
        low = U16(plane1[i])
        weights[i] = (low & U16(0x80)) << U16(8) | U16(plane0[i]) << U16(7) | low & U16(0x7F)


@kernel
def split4(weights, plane0, plane1, plane2, plane3):  # type: ignore[no-untyped-def]
    """uint32 [n] to four planes, uint8 [n]."""
    for i in range(len(weights)):
        x = weights[i]
        plane0[i] = U8(x >> U32(23))
        plane1[i] = U8(x >> U32(24) & U32(0x80) | x >> U32(16) & U32(0x7F))
        plane2[i] = U8(x >> U32(8))
        plane3[i] = U8(x)


@kernel
def merge4(plane0, plane1, plane2, plane3, weights):  # type: ignore[no-untyped-def]
    """The inverse of `split4`."""
    for i in range(len(weights)):
        high = U32(plane1[i])
        top = (high & U32(0x80)) << U32(24) | U32(plane0[i]) << U32(23) | (high & U32(0x7F)) << U32(16)
        weights[i] = top | U32(plane2[i]) << U32(8) | U32(plane3[i])


@njit(inline="always")
def _six(low):  # type: ignore[no-untyped-def]
    """The six bits of a byte of plane 1 that are not beside the exponent."""
    return U32(low) >> U32(2) & U32(0x20) | U32(low) & U32(0x1F)


@njit(inline="always")
def _seven(six, symbol):  # type: ignore[no-untyped-def]
    """The byte of plane 1 of six bits and the two lowest of a symbol."""
    return U8((six & U32(0x20)) << U32(2) | (U32(symbol) & U32(3)) << U32(5) | six & U32(0x1F))


@kernel
def widen(plane0, plane1, symbols):  # type: ignore[no-untyped-def]
    """Exponent and two bits of mantissa, int16 [n]."""
    for i in range(len(plane0)):
        symbols[i] = np.int16(plane0[i]) << np.int16(2) | np.int16(plane1[i]) >> np.int16(5) & np.int16(3)


@kernel
def pack_rest(plane1, packed):  # type: ignore[no-untyped-def]
    """The six bits of plane 1 that `widen` leaves, four weights in three bytes."""
    n = len(plane1)
    for group in range(n // 4):
        at, byte = U64(4 * group), U64(3 * group)
        bits = _six(plane1[at]) | _six(plane1[at + U64(1)]) << U32(6)
        bits |= _six(plane1[at + U64(2)]) << U32(12) | _six(plane1[at + U64(3)]) << U32(18)
        packed[byte] = U8(bits)
        packed[byte + U64(1)] = U8(bits >> U32(8))
        packed[byte + U64(2)] = U8(bits >> U32(16))
    rest = U32(0)
    for k in range(n % 4):
        rest |= _six(plane1[n // 4 * 4 + k]) << U32(6 * k)
    for k in range((6 * (n % 4) + 7) // 8):
        packed[n // 4 * 3 + k] = U8(rest >> U32(8 * k))


@kernel
def narrow(symbols, packed, plane0, plane1):  # type: ignore[no-untyped-def]
    """The inverse of `widen` and `pack_rest`, for integers [n].

    Whether all are 0 to 1023 and no bit follows the last weight's.
    """
    n = len(plane0)
    beyond = np.int64(0)
    for i in range(n):
        beyond |= np.int64(symbols[i])
        plane0[i] = U8(symbols[i] >> 2)
    for group in range(n // 4):
        at, byte = U64(4 * group), U64(3 * group)
        bits = U32(packed[byte]) | U32(packed[byte + U64(1)]) << U32(8) | U32(packed[byte + U64(2)]) << U32(16)
        plane1[at] = _seven(bits, symbols[at])
        plane1[at + U64(1)] = _seven(bits >> U32(6), symbols[at + U64(1)])
        plane1[at + U64(2)] = _seven(bits >> U32(12), symbols[at + U64(2)])
        plane1[at + U64(3)] = _seven(bits >> U32(18), symbols[at + U64(3)])
    rest = U32(0)
    for k in range((6 * (n % 4) + 7) // 8):
        rest |= U32(packed[n // 4 * 3 + k]) << U32(8 * k)
    for k in range(n % 4):
        plane1[n // 4 * 4 + k] = _seven(rest, symbols[n // 4 * 4 + k])
        rest >>= U32(6)
    return 0 <= beyond < 1024 and rest == 0
