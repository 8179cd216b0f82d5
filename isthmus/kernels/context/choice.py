# SPDX-License-Identifier: Apache-2.0
"""What the encoder of `context.1` chooses, the image offset of each plane, and the tables that follow from it."""

import numpy as np
from numpy.typing import NDArray

from isthmus.kernels.compiled import kernel
from isthmus.kernels.context.passes import I32, PHASES, SCALES
from isthmus.kernels.native.vectors import WIDE, add_wide

OFFSET_REACH = 6  # image offsets lie within it
OFFSETS = 2 * OFFSET_REACH + 1
JUDGED_REACH = 32  # image offsets are judged by symbols clipped to it
SYMBOLS = 2 * JUDGED_REACH + 1


def arrange_costs(costs: NDArray[np.int32]) -> NDArray[np.int32]:
    """What each symbol costs with each table, int32 [SCALES * PHASES, SYMBOLS], as `judge_offsets` reads it.

    int32 [PHASES, SYMBOLS, scales]: the costs of all image offsets lie side by side, and some behind them that whole
    vectors read for nothing. The first scale is repeated before itself, the last one behind it.
    """
    scales = np.arange(-2 * OFFSET_REACH, SCALES + WIDE).clip(0, SCALES - 1)
    return np.ascontiguousarray(costs.reshape(SCALES, PHASES, SYMBOLS)[scales].transpose(1, 2, 0))


@kernel
def judge_offsets(symbols, contexts, step, arranged, out):  # type: ignore[no-untyped-def]
    """Adds to out [C, OFFSETS] what every step-th symbol of [C, n] costs with each image offset, in 1/65536 bits.

    At most 1,600 symbols of a plane: a symbol costs 20 bits at most, and 32 hold their sum.
    """
    channels, n = symbols.shape
    scales = arranged.shape[2]
    flat, costs = arranged.reshape(arranged.size), np.empty(WIDE, I32)
    for c in range(channels):
        costs[:] = 0
        d, contexts_of = symbols[c], contexts[c]
        for i in range(0, n, step):
            k = contexts_of[i]
            symbol = min(max(d[i], -JUDGED_REACH), JUDGED_REACH) + JUDGED_REACH
            scale = min(max((k >> 3) - SCALES, -OFFSET_REACH), SCALES + OFFSET_REACH - 1) + OFFSET_REACH
            add_wide(costs, flat, np.uint64(((k >> 1 & (PHASES - 1)) * SYMBOLS + symbol) * scales + scale))
        for o in range(OFFSETS):
            out[c, o] += costs[o]


@kernel
def pick_offsets(costs, step, own_costs, offsets):  # type: ignore[no-untyped-def]
    """Writes the cheapest image offset of each plane, int16 [C]; returns what all of them cost, in 1/65536 bits.

    costs: what `judge_offsets` found; own_costs [OFFSETS]: what it costs to send each.
    """
    total = np.int64(0)
    for c in range(len(costs)):
        best, least = 0, costs[c, 0] * step + own_costs[0]
        for o in range(1, OFFSETS):
            cost = costs[c, o] * step + own_costs[o]
            if cost < least:
                best, least = o, cost
        total += least
        offsets[c] = best - OFFSET_REACH
    return total


@kernel
def tables_of(contexts, offsets, out):  # type: ignore[no-untyped-def]
    """Step 5: the table of each position [C, n] with its plane's image offset, uint16 [C, n]."""
    last = I32(SCALES - 1)
    for c in range(len(contexts)):
        k, t, offset = contexts[c], out[c], I32(offsets[c] - SCALES)
        for i in range(len(k)):
            scale = min(max(I32(I32(k[i] >> 3) + offset), I32(0)), last)
            t[i] = I32(scale * PHASES) + (k[i] >> 1 & (PHASES - 1))
