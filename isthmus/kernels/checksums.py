# SPDX-License-Identifier: Apache-2.0
"""The check of a chunk: two sums over its 32-bit words (docs/format-dfloat.md); equals `huffman.reference`."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from isthmus.kernels.compiled import kernel
from isthmus.kernels.native.unaligned import load64

PRIME = (1 << 32) - 5
BLOCK = 1 << 16  # bytes of which no sum reaches 2**64
U32, U64 = np.uint32, np.uint64


@kernel
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


@kernel
def check(body):  # type: ignore[no-untyped-def]
    """A and B of a body, uint8 [m]."""
    prime = U64(PRIME)
    a, b = U64(len(body)) % prime, U64(0)
    for begin in range(0, len(body), BLOCK):
        sum_a, sum_b = _sums(body[begin : begin + BLOCK])
        a = (a + sum_a) % prime
        b = (b + sum_a % prime * (U64(begin // 4) % prime) % prime + sum_b) % prime
    return a, b


def checks(data: NDArray[np.uint8], places: NDArray[np.int64], found: NDArray[np.uint32]) -> None:
    """Fills found, uint32 [chunks, 2], with the checks of the bodies data[places[k] : places[k + 1]]."""
    for k, (begin, end) in enumerate(pairwise(places.tolist())):
        found[k] = check(data[begin:end])


def first_damaged(data: NDArray[np.uint8], places: NDArray[np.int64], told: NDArray[np.uint32]) -> int:
    """The number of the first body data[places[k] : places[k + 1]] that its check does not fit, or -1."""
    for k, (begin, end) in enumerate(pairwise(places.tolist())):
        if check(data[begin:end]) != tuple(told[k].tolist()):
            return k
    return -1
