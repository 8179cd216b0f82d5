# SPDX-License-Identifier: Apache-2.0
"""Means and scales of latents from decoded neighbours (payload `context.1`), a whole pass at a time.

A tile's plane is kept as four phases, one a pass, each with a margin of zeros: position (y, x) lies in the phase of
(y mod 2, x mod 2), at (y // 2, x // 2). All phases have one stride, so that a neighbour of every position of a pass is
one slice of one phase, and sums over a pass are loops over contiguous float32. All values are integers and all sums
stay below 2**24, hence exact in any order, which lets the compiler reorder and fuse them.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

PASSES = ((0, 0), (1, 1), (0, 1), (1, 0))  # (y mod 2, x mod 2) of each
OWN = 25  # window of 5 x 5 in the plane itself
EARLIER = 9  # window of 3 x 3 in the planes before
MEAN_LIMIT, SCALE_LIMIT = 1023, 255  # values enter a mean or scale clipped to these
SCALES, PHASES = 64, 4
OFFSET_REACH = 6  # image offsets lie within it
PASS_ROW = np.array([row for row, _ in PASSES])
PASS_COLUMN = np.array([column for _, column in PASSES])
PHASE_OF = np.array([[0, 2], [3, 1]])  # the pass of (y mod 2, x mod 2)

Float32 = NDArray[np.float32]


def neighbours(window: int, rows: int, stride: int) -> NDArray[np.int64]:
    """Where each neighbour of a pass begins in a plane of four phases [4 * rows * stride]: int64 [4, window**2]."""
    place = {phase: number for number, phase in enumerate(PASSES)}
    reach = window // 2
    starts = np.zeros((4, window * window), np.int64)
    for number, (py, px) in enumerate(PASSES):
        for i in range(window * window):
            y, x = py + i // window - reach, px + i % window - reach
            phase = place[y % 2, x % 2]
            starts[number, i] = (phase * rows + 1 + y // 2) * stride + 1 + x // 2
    return starts


def available() -> NDArray[np.bool_]:
    """Which of the OWN window entries are decoded before a position: [4, OWN]."""
    place = {phase: number for number, phase in enumerate(PASSES)}
    seen = [
        [place[(py + i // 5 - 2) % 2, (px + i % 5 - 2) % 2] < number for i in range(OWN)]
        for number, (py, px) in enumerate(PASSES)
    ]
    return np.array(seen)


@njit(cache=True, nogil=True, fastmath=True)
def weighted_sums(planes, own, earlier, own_starts, starts, bias, out):  # type: ignore[no-untyped-def]
    """bias + sums over neighbours into out [n], for the first n places of a pass, margins in between included.

    planes [c + 1, size] float32, the last the plane itself; own [25], earlier [c, 9] float32; own_starts [25],
    starts [9].
    """
    n = len(out)
    c = len(earlier)
    out[:] = bias
    for i in range(OWN):
        weight = own[i]
        if weight != 0:
            a = planes[c][own_starts[i] : own_starts[i] + n]
            for x in range(n):
                out[x] += weight * a[x]
    for k in range(c):
        plane = planes[k]
        for i in range(0, EARLIER, 3):
            u, v, w = earlier[k, i], earlier[k, i + 1], earlier[k, i + 2]
            a = plane[starts[i] : starts[i] + n]
            b = plane[starts[i + 1] : starts[i + 1] + n]
            d = plane[starts[i + 2] : starts[i + 2] + n]
            for x in range(n):
                out[x] += u * a[x] + v * b[x] + w * d[x]


@njit(cache=True, nogil=True)
def choose_scales(means, sums, shift, levels, offset, shape, rounded, flips, scales, phases):  # type: ignore[no-untyped-def]
    """Steps 2 to 5 of docs/format-context.md for the places of a pass, row by row without margins.

    means, sums: float32 as `weighted_sums` leaves them; shape: rows, columns, stride. Writes, each [rows * columns]:
    rounded mean int32, whether the symbol is mirrored bool, scale before the image offset and the clip int16, phase.
    """
    rows, columns, stride = shape
    half = np.int32((1 << shift) >> 1)
    codes = sums.view(np.int32)
    i = 0
    for y in range(rows):
        for x in range(columns):
            at = y * stride + x
            mean = np.int32(means[at])
            r = (mean + half) >> shift
            fraction = mean - (r << shift)
            # The exponent and the first four mantissa bits of a float32 integer are its logarithm's place.
            code = max((codes[at] >> 19) - (127 << 4), 0)
            rounded[i] = r
            flips[i] = fraction < 0
            scales[i] = min(max((levels[code] + offset) >> 4, -SCALES), 2 * SCALES)
            phases[i] = min(PHASES - 1, (abs(fraction) * (2 * PHASES)) >> shift)
            i += 1


@njit(cache=True, nogil=True)
def predict(model, biases, places, c, s, planes, shape, means, sums, rounded, flips, scales, phases):  # type: ignore[no-untyped-def]
    """Contexts of one pass s of plane c; what is written is that of `choose_scales`.

    model: mean_own [C, 4, 25], scale_own, mean_earlier [4, P, 9], scale_earlier (float32), shift [C], levels [384];
    biases: mean [C, 4], scale [C, 4] (float32), offset [C, 4]; places: own_starts [4, 25], starts [4, 9];
    planes: means' and scales' neighbours [2, C, size]; means, sums: scratch of at least rows * stride.
    """
    mean_own, scale_own, mean_earlier, scale_earlier, shift, levels = model
    mean_bias, scale_bias, offset = biases
    own_starts, starts = places
    rows, columns, stride = shape
    n = (rows - 1) * stride + columns
    first = c * (c - 1) // 2
    e = mean_earlier[s, first : first + c]
    weighted_sums(planes[0, : c + 1], mean_own[c, s], e, own_starts[s], starts[s], mean_bias[c, s], means[:n])
    e = scale_earlier[s, first : first + c]
    weighted_sums(planes[1, : c + 1], scale_own[c, s], e, own_starts[s], starts[s], scale_bias[c, s], sums[:n])
    choose_scales(means, sums, shift[c], levels, offset[c, s], shape, rounded, flips, scales, phases)


@njit(cache=True, nogil=True)
def encode_tile(model, biases, places, tile, planes, rows, stride, symbols, scales, phases):  # type: ignore[no-untyped-def]
    """Symbols, scales and phases of all positions of tile [C, h, w], in the order of the stream.

    planes: [2, C, 4 * rows * stride] of zeros, filled here.
    """
    channels, height, width = tile.shape
    means = np.empty(rows * stride, np.float32)
    sums = np.empty(rows * stride, np.float32)
    rounded = np.empty(rows * stride, np.int32)
    flips = np.empty(rows * stride, np.bool_)
    i = 0
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                at = (PHASE_OF[y & 1, x & 1] * rows + 1 + (y >> 1)) * stride + 1 + (x >> 1)
                planes[0, c, at] = min(max(tile[c, y, x], -MEAN_LIMIT), MEAN_LIMIT)
        for s in range(4):
            py, px = PASS_ROW[s], PASS_COLUMN[s]
            shape = ((height - py + 1) // 2, (width - px + 1) // 2, stride)
            n = shape[0] * shape[1]
            if n == 0:
                continue
            k, j = scales[i : i + n], phases[i : i + n]
            predict(model, biases, places, c, s, planes, shape, means, sums, rounded, flips, k, j)
            m = 0
            for y in range(shape[0]):
                at = (s * rows + 1 + y) * stride + 1
                for x in range(shape[1]):
                    d = np.int32(tile[c, 2 * y + py, 2 * x + px]) - rounded[m]
                    planes[1, c, at + x] = min(abs(d), SCALE_LIMIT)
                    symbols[i + m] = -d if flips[m] else d
                    m += 1
            i += n


@njit(cache=True, nogil=True)
def restore(symbols, rounded, flips, c, s, planes, shape, rows, tile):  # type: ignore[no-untyped-def]
    """Values of a pass from its symbols, into tile [C, h, w] and where later passes look; False: beyond 16 bits."""
    stride = shape[2]
    py, px = PASS_ROW[s], PASS_COLUMN[s]
    m = 0
    for y in range(shape[0]):
        at = (s * rows + 1 + y) * stride + 1
        for x in range(shape[1]):
            d = np.int64(symbols[m])
            q = rounded[m] - d if flips[m] else rounded[m] + d
            if q < -32768 or q > 32767:
                return False
            tile[c, 2 * y + py, 2 * x + px] = q
            planes[0, c, at + x] = min(max(q, -MEAN_LIMIT), MEAN_LIMIT)
            planes[1, c, at + x] = min(abs(d), SCALE_LIMIT)
            m += 1
    return True


@njit(cache=True, nogil=True)
def tables_of(scales, phases, offset, out):  # type: ignore[no-untyped-def]
    """Step 5: the table of each position [n] with its plane's image offset, uint16."""
    for i in range(len(out)):
        out[i] = min(max(scales[i] + offset, 0), SCALES - 1) * PHASES + phases[i]


@njit(cache=True, nogil=True)
def offset_costs(symbols, scales, phases, step, low, size, starts, costs, escape, out):  # type: ignore[no-untyped-def]
    """Adds to out [2 REACH + 1] what every step-th symbol costs with each image offset, in 1/65536 bits.

    low, size, starts: of the tables; costs: of their entries; escape: what an escape costs beside its entry.
    """
    for i in range(0, len(symbols), step):
        for o in range(len(out)):
            k = min(max(scales[i] + o - OFFSET_REACH, 0), SCALES - 1) * PHASES + phases[i]
            entry = symbols[i] - low[k]
            if entry < 0 or entry >= size[k]:
                out[o] += costs[starts[k] + size[k]] + escape
            else:
                out[o] += costs[starts[k] + entry]
