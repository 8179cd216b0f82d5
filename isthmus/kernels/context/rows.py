# SPDX-License-Identifier: Apache-2.0
"""The four passes of a plane, apart and together again, and where the contexts of later positions look for them.

A plane's passes lie as `sums` describes, each with margins of zeros: once as int32 values, and clipped as
float32 for means and for scales. What belongs to a pass is worked on as its places, `span` of them from the first
position to the last, the margins between rows included, in loops over all of them that stay within 32 bits: vectors
come of it, and no time is lost at the ends of short rows.

What is called in one place alone is inlined by numba: on its own it would be compiled once more, for 0.1 s each.
"""

import numpy as np
from numba import njit

from isthmus.kernels.compiled import kernel
from isthmus.kernels.context.sums import PASSES

I32 = np.int32
MEAN_LIMIT, SCALE_LIMIT = 1023, 255  # values enter a mean or scale clipped to these
PASS_ROW = np.array([row for row, _ in PASSES])
PASS_COLUMN = np.array([column for _, column in PASSES])
PASS_AT = np.array([[PASSES.index((row, column)) for column in range(2)] for row in range(2)])
U64 = np.uint64
ONE, TWO = U64(1), U64(2)  # numba tests signed indices, and makes no vectors then
HALF_RANGE = I32(1 << 15)
HIGHEST_MEAN, LOWEST_MEAN, HIGHEST_SCALE = I32(MEAN_LIMIT), I32(-MEAN_LIMIT), I32(SCALE_LIMIT)
HIGHEST_SYMBOL, LOWEST_SYMBOL = I32(1 << 26), I32(-(1 << 26))


@njit(inline="always")
def line_at(y, column, rows, stride):  # type: ignore[no-untyped-def]
    """Where the even or the odd columns of line y of a plane begin in its passes."""
    return U64((PASS_AT[y & 1, column] * rows + 1 + y // 2) * stride + 1)


@njit(inline="always")
def split_plane(plane, rows, stride, values):  # type: ignore[no-untyped-def]
    """plane: contiguous int16 [h, w] -> values: int32 [4 * rows * stride], its margins left alone."""
    height, width = plane.shape
    pairs, flat = width // 2, plane.reshape(height * width)
    for y in range(height):
        begin, even, odd = U64(y * width), line_at(y, 0, rows, stride), line_at(y, 1, rows, stride)
        for x in range(pairs):
            values[even + U64(x)] = flat[begin + TWO * U64(x)]
            values[odd + U64(x)] = flat[begin + TWO * U64(x) + ONE]
        if width & 1:
            values[even + U64(pairs)] = flat[begin + TWO * U64(pairs)]


@njit(inline="always")
def join_plane(values, rows, stride, plane):  # type: ignore[no-untyped-def]
    """The inverse of `split_plane`."""
    height, width = plane.shape
    pairs, flat = width // 2, plane.reshape(height * width)
    for y in range(height):
        begin, even, odd = U64(y * width), line_at(y, 0, rows, stride), line_at(y, 1, rows, stride)
        for x in range(pairs):
            flat[begin + TWO * U64(x)] = values[even + U64(x)]
            flat[begin + TWO * U64(x) + ONE] = values[odd + U64(x)]
        if width & 1:
            flat[begin + TWO * U64(pairs)] = values[even + U64(pairs)]


@njit(inline="always")
def mark_positions(columns, stride, inside):  # type: ignore[no-untyped-def]
    """inside: int32 [places], 1 at positions and 0 in the margins between rows of `columns`."""
    for x in range(len(inside)):
        inside[x] = x % stride < columns


@njit(inline="always")
def keep_values(values, to):  # type: ignore[no-untyped-def]
    """Writes values int32 [places] clipped to where means look for them; returns whether any is not 0."""
    seen = I32(0)
    for x in range(len(to)):
        seen |= values[x]
        to[x] = min(max(values[x], LOWEST_MEAN), HIGHEST_MEAN)
    return seen != 0


@njit(inline="always")
def find_symbols(values, rounded, contexts, inside, symbols, to):  # type: ignore[no-untyped-def]
    """Writes symbols int32 [places] and residuals clipped to where scales look for them.

    Returns the disjunction of all magnitudes: 0 where all are, and 2**n or more where one is.
    """
    seen = I32(0)
    for x in range(len(symbols)):
        mirrored = I32(I32(contexts[x]) & I32(1))
        residual = I32(values[x] - rounded[x])
        symbols[x] = I32(I32(residual ^ I32(-mirrored)) + mirrored)
        magnitude = I32(abs(I32(residual * inside[x])))
        seen |= magnitude
        to[x] = min(magnitude, HIGHEST_SCALE)
    return seen


@njit(inline="always")
def find_values(symbols, rounded, contexts, inside, values):  # type: ignore[no-untyped-def]
    """Values int32 [places] from their symbols, which are 0 in the margins; False: one is beyond 16 bits."""
    beyond = I32(0)
    for x in range(len(symbols)):
        mirrored = I32(I32(contexts[x]) & I32(1))
        # |rounded| < 2**25: what is clipped stays beyond 16 bits, and the sum within 32.
        d = min(max(symbols[x], LOWEST_SYMBOL), HIGHEST_SYMBOL)
        value = I32(I32(rounded[x] + I32(I32(d ^ I32(-mirrored)) + mirrored)) * inside[x])
        values[x] = value
        beyond |= I32(value + HALF_RANGE)
    return beyond >> 16 == 0


@njit(inline="always")
def keep_residuals(symbols, to):  # type: ignore[no-untyped-def]
    """Writes magnitudes of symbols [places] clipped to where scales look for them; returns whether any is not 0."""
    seen = I32(0)
    for x in range(len(to)):
        seen |= symbols[x]
        to[x] = min(I32(abs(symbols[x])), HIGHEST_SCALE)
    return seen != 0


@kernel
def gather_rows(places, shape, out):  # type: ignore[no-untyped-def]
    """places [`span`] of a pass -> out [rows * columns], without margins. shape: rows, columns, stride."""
    rows, columns, stride = shape
    for y in range(rows):
        line, to = places[y * stride : y * stride + columns], out[y * columns : (y + 1) * columns]
        for x in range(columns):
            to[x] = line[x]


@kernel
def scatter_rows(values, shape, places):  # type: ignore[no-untyped-def]
    """The inverse of `gather_rows`; margins are left alone."""
    rows, columns, stride = shape
    for y in range(rows):
        line, to = values[y * columns : (y + 1) * columns], places[y * stride : y * stride + columns]
        for x in range(columns):
            to[x] = line[x]
