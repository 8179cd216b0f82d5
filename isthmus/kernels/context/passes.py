# SPDX-License-Identifier: Apache-2.0
"""Contexts of latents from decoded neighbours (payload `context.1`), a whole pass at a time.

A context is one int16 a position: (scale before the image offset and the clip, + SCALES) << 3 | phase << 1 | mirrored.
How passes and their places lie is described in `rows`, and why much is inlined.
"""

import numpy as np
from numba import njit

from isthmus.kernels.compiled import kernel
from isthmus.kernels.context import rows as rows_of
from isthmus.kernels.context.sums import LEVELS, add_own, earlier_sums
from isthmus.kernels.native.shifts import shift_left, shift_right
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.kernels.rans import unrolled

SCALES, PHASES = 64, 4
HIGHEST = 2 * SCALES  # scales are kept within -SCALES..HIGHEST: beyond that no image offset matters
UNROLLED = unrolled.LANES
I32 = np.int32
LOWEST_CODE = I32(127 << 4)  # the exponent and first mantissa bits of 1.0
LAST_PHASE = I32(PHASES - 1)


@njit(inline="always")
def choose_contexts(means, sums, shift, scale_of, rounded, contexts):  # type: ignore[no-untyped-def]
    """Steps 2 to 5 of docs/format-context.md for the places of a pass.

    means, sums: float32 [places], complete; scale_of [384]: what stands for each place of a logarithm, << 3. Writes
    rounded means int32 and contexts int16.
    """
    half, shift = I32((1 << shift) >> 1), I32(shift)
    codes = sums.view(I32)
    for x in range(len(contexts)):
        mean = I32(means[x])
        nearest = shift_right(I32(mean + half), shift)
        fraction = I32(mean - shift_left(nearest, shift))
        # The exponent and the first four mantissa bits of a float32 integer are its logarithm's place.
        code = max(I32(shift_right(codes[x], I32(19)) - LOWEST_CODE), I32(0))
        phase = min(shift_right(I32(abs(fraction) << I32(3)), shift), LAST_PHASE)
        rounded[x] = nearest
        contexts[x] = I32(code << I32(3)) | I32(phase << I32(1)) | I32(fraction < I32(0))
    for x in range(len(contexts)):
        contexts[x] = scale_of[np.uint16(contexts[x]) >> np.uint16(3)] | (contexts[x] & np.int16(7))


@njit(inline="always")
def begin_plane(model, biases, c, planes, filled, rows, stride, sums):  # type: ignore[no-untyped-def]
    """Sums of means and scales of all passes of plane c, its own neighbours left out: sums [2, 4, rows * stride].

    model: earlier weights of means and of scales [P, 4, 9], whether a pair has any [P] of both, own weights [C, 4, 16]
    of both, shift [C], levels [384], places of the planes for means and for scales [2, C]; biases: mean [C, 4], scale
    [C, 4] (float32), offset [C, 4]; planes: neighbours of means and of scales, `TileLayout.planes`; filled [2, C]:
    whether a plane of them has a value other than 0.
    """
    earlier_sums(planes[0], model[8][0], c, model[0], model[2], filled[0], biases[0], rows, stride, sums[0])
    earlier_sums(planes[1], model[8][1], c, model[1], model[3], filled[1], biases[1], rows, stride, sums[1])


@njit(inline="always")
def predict(model, starts, c, s, planes, scale_of, sums, rounded, contexts):  # type: ignore[no-untyped-def]
    """What `choose_contexts` writes, for pass s of plane c, after `begin_plane`. starts: [4, 16]."""
    means, scales = sums[0, s, : len(contexts)], sums[1, s, : len(contexts)]
    add_own(planes[0, model[8][0, c]], model[4][c, s], starts[s], means)
    add_own(planes[1, model[8][1, c]], model[5][c, s], starts[s], scales)
    choose_contexts(means, scales, model[6][c], scale_of, rounded, contexts)


@njit(inline="always")
def scales_of(levels, offset, image_offset, least, most, out):  # type: ignore[no-untyped-def]
    """Writes the scale << 3 of each place of a logarithm, int16 [384], after an image offset and a clip."""
    for i in range(LEVELS):
        scale = min(max((levels[i] + offset) >> 4, -SCALES), HIGHEST)
        out[i] = min(max(scale + image_offset, least), most) << 3


@njit(inline="always")
def pass_shape(height, width, s, stride):  # type: ignore[no-untyped-def]
    """Rows and columns of pass s of a tile, and the stride; then its positions and its places."""
    rows, columns = (height - rows_of.PASS_ROW[s] + 1) // 2, (width - rows_of.PASS_COLUMN[s] + 1) // 2
    n = rows * columns
    return (rows, columns, stride), n, (rows - 1) * stride + columns if n else 0


@kernel
def encode_tile(model, biases, starts, tile, planes, rows, stride, symbols, contexts):  # type: ignore[no-untyped-def]
    """Symbols and contexts int16 of all positions of tile [C, h, w], in the order of the stream.

    symbols: int16, or int32, which holds all; returns whether each of them fits int16. tile: contiguous. planes: as
    `begin_plane` takes them, margins zeros; filled here.
    """
    channels, height, width = tile.shape
    size = rows * stride
    sums = np.empty((2, 4, size), np.float32)
    rounded, scale_of, k = np.empty(size, I32), np.empty(LEVELS, np.int16), np.empty(size, np.int16)
    values, d, inside = np.zeros(4 * size, I32), np.empty(size, I32), np.empty(size, I32)
    filled = np.zeros((2, channels), np.bool_)
    i, marked, seen = 0, 0, I32(0)
    for c in range(channels):
        mean_plane, scale_plane = planes[0, model[8][0, c]], planes[1, model[8][1, c]]
        rows_of.split_plane(tile[c], rows, stride, values)
        begin_plane(model, biases, c, planes, filled, rows, stride, sums)
        for s in range(4):
            shape, n, span = pass_shape(height, width, s, stride)
            if n == 0:
                continue
            if shape[1] != marked:
                marked = shape[1]
                rows_of.mark_positions(marked, stride, inside)
            scales_of(model[7], biases[2][c, s], SCALES, 0, SCALES + HIGHEST, scale_of)
            predict(model, starts, c, s, planes, scale_of, sums, rounded, k[:span])
            first = s * size + stride + 1
            part = values[first : first + span]
            filled[0, c] |= rows_of.keep_values(part, mean_plane[first : first + span])
            residuals = scale_plane[first : first + span]
            found = rows_of.find_symbols(part, rounded, k, inside, d[:span], residuals)
            filled[1, c] |= found != 0
            seen |= found
            rows_of.gather_rows(d, shape, symbols[i : i + n])
            rows_of.gather_rows(k, shape, contexts[i : i + n])
            i += n
    return seen < 1 << 15


@kernel
def decode_tile(first, lookups, states, words, escapes, at, escape_at, model, biases, starts, offsets, planes, rows, stride, tile):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Decodes contiguous tile [C, h, w]; the first arguments and results are those of `RansDecoder.apply`.

    A position is -1 as in `rans_lanes.decode`; the last result is False when a value is beyond 16 bits.
    planes: as in `encode_tile`. offsets: the image offset of each plane [C].
    """
    channels, height, width = tile.shape
    size = rows * stride
    sums = np.empty((2, 4, size), np.float32)
    rounded, scale_of, k = np.empty(size, I32), np.empty(LEVELS, np.int16), np.empty(size, np.int16)
    values, d, inside = np.zeros(4 * size, I32), np.zeros(size, I32), np.empty(size, I32)
    symbols, tables = np.empty(size, I32), np.empty(size, np.uint16)
    filled = np.zeros((2, channels), np.bool_)
    marked = 0
    for c in range(channels):
        mean_plane, scale_plane = planes[0, model[8][0, c]], planes[1, model[8][1, c]]
        begin_plane(model, biases, c, planes, filled, rows, stride, sums)
        for s in range(4):
            shape, n, span = pass_shape(height, width, s, stride)
            if n == 0:
                continue
            if shape[1] != marked:
                marked = shape[1]
                rows_of.mark_positions(marked, stride, inside)
                d[:] = 0
            scales_of(model[7], biases[2][c, s], offsets[c], 0, SCALES - 1, scale_of)
            predict(model, starts, c, s, planes, scale_of, sums, rounded, k[:span])
            rows_of.gather_rows(k, shape, tables)
            out, t = symbols[:n], tables[:n]
            for x in range(n):
                t[x] = t[x] >> np.uint16(1)  # PHASES scale + phase
            if len(states) == UNROLLED:
                at, escape_at = unrolled.decode_each(t, first, lookups, states, words, escapes, at, escape_at, out)
            else:
                at, escape_at = rans_lanes.decode(t, 1, first, lookups, states, words, escapes, at, escape_at, out)
            if at < 0 or escape_at < 0:
                return first, at, escape_at, True
            first += n
            rows_of.scatter_rows(out, shape, d)
            begin = s * size + stride + 1
            part = values[begin : begin + span]
            if not rows_of.find_values(d[:span], rounded, k, inside, part):
                return first, at, escape_at, False
            filled[0, c] |= rows_of.keep_values(part, mean_plane[begin : begin + span])
            filled[1, c] |= rows_of.keep_residuals(d, scale_plane[begin : begin + span])
        rows_of.join_plane(values, rows, stride, tile[c])
    return first, at, escape_at, True
