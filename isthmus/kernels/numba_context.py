# SPDX-License-Identifier: Apache-2.0
"""Contexts of latents from decoded neighbours (payload `context.1`), a whole pass at a time.

A context is one int16 a position: (scale before the image offset and the clip, + SCALES) << 3 | phase << 1 | mirrored.
Inner loops read and write few arrays, and rows of them without margins: that is what lets the compiler make vectors.
"""

import numpy as np
from numba import njit

from isthmus.kernels import numba_rans, numba_rans_unrolled
from isthmus.kernels.numba_context_sums import LEVELS, PASSES, add_own, earlier_sums

MEAN_LIMIT, SCALE_LIMIT = 1023, 255  # values enter a mean or scale clipped to these
SCALES, PHASES = 64, 4
HIGHEST = 2 * SCALES  # scales are kept within -SCALES..HIGHEST: beyond that no image offset matters
OFFSET_REACH = 6  # image offsets lie within it
JUDGED_REACH = 32  # image offsets are judged by symbols clipped to it
UNROLLED = numba_rans_unrolled.LANES
PASS_ROW = np.array([row for row, _ in PASSES])
PASS_COLUMN = np.array([column for _, column in PASSES])


@njit(cache=True, nogil=True)
def choose_contexts(means, sums, shift, levels, offset, shape, rounded, contexts):  # type: ignore[no-untyped-def]
    """Steps 2 to 5 of docs/format-context.md for the places of a pass, row by row without margins.

    means, sums: float32 complete; shape: rows, columns, stride. Writes rounded means int32 and contexts int16, both
    [rows * columns].
    """
    rows, columns, stride = shape
    half, shift = np.int32((1 << shift) >> 1), np.int32(shift)
    codes = sums.view(np.int32)
    scale_of = np.empty(LEVELS, np.int16)
    for i in range(LEVELS):
        scale_of[i] = (min(max((levels[i] + offset) >> 4, -SCALES), HIGHEST) + SCALES) << 3
    for y in range(rows):
        m = means[y * stride : y * stride + columns]
        a = codes[y * stride : y * stride + columns]
        r = rounded[y * columns : (y + 1) * columns]
        k = contexts[y * columns : (y + 1) * columns]
        for x in range(columns):
            mean = np.int32(m[x])
            nearest = np.int32(np.int32(mean + half) >> shift)
            fraction = np.int32(mean - np.int32(nearest << shift))
            # The exponent and the first four mantissa bits of a float32 integer are its logarithm's place.
            code = max(np.int32((a[x] >> 19) - (127 << 4)), np.int32(0))
            phase = min(np.int32(np.int32(abs(fraction) << 3) >> shift), np.int32(PHASES - 1))
            r[x] = nearest
            k[x] = code << 3 | phase << 1 | np.int32(fraction < 0)
        for x in range(columns):
            k[x] = scale_of[k[x] >> 3] | (k[x] & 7)


@njit(cache=True, nogil=True)
def begin_plane(model, biases, c, planes, filled, rows, stride, sums):  # type: ignore[no-untyped-def]
    """Sums of means and scales of all passes of plane c, its own neighbours left out: sums [2, 4, rows * stride].

    model: earlier weights of means and of scales [P, 4, 9], whether a pair has any [P] of both, own weights [C, 4, 16]
    of both, shift [C], levels [384]; biases: mean [C, 4], scale [C, 4] (float32), offset [C, 4]; planes: neighbours of
    means and of scales [2, C, 4 * rows * stride]; filled [2, C]: whether a plane of them has a value other than 0.
    """
    earlier_sums(planes[0], c, model[0], model[2], filled[0], biases[0], rows, stride, sums[0])
    earlier_sums(planes[1], c, model[1], model[3], filled[1], biases[1], rows, stride, sums[1])


@njit(cache=True, nogil=True)
def predict(model, biases, starts, c, s, planes, shape, sums, rounded, contexts):  # type: ignore[no-untyped-def]
    """Contexts of pass s of plane c, after `begin_plane`; writes what `choose_contexts` writes. starts: [4, 16]."""
    n = (shape[0] - 1) * shape[2] + shape[1]
    add_own(planes[0, c], model[4][c, s], starts[s], sums[0, s, :n])
    add_own(planes[1, c], model[5][c, s], starts[s], sums[1, s, :n])
    choose_contexts(sums[0, s], sums[1, s], model[6][c], model[7], biases[2][c, s], shape, rounded, contexts)


@njit(cache=True, nogil=True)
def encode_tile(model, biases, starts, tile, planes, rows, stride, symbols, contexts):  # type: ignore[no-untyped-def]
    """Symbols and contexts of all positions of tile [C, h, w], in the order of the stream.

    planes: [2, C, 4 * rows * stride] of zeros, filled here.
    """
    channels, height, width = tile.shape
    sums = np.empty((2, 4, rows * stride), np.float32)
    rounded = np.empty(rows * stride, np.int32)
    own = np.empty((4, rows * stride), np.int32)  # values of the plane, phase after phase, without margins
    filled = np.zeros((2, channels), np.bool_)
    i = 0
    for c in range(channels):
        values = np.int32(0)
        for s in range(4):
            py, px = PASS_ROW[s], PASS_COLUMN[s]
            columns = (width - px + 1) // 2
            for y in range((height - py + 1) // 2):
                line = tile[c, 2 * y + py]
                at = (s * rows + 1 + y) * stride + 1
                plane = planes[0, c, at : at + columns]
                kept = own[s, y * columns : (y + 1) * columns]
                for x in range(columns):
                    q = np.int32(line[2 * x + px])
                    kept[x] = q
                    values |= q
                    plane[x] = min(max(q, -MEAN_LIMIT), MEAN_LIMIT)
        begin_plane(model, biases, c, planes, filled, rows, stride, sums)
        residuals = np.int32(0)
        for s in range(4):
            shape = ((height - PASS_ROW[s] + 1) // 2, (width - PASS_COLUMN[s] + 1) // 2, stride)
            columns = shape[1]
            n = shape[0] * columns
            if n == 0:
                continue
            predict(model, biases, starts, c, s, planes, shape, sums, rounded, contexts[i : i + n])
            for y in range(shape[0]):
                at = (s * rows + 1 + y) * stride + 1
                plane = planes[1, c, at : at + columns]
                part = slice(y * columns, (y + 1) * columns)
                u, v, k = own[s, part], rounded[part], contexts[i : i + n][part]
                d = symbols[i : i + n][part]
                for x in range(columns):
                    e = u[x] - v[x]
                    residuals |= e
                    plane[x] = min(abs(e), SCALE_LIMIT)
                    d[x] = -e if k[x] & 1 else e
            i += n
        filled[0, c] = values != 0
        filled[1, c] = residuals != 0


@njit(cache=True, nogil=True)
def restore(symbols, rounded, contexts, c, s, planes, filled, shape, rows, tile):  # type: ignore[no-untyped-def]
    """Values of a pass from its symbols, into tile [C, h, w] and where later passes look; False: beyond 16 bits."""
    stride = shape[2]
    py, px = PASS_ROW[s], PASS_COLUMN[s]
    m = 0
    values = residuals = beyond = np.int64(0)
    for y in range(shape[0]):
        at = (s * rows + 1 + y) * stride + 1
        line = tile[c, 2 * y + py]
        for x in range(shape[1]):
            d = np.int64(symbols[m])
            q = rounded[m] + (-d if contexts[m] & 1 else d)
            values |= q
            residuals |= d
            beyond |= q + 32768
            line[2 * x + px] = q
            planes[0, c, at + x] = min(max(q, -MEAN_LIMIT), MEAN_LIMIT)
            planes[1, c, at + x] = min(abs(d), SCALE_LIMIT)
            m += 1
    filled[0, c] |= values != 0
    filled[1, c] |= residuals != 0
    return beyond >> 16 == 0


@njit(cache=True, nogil=True)
def decode_tile(first, lookups, states, words, escapes, at, escape_at, model, biases, starts, offsets, planes, rows, stride, tile):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Decodes tile [C, h, w]; the first arguments and results are those of `RansDecoder.apply`.

    A position is -1 as in `numba_rans.decode`; the last result is False when a value is beyond 16 bits.
    planes: [2, C, 4 * rows * stride] of zeros. offsets: the image offset of each plane [C].
    """
    channels, height, width = tile.shape
    sums = np.empty((2, 4, rows * stride), np.float32)
    rounded, symbols = np.empty(rows * stride, np.int32), np.empty(rows * stride, np.int32)
    contexts, tables = np.empty(rows * stride, np.int16), np.empty(rows * stride, np.uint16)
    filled = np.zeros((2, channels), np.bool_)
    for c in range(channels):
        begin_plane(model, biases, c, planes, filled, rows, stride, sums)
        for s in range(4):
            shape = ((height - PASS_ROW[s] + 1) // 2, (width - PASS_COLUMN[s] + 1) // 2, stride)
            n = shape[0] * shape[1]
            if n == 0:
                continue
            predict(model, biases, starts, c, s, planes, shape, sums, rounded, contexts[:n])
            tables_of(contexts[:n], offsets[c], tables)
            if len(states) == UNROLLED:
                at, escape_at = numba_rans_unrolled.decode_each(
                    tables[:n], first, lookups, states, words, escapes, at, escape_at, symbols[:n]
                )
            else:
                at, escape_at = numba_rans.decode(
                    tables[:n], 1, first, lookups, states, words, escapes, at, escape_at, symbols[:n]
                )
            if at < 0 or escape_at < 0:
                return first, at, escape_at, True
            first += n
            if not restore(symbols, rounded, contexts, c, s, planes, filled, shape, rows, tile):
                return first, at, escape_at, False
    return first, at, escape_at, True


@njit(cache=True, nogil=True)
def tables_of(contexts, offset, out):  # type: ignore[no-untyped-def]
    """Step 5: the table of each position with its plane's image offset, uint16, as many as there are contexts."""
    for i in range(len(contexts)):
        k = np.int32(contexts[i])
        out[i] = min(max((k >> 3) + (offset - SCALES), 0), SCALES - 1) * PHASES + (k >> 1 & 3)


@njit(cache=True, nogil=True)
def offset_costs(symbols, contexts, step, costs, out):  # type: ignore[no-untyped-def]
    """Adds to out [2 REACH + 1] what every step-th symbol costs with each image offset, in 1/65536 bits.

    costs: [tables, 2 JUDGED_REACH + 1] of symbols clipped to +-JUDGED_REACH.
    """
    for i in range(0, len(symbols), step):
        k = np.int64(contexts[i])
        d = min(max(symbols[i], -JUDGED_REACH), JUDGED_REACH) + JUDGED_REACH
        for o in range(len(out)):
            scale = (k >> 3) + (o - OFFSET_REACH - SCALES)
            table = (0 if scale < 0 else SCALES - 1 if scale >= SCALES else scale) * PHASES + (k >> 1 & 3)
            out[o] += costs[table, d]
