# SPDX-License-Identifier: Apache-2.0
"""Contexts along time (payload `context.2`): one position after another, each from taps on those before it.

A tap is how far back it looks in the order of the stream, which is a number of positions: frames follow each other
behind LAGS frames of zeros. Contexts are packed as in `passes`.
"""

import numpy as np
from numba import njit

from isthmus.kernels.compiled import kernel
from isthmus.kernels.context.passes import HIGHEST, LOWEST_CODE, PHASES, SCALES
from isthmus.kernels.context.rows import MEAN_LIMIT, SCALE_LIMIT
from isthmus.kernels.rans import lanes as rans_lanes

LAGS = 15  # frames that a context may look back, at most
COST_REACH = 32  # of symbols whose costs a choice looks up
I32, U32, U64 = np.int32, np.uint32, np.uint64


@njit(inline="always")
def _sum(seen, begins, backs, weights, c, at):  # type: ignore[no-untyped-def]
    """The taps of plane c at position `at` of `seen`."""
    total = I32(0)
    for j in range(begins[c], begins[c + 1]):
        total += weights[j] * seen[U64(at - backs[j])]
    return total


@njit(inline="always")
def _context(model, biases, c, at, values, residuals):  # type: ignore[no-untyped-def]
    """Steps 1 to 5: the rounded mean, the scale before the image offset, the phase, and whether it is mirrored.

    model: begins [2, C + 1], how far back int32 [2, N], weights int32 [2, N], shift [C], levels [384].
    """
    begins, backs, weights, shifts, levels = model
    mean = biases[0][c] + _sum(values, begins[0], backs[0], weights[0], c, at)
    shift = shifts[c]
    nearest = (mean + ((I32(1) << shift) >> I32(1))) >> shift
    fraction = mean - (nearest << shift)
    a = max(I32(1), I32(biases[1][c] + _sum(residuals, begins[1], backs[1], weights[1], c, at)))
    # The exponent and the first four mantissa bits of a float32 integer are its logarithm's place.
    code = (np.float32(a).view(I32) >> I32(19)) - LOWEST_CODE
    scale = (levels[code] + biases[2][c]) >> I32(4)
    phase = min((abs(fraction) << I32(3)) >> shift, I32(PHASES - 1))
    return nearest, scale, phase, fraction < 0


@njit(inline="always")
def _keep(values, residuals, at, q, e):  # type: ignore[no-untyped-def]
    values[at] = min(max(q, -MEAN_LIMIT), MEAN_LIMIT)
    residuals[at] = min(abs(e), SCALE_LIMIT)


@njit(inline="always")
def _histories(count, channels):  # type: ignore[no-untyped-def]
    """Values and residuals of all positions, and of the frames of zeros before them."""
    return np.zeros((LAGS + count) * channels, I32), np.zeros((LAGS + count) * channels, I32)


@kernel
def encode_frames(model, biases, frames, symbols, contexts):  # type: ignore[no-untyped-def]
    """Symbols int32 and contexts int16 [T * C] of int16 frames [T, C]."""
    count, channels = frames.shape
    values, residuals = _histories(count, channels)
    first = LAGS * channels
    for t in range(count):
        for c in range(channels):
            i = t * channels + c
            nearest, scale, phase, mirrored = _context(model, biases, c, first + i, values, residuals)
            q = I32(frames[t, c])
            d = q - nearest
            symbols[i] = -d if mirrored else d
            contexts[i] = (min(max(scale, -SCALES), HIGHEST) + SCALES) << 3 | phase << 1 | mirrored
            _keep(values, residuals, first + i, q, d)


@kernel
def decode_frames(first, lookups, states, words, escapes, at, escape_at, model, biases, offsets, frames):  # type: ignore[no-untyped-def]  # fmt: skip
    """Decodes int16 frames [T, C]; the first arguments and results are those of `RansDecoder.apply`.

    offsets: image offsets int32 [C]. The last result is False when a value is beyond 16 bits.
    """
    precision, low, size, starts, slots, entries = lookups
    shift, slot_mask = U32(precision), U32((1 << precision) - 1)
    mask, last, at = U64(len(states) - 1), U64(len(words) - rans_lanes.WORD_PADDING), U64(at)
    count, channels = frames.shape
    values, residuals = _histories(count, channels)
    begin = LAGS * channels
    for t in range(count):
        for c in range(channels):
            i = t * channels + c
            nearest, scale, phase, mirrored = _context(model, biases, c, begin + i, values, residuals)
            table = U64(min(max(scale + offsets[c], 0), SCALES - 1) * PHASES + phase)
            lane = U64(first + i) & mask
            row, states[lane], at = rans_lanes.pop(
                states[lane], table, starts, slots, entries, slot_mask, shift, words, at
            )
            if at > last:
                return first, np.int64(-1), escape_at, True
            d = np.int64(row) >> 32
            if row & rans_lanes.IS_ESCAPE and escape_at >= 0:
                d, escape_at = rans_lanes.read_escape(d, np.int64(size[table]), escapes, escape_at)
            q = nearest - d if mirrored else nearest + d
            if q < -32768 or q > 32767:
                return first, np.int64(at), escape_at, False
            frames[t, c] = q
            _keep(values, residuals, begin + i, I32(q), I32(q - nearest))
        if escape_at < 0:
            return first, np.int64(at), escape_at, True
    return first + count * channels, np.int64(at), escape_at, True


@kernel
def choose_integers(model, biases, values_of, centres, costs, worth, frames):  # type: ignore[no-untyped-def]
    """Rounds values float32 [T, C], latents over their steps, to those int16 frames [T, C] that are worth their bits.

    Each is the nearest integer or the next one towards 0, whichever has less squared error, after `centres` [C], what
    an integer is multiplied with in decoding, plus `worth` times its bits. costs: int32 [tables, 2 COST_REACH + 1], in
    1/65536 bits.
    """
    count, channels = frames.shape
    values, residuals = _histories(count, channels)
    begin = LAGS * channels
    factor = np.float32(worth / 65536)
    for t in range(count):
        for c in range(channels):
            at = begin + t * channels + c
            nearest, scale, phase, mirrored = _context(model, biases, c, at, values, residuals)
            v = values_of[t, c]
            size = abs(v)
            high = I32(min(size + np.float32(0.5), np.float32(32767)))
            q = high
            if 0 < high < 1024:
                row = costs[min(max(scale, 0), SCALES - 1) * PHASES + phase]
                sign = I32(-1 if v < 0 else 1)
                best = np.float32(np.inf)
                for step in range(2):
                    m = high - I32(step)
                    d = m * sign - nearest
                    d = -d if mirrored else d
                    miss = size - np.float32(m) * centres[c]
                    bits = np.float32(row[min(max(d, -COST_REACH), COST_REACH) + COST_REACH])
                    cost = miss * miss + factor * bits
                    if cost < best:
                        best, q = cost, m
            q = -q if v < 0 else q
            frames[t, c] = q
            _keep(values, residuals, at, q, q - nearest)
