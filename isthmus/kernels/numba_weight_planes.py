# SPDX-License-Identifier: Apache-2.0
"""Weights to planes of bytes and back, and the check of a chunk (docs/format-dfloat.md); equals `reference_huffman`.

Each loop runs over whole arrays: LLVM turns such loops into vector instructions, and those with offsets not.
"""

import sys

import numpy as np
from numba import njit

from isthmus.kernels.unaligned import load64

assert sys.byteorder == "little", "isthmus reads and writes weights on little-endian machines only"
PRIME = (1 << 32) - 5
BLOCK = 1 << 16  # bytes of which no sum reaches 2**64
U8, U16, U32, U64 = np.uint8, np.uint16, np.uint32, np.uint64


@njit(cache=True, nogil=True)
def split2(weights, plane0, plane1):  # type: ignore[no-untyped-def]
    """uint16 [n] to two planes, uint8 [n]."""
    for i in range(len(weights)):
        x = weights[i]
        plane0[i] = U8(x >> U16(7))
        plane1[i] = U8(x >> U16(8) & U16(0x80) | x & U16(0x7F))


@njit(cache=True, nogil=True)
def merge2(plane0, plane1, weights):  # type: ignore[no-untyped-def]
    """The inverse of `split2`."""
    for i in range(len(weights)):
        low = U16(plane1[i])
        weights[i] = (low & U16(0x80)) << U16(8) | U16(plane0[i]) << U16(7) | low & U16(0x7F)


@njit(cache=True, nogil=True)
def split4(weights, plane0, plane1, plane2, plane3):  # type: ignore[no-untyped-def]
    """uint32 [n] to four planes, uint8 [n]."""
    for i in range(len(weights)):
        x = weights[i]
        plane0[i] = U8(x >> U32(23))
        plane1[i] = U8(x >> U32(24) & U32(0x80) | x >> U32(16) & U32(0x7F))
        plane2[i] = U8(x >> U32(8))
        plane3[i] = U8(x)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def widen(plane0, plane1, symbols):  # type: ignore[no-untyped-def]
    """Exponent and two bits of mantissa, int16 [n]."""
    for i in range(len(plane0)):
        symbols[i] = np.int16(plane0[i]) << np.int16(2) | np.int16(plane1[i]) >> np.int16(5) & np.int16(3)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _sums(body):  # type: ignore[no-untyped-def]
    """Sums of v[i] and of (i + 1) v[i] over the words of a body of at most BLOCK bytes."""
    low_half = U64(0xFFFFFFFF)
    pairs = len(body) // 8
    a, b, c = U64(0), U64(0), U64(0)
    for k in range(pairs):
        two = load64(body, U64(k) * U64(8))
        first, second = two & low_half, two >> U64(32)
        a += first
        c += second
        b += first * U64(U32(k)) + second * U64(U32(k))
    left = U64(0)
    for i in range(8 * pairs, len(body)):
        left |= U64(body[i]) << U64(8 * (i - 8 * pairs))
    first, second, place = left & low_half, left >> U64(32), U64(2 * pairs + 1)
    return a + c + first + second, U64(2) * b + a + U64(2) * c + first * place + second * (place + U64(1))


@njit(cache=True, nogil=True)
def check(body):  # type: ignore[no-untyped-def]
    """A and B of a body, uint8 [m]."""
    prime = U64(PRIME)
    a, b = U64(len(body)) % prime, U64(0)
    for begin in range(0, len(body), BLOCK):
        sum_a, sum_b = _sums(body[begin : begin + BLOCK])
        a = (a + sum_a) % prime
        b = (b + sum_a % prime * (U64(begin // 4) % prime) % prime + sum_b) % prime
    return a, b


@njit(cache=True, nogil=True)
def checks(data, places, found):  # type: ignore[no-untyped-def]
    """Fills found, uint32 [chunks, 2], with the checks of the bodies data[places[k] : places[k + 1]]."""
    for k in range(len(found)):
        found[k, 0], found[k, 1] = check(data[places[k] : places[k + 1]])


@njit(cache=True, nogil=True)
def first_damaged(data, places, told):  # type: ignore[no-untyped-def]
    """The number of the first body data[places[k] : places[k + 1]] that its check does not fit, or -1."""
    for k in range(len(told)):
        a, b = check(data[places[k] : places[k + 1]])
        if a != told[k, 0] or b != told[k, 1]:
            return k
    return -1
