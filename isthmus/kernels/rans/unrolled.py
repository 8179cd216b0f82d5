# SPDX-License-Identifier: Apache-2.0
# fmt: off
"""Written by tools/generate_rans.py for the lanes.py of SHA-256 5b68c625...; do not edit.

The loops of `lanes` for 32 lanes, with the states in local variables. The symbols before the first of lane 0, and
those after the last whole step of 32, go through the loops there.
"""

import numpy as np

from isthmus.kernels.compiled import kernel
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.kernels.rans.lanes import IS_ESCAPE, U32, U64, fill_escapes, pop, pop_packed, pop_small, push

LANES = 32
WORD_PADDING = rans_lanes.WORD_PADDING
decode_any = rans_lanes.decode_rest
encode_any = rans_lanes.encode


@kernel
def encode(entries, first, rows, precision, states, words, at):  # type: ignore[no-untyped-def]
    """As `rans_lanes.encode`, for 32 states."""
    limit, total = U32(31 - precision), U32(1 << precision)
    head = min(-first & 31, len(entries))
    end = len(entries) - ((len(entries) - head) & 31)
    at = U64(encode_any(entries[end:], first + end, rows, precision, states, words, at))
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    x4, x5, x6, x7 = states[4], states[5], states[6], states[7]
    x8, x9, x10, x11 = states[8], states[9], states[10], states[11]
    x12, x13, x14, x15 = states[12], states[13], states[14], states[15]
    x16, x17, x18, x19 = states[16], states[17], states[18], states[19]
    x20, x21, x22, x23 = states[20], states[21], states[22], states[23]
    x24, x25, x26, x27 = states[24], states[25], states[26], states[27]
    x28, x29, x30, x31 = states[28], states[29], states[30], states[31]
    while end > head:
        end -= 32
        e = entries[end : end + 32]
        x31, at = push(x31, U64(e[31]), rows, limit, total, words, at)
        x30, at = push(x30, U64(e[30]), rows, limit, total, words, at)
        x29, at = push(x29, U64(e[29]), rows, limit, total, words, at)
        x28, at = push(x28, U64(e[28]), rows, limit, total, words, at)
        x27, at = push(x27, U64(e[27]), rows, limit, total, words, at)
        x26, at = push(x26, U64(e[26]), rows, limit, total, words, at)
        x25, at = push(x25, U64(e[25]), rows, limit, total, words, at)
        x24, at = push(x24, U64(e[24]), rows, limit, total, words, at)
        x23, at = push(x23, U64(e[23]), rows, limit, total, words, at)
        x22, at = push(x22, U64(e[22]), rows, limit, total, words, at)
        x21, at = push(x21, U64(e[21]), rows, limit, total, words, at)
        x20, at = push(x20, U64(e[20]), rows, limit, total, words, at)
        x19, at = push(x19, U64(e[19]), rows, limit, total, words, at)
        x18, at = push(x18, U64(e[18]), rows, limit, total, words, at)
        x17, at = push(x17, U64(e[17]), rows, limit, total, words, at)
        x16, at = push(x16, U64(e[16]), rows, limit, total, words, at)
        x15, at = push(x15, U64(e[15]), rows, limit, total, words, at)
        x14, at = push(x14, U64(e[14]), rows, limit, total, words, at)
        x13, at = push(x13, U64(e[13]), rows, limit, total, words, at)
        x12, at = push(x12, U64(e[12]), rows, limit, total, words, at)
        x11, at = push(x11, U64(e[11]), rows, limit, total, words, at)
        x10, at = push(x10, U64(e[10]), rows, limit, total, words, at)
        x9, at = push(x9, U64(e[9]), rows, limit, total, words, at)
        x8, at = push(x8, U64(e[8]), rows, limit, total, words, at)
        x7, at = push(x7, U64(e[7]), rows, limit, total, words, at)
        x6, at = push(x6, U64(e[6]), rows, limit, total, words, at)
        x5, at = push(x5, U64(e[5]), rows, limit, total, words, at)
        x4, at = push(x4, U64(e[4]), rows, limit, total, words, at)
        x3, at = push(x3, U64(e[3]), rows, limit, total, words, at)
        x2, at = push(x2, U64(e[2]), rows, limit, total, words, at)
        x1, at = push(x1, U64(e[1]), rows, limit, total, words, at)
        x0, at = push(x0, U64(e[0]), rows, limit, total, words, at)
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    states[4], states[5], states[6], states[7] = x4, x5, x6, x7
    states[8], states[9], states[10], states[11] = x8, x9, x10, x11
    states[12], states[13], states[14], states[15] = x12, x13, x14, x15
    states[16], states[17], states[18], states[19] = x16, x17, x18, x19
    states[20], states[21], states[22], states[23] = x20, x21, x22, x23
    states[24], states[25], states[26], states[27] = x24, x25, x26, x27
    states[28], states[29], states[30], states[31] = x28, x29, x30, x31
    return encode_any(entries[:head], first, rows, precision, states, words, np.int64(at))


@kernel
def decode_each(  # type: ignore[no-untyped-def]
    indices, first, tables, states, words, escapes, at, escape_at, out
):
    """As `rans_lanes.decode` with a step of 1, for 32 states."""
    precision, low, size, starts, slots, entries = tables
    shift, mask = U32(precision), U32((1 << precision) - 1)
    begin, last = min(-first & 31, len(out)), np.int64(len(words) - WORD_PADDING)
    if begin > 0:
        at, escape_at = decode_any(indices, 1, first, tables, states, words, escapes, at, escape_at, out[:begin])
        if at < 0 or escape_at < 0:
            return at, escape_at
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    x4, x5, x6, x7 = states[4], states[5], states[6], states[7]
    x8, x9, x10, x11 = states[8], states[9], states[10], states[11]
    x12, x13, x14, x15 = states[12], states[13], states[14], states[15]
    x16, x17, x18, x19 = states[16], states[17], states[18], states[19]
    x20, x21, x22, x23 = states[20], states[21], states[22], states[23]
    x24, x25, x26, x27 = states[24], states[25], states[26], states[27]
    x28, x29, x30, x31 = states[28], states[29], states[30], states[31]
    place, end = U64(at), U64(last)
    while begin + 32 <= len(out) and place <= end and escape_at >= 0:
        o = out[begin : begin + 32]
        d = indices[begin : begin + 32]
        seen = U64(0)
        row, x0, place = pop(x0, d[0], starts, slots, entries, mask, shift, words, place)
        o[0] = np.int64(row) >> 32
        seen |= row
        row, x1, place = pop(x1, d[1], starts, slots, entries, mask, shift, words, place)
        o[1] = np.int64(row) >> 32
        seen |= row
        row, x2, place = pop(x2, d[2], starts, slots, entries, mask, shift, words, place)
        o[2] = np.int64(row) >> 32
        seen |= row
        row, x3, place = pop(x3, d[3], starts, slots, entries, mask, shift, words, place)
        o[3] = np.int64(row) >> 32
        seen |= row
        row, x4, place = pop(x4, d[4], starts, slots, entries, mask, shift, words, place)
        o[4] = np.int64(row) >> 32
        seen |= row
        row, x5, place = pop(x5, d[5], starts, slots, entries, mask, shift, words, place)
        o[5] = np.int64(row) >> 32
        seen |= row
        row, x6, place = pop(x6, d[6], starts, slots, entries, mask, shift, words, place)
        o[6] = np.int64(row) >> 32
        seen |= row
        row, x7, place = pop(x7, d[7], starts, slots, entries, mask, shift, words, place)
        o[7] = np.int64(row) >> 32
        seen |= row
        row, x8, place = pop(x8, d[8], starts, slots, entries, mask, shift, words, place)
        o[8] = np.int64(row) >> 32
        seen |= row
        row, x9, place = pop(x9, d[9], starts, slots, entries, mask, shift, words, place)
        o[9] = np.int64(row) >> 32
        seen |= row
        row, x10, place = pop(x10, d[10], starts, slots, entries, mask, shift, words, place)
        o[10] = np.int64(row) >> 32
        seen |= row
        row, x11, place = pop(x11, d[11], starts, slots, entries, mask, shift, words, place)
        o[11] = np.int64(row) >> 32
        seen |= row
        row, x12, place = pop(x12, d[12], starts, slots, entries, mask, shift, words, place)
        o[12] = np.int64(row) >> 32
        seen |= row
        row, x13, place = pop(x13, d[13], starts, slots, entries, mask, shift, words, place)
        o[13] = np.int64(row) >> 32
        seen |= row
        row, x14, place = pop(x14, d[14], starts, slots, entries, mask, shift, words, place)
        o[14] = np.int64(row) >> 32
        seen |= row
        row, x15, place = pop(x15, d[15], starts, slots, entries, mask, shift, words, place)
        o[15] = np.int64(row) >> 32
        seen |= row
        row, x16, place = pop(x16, d[16], starts, slots, entries, mask, shift, words, place)
        o[16] = np.int64(row) >> 32
        seen |= row
        row, x17, place = pop(x17, d[17], starts, slots, entries, mask, shift, words, place)
        o[17] = np.int64(row) >> 32
        seen |= row
        row, x18, place = pop(x18, d[18], starts, slots, entries, mask, shift, words, place)
        o[18] = np.int64(row) >> 32
        seen |= row
        row, x19, place = pop(x19, d[19], starts, slots, entries, mask, shift, words, place)
        o[19] = np.int64(row) >> 32
        seen |= row
        row, x20, place = pop(x20, d[20], starts, slots, entries, mask, shift, words, place)
        o[20] = np.int64(row) >> 32
        seen |= row
        row, x21, place = pop(x21, d[21], starts, slots, entries, mask, shift, words, place)
        o[21] = np.int64(row) >> 32
        seen |= row
        row, x22, place = pop(x22, d[22], starts, slots, entries, mask, shift, words, place)
        o[22] = np.int64(row) >> 32
        seen |= row
        row, x23, place = pop(x23, d[23], starts, slots, entries, mask, shift, words, place)
        o[23] = np.int64(row) >> 32
        seen |= row
        row, x24, place = pop(x24, d[24], starts, slots, entries, mask, shift, words, place)
        o[24] = np.int64(row) >> 32
        seen |= row
        row, x25, place = pop(x25, d[25], starts, slots, entries, mask, shift, words, place)
        o[25] = np.int64(row) >> 32
        seen |= row
        row, x26, place = pop(x26, d[26], starts, slots, entries, mask, shift, words, place)
        o[26] = np.int64(row) >> 32
        seen |= row
        row, x27, place = pop(x27, d[27], starts, slots, entries, mask, shift, words, place)
        o[27] = np.int64(row) >> 32
        seen |= row
        row, x28, place = pop(x28, d[28], starts, slots, entries, mask, shift, words, place)
        o[28] = np.int64(row) >> 32
        seen |= row
        row, x29, place = pop(x29, d[29], starts, slots, entries, mask, shift, words, place)
        o[29] = np.int64(row) >> 32
        seen |= row
        row, x30, place = pop(x30, d[30], starts, slots, entries, mask, shift, words, place)
        o[30] = np.int64(row) >> 32
        seen |= row
        row, x31, place = pop(x31, d[31], starts, slots, entries, mask, shift, words, place)
        o[31] = np.int64(row) >> 32
        seen |= row
        if seen & IS_ESCAPE:
            escape_at = fill_escapes(o, d, 1, low, size, escapes, escape_at)
        begin += 32
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    states[4], states[5], states[6], states[7] = x4, x5, x6, x7
    states[8], states[9], states[10], states[11] = x8, x9, x10, x11
    states[12], states[13], states[14], states[15] = x12, x13, x14, x15
    states[16], states[17], states[18], states[19] = x16, x17, x18, x19
    states[20], states[21], states[22], states[23] = x20, x21, x22, x23
    states[24], states[25], states[26], states[27] = x24, x25, x26, x27
    states[28], states[29], states[30], states[31] = x28, x29, x30, x31
    at = np.int64(place) if place <= end else np.int64(-1)
    if begin == len(out) or at < 0 or escape_at < 0:
        return at, escape_at
    return decode_any(indices[begin:], 1, first + begin, tables, states, words, escapes, at, escape_at, out[begin:])


@kernel
def decode_run(  # type: ignore[no-untyped-def]
    indices, packed, first, tables, states, words, escapes, at, escape_at, out
):
    """As `rans_lanes.decode` with a step of 0, for 32 states; packed: `pack_slots` of the one table."""
    precision, low, size, starts, slots, entries = tables
    shift, mask = U32(precision), U32((1 << precision) - 1)
    begin, last = min(-first & 31, len(out)), np.int64(len(words) - WORD_PADDING)
    if begin > 0:
        at, escape_at = decode_any(indices, 0, first, tables, states, words, escapes, at, escape_at, out[:begin])
        if at < 0 or escape_at < 0:
            return at, escape_at
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    x4, x5, x6, x7 = states[4], states[5], states[6], states[7]
    x8, x9, x10, x11 = states[8], states[9], states[10], states[11]
    x12, x13, x14, x15 = states[12], states[13], states[14], states[15]
    x16, x17, x18, x19 = states[16], states[17], states[18], states[19]
    x20, x21, x22, x23 = states[20], states[21], states[22], states[23]
    x24, x25, x26, x27 = states[24], states[25], states[26], states[27]
    x28, x29, x30, x31 = states[28], states[29], states[30], states[31]
    place, end = U64(at), U64(last)
    while begin + 32 <= len(out) and place <= end and escape_at >= 0:
        o = out[begin : begin + 32]
        seen = U64(0)
        row, x0, place = pop_packed(x0, packed, mask, shift, words, place)
        o[0] = np.int64(row) >> 32
        seen |= row
        row, x1, place = pop_packed(x1, packed, mask, shift, words, place)
        o[1] = np.int64(row) >> 32
        seen |= row
        row, x2, place = pop_packed(x2, packed, mask, shift, words, place)
        o[2] = np.int64(row) >> 32
        seen |= row
        row, x3, place = pop_packed(x3, packed, mask, shift, words, place)
        o[3] = np.int64(row) >> 32
        seen |= row
        row, x4, place = pop_packed(x4, packed, mask, shift, words, place)
        o[4] = np.int64(row) >> 32
        seen |= row
        row, x5, place = pop_packed(x5, packed, mask, shift, words, place)
        o[5] = np.int64(row) >> 32
        seen |= row
        row, x6, place = pop_packed(x6, packed, mask, shift, words, place)
        o[6] = np.int64(row) >> 32
        seen |= row
        row, x7, place = pop_packed(x7, packed, mask, shift, words, place)
        o[7] = np.int64(row) >> 32
        seen |= row
        row, x8, place = pop_packed(x8, packed, mask, shift, words, place)
        o[8] = np.int64(row) >> 32
        seen |= row
        row, x9, place = pop_packed(x9, packed, mask, shift, words, place)
        o[9] = np.int64(row) >> 32
        seen |= row
        row, x10, place = pop_packed(x10, packed, mask, shift, words, place)
        o[10] = np.int64(row) >> 32
        seen |= row
        row, x11, place = pop_packed(x11, packed, mask, shift, words, place)
        o[11] = np.int64(row) >> 32
        seen |= row
        row, x12, place = pop_packed(x12, packed, mask, shift, words, place)
        o[12] = np.int64(row) >> 32
        seen |= row
        row, x13, place = pop_packed(x13, packed, mask, shift, words, place)
        o[13] = np.int64(row) >> 32
        seen |= row
        row, x14, place = pop_packed(x14, packed, mask, shift, words, place)
        o[14] = np.int64(row) >> 32
        seen |= row
        row, x15, place = pop_packed(x15, packed, mask, shift, words, place)
        o[15] = np.int64(row) >> 32
        seen |= row
        row, x16, place = pop_packed(x16, packed, mask, shift, words, place)
        o[16] = np.int64(row) >> 32
        seen |= row
        row, x17, place = pop_packed(x17, packed, mask, shift, words, place)
        o[17] = np.int64(row) >> 32
        seen |= row
        row, x18, place = pop_packed(x18, packed, mask, shift, words, place)
        o[18] = np.int64(row) >> 32
        seen |= row
        row, x19, place = pop_packed(x19, packed, mask, shift, words, place)
        o[19] = np.int64(row) >> 32
        seen |= row
        row, x20, place = pop_packed(x20, packed, mask, shift, words, place)
        o[20] = np.int64(row) >> 32
        seen |= row
        row, x21, place = pop_packed(x21, packed, mask, shift, words, place)
        o[21] = np.int64(row) >> 32
        seen |= row
        row, x22, place = pop_packed(x22, packed, mask, shift, words, place)
        o[22] = np.int64(row) >> 32
        seen |= row
        row, x23, place = pop_packed(x23, packed, mask, shift, words, place)
        o[23] = np.int64(row) >> 32
        seen |= row
        row, x24, place = pop_packed(x24, packed, mask, shift, words, place)
        o[24] = np.int64(row) >> 32
        seen |= row
        row, x25, place = pop_packed(x25, packed, mask, shift, words, place)
        o[25] = np.int64(row) >> 32
        seen |= row
        row, x26, place = pop_packed(x26, packed, mask, shift, words, place)
        o[26] = np.int64(row) >> 32
        seen |= row
        row, x27, place = pop_packed(x27, packed, mask, shift, words, place)
        o[27] = np.int64(row) >> 32
        seen |= row
        row, x28, place = pop_packed(x28, packed, mask, shift, words, place)
        o[28] = np.int64(row) >> 32
        seen |= row
        row, x29, place = pop_packed(x29, packed, mask, shift, words, place)
        o[29] = np.int64(row) >> 32
        seen |= row
        row, x30, place = pop_packed(x30, packed, mask, shift, words, place)
        o[30] = np.int64(row) >> 32
        seen |= row
        row, x31, place = pop_packed(x31, packed, mask, shift, words, place)
        o[31] = np.int64(row) >> 32
        seen |= row
        if seen & IS_ESCAPE:
            escape_at = fill_escapes(o, indices, 0, low, size, escapes, escape_at)
        begin += 32
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    states[4], states[5], states[6], states[7] = x4, x5, x6, x7
    states[8], states[9], states[10], states[11] = x8, x9, x10, x11
    states[12], states[13], states[14], states[15] = x12, x13, x14, x15
    states[16], states[17], states[18], states[19] = x16, x17, x18, x19
    states[20], states[21], states[22], states[23] = x20, x21, x22, x23
    states[24], states[25], states[26], states[27] = x24, x25, x26, x27
    states[28], states[29], states[30], states[31] = x28, x29, x30, x31
    at = np.int64(place) if place <= end else np.int64(-1)
    if begin == len(out) or at < 0 or escape_at < 0:
        return at, escape_at
    return decode_any(indices, 0, first + begin, tables, states, words, escapes, at, escape_at, out[begin:])


@kernel
def decode_small(  # type: ignore[no-untyped-def]
    indices, small, first, tables, states, words, escapes, at, escape_at, out
):
    """As `rans_lanes.decode` with a step of 0, for 32 states; small: `pack_small` of the one table."""
    precision, low, size, starts, slots, entries = tables
    base, beyond = low[indices[0]], U32(size[indices[0]])
    begin, last = min(-first & 31, len(out)), np.int64(len(words) - WORD_PADDING)
    if begin > 0:
        at, escape_at = decode_any(indices, 0, first, tables, states, words, escapes, at, escape_at, out[:begin])
        if at < 0 or escape_at < 0:
            return at, escape_at
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    x4, x5, x6, x7 = states[4], states[5], states[6], states[7]
    x8, x9, x10, x11 = states[8], states[9], states[10], states[11]
    x12, x13, x14, x15 = states[12], states[13], states[14], states[15]
    x16, x17, x18, x19 = states[16], states[17], states[18], states[19]
    x20, x21, x22, x23 = states[20], states[21], states[22], states[23]
    x24, x25, x26, x27 = states[24], states[25], states[26], states[27]
    x28, x29, x30, x31 = states[28], states[29], states[30], states[31]
    place, end = U64(at), U64(last)
    while begin + 32 <= len(out) and place <= end and escape_at >= 0:
        o = out[begin : begin + 32]
        seen = U32(0)
        row, x0, place = pop_small(x0, small, words, place)
        o[0] = base + np.int32(row)
        seen = max(seen, row)
        row, x1, place = pop_small(x1, small, words, place)
        o[1] = base + np.int32(row)
        seen = max(seen, row)
        row, x2, place = pop_small(x2, small, words, place)
        o[2] = base + np.int32(row)
        seen = max(seen, row)
        row, x3, place = pop_small(x3, small, words, place)
        o[3] = base + np.int32(row)
        seen = max(seen, row)
        row, x4, place = pop_small(x4, small, words, place)
        o[4] = base + np.int32(row)
        seen = max(seen, row)
        row, x5, place = pop_small(x5, small, words, place)
        o[5] = base + np.int32(row)
        seen = max(seen, row)
        row, x6, place = pop_small(x6, small, words, place)
        o[6] = base + np.int32(row)
        seen = max(seen, row)
        row, x7, place = pop_small(x7, small, words, place)
        o[7] = base + np.int32(row)
        seen = max(seen, row)
        row, x8, place = pop_small(x8, small, words, place)
        o[8] = base + np.int32(row)
        seen = max(seen, row)
        row, x9, place = pop_small(x9, small, words, place)
        o[9] = base + np.int32(row)
        seen = max(seen, row)
        row, x10, place = pop_small(x10, small, words, place)
        o[10] = base + np.int32(row)
        seen = max(seen, row)
        row, x11, place = pop_small(x11, small, words, place)
        o[11] = base + np.int32(row)
        seen = max(seen, row)
        row, x12, place = pop_small(x12, small, words, place)
        o[12] = base + np.int32(row)
        seen = max(seen, row)
        row, x13, place = pop_small(x13, small, words, place)
        o[13] = base + np.int32(row)
        seen = max(seen, row)
        row, x14, place = pop_small(x14, small, words, place)
        o[14] = base + np.int32(row)
        seen = max(seen, row)
        row, x15, place = pop_small(x15, small, words, place)
        o[15] = base + np.int32(row)
        seen = max(seen, row)
        row, x16, place = pop_small(x16, small, words, place)
        o[16] = base + np.int32(row)
        seen = max(seen, row)
        row, x17, place = pop_small(x17, small, words, place)
        o[17] = base + np.int32(row)
        seen = max(seen, row)
        row, x18, place = pop_small(x18, small, words, place)
        o[18] = base + np.int32(row)
        seen = max(seen, row)
        row, x19, place = pop_small(x19, small, words, place)
        o[19] = base + np.int32(row)
        seen = max(seen, row)
        row, x20, place = pop_small(x20, small, words, place)
        o[20] = base + np.int32(row)
        seen = max(seen, row)
        row, x21, place = pop_small(x21, small, words, place)
        o[21] = base + np.int32(row)
        seen = max(seen, row)
        row, x22, place = pop_small(x22, small, words, place)
        o[22] = base + np.int32(row)
        seen = max(seen, row)
        row, x23, place = pop_small(x23, small, words, place)
        o[23] = base + np.int32(row)
        seen = max(seen, row)
        row, x24, place = pop_small(x24, small, words, place)
        o[24] = base + np.int32(row)
        seen = max(seen, row)
        row, x25, place = pop_small(x25, small, words, place)
        o[25] = base + np.int32(row)
        seen = max(seen, row)
        row, x26, place = pop_small(x26, small, words, place)
        o[26] = base + np.int32(row)
        seen = max(seen, row)
        row, x27, place = pop_small(x27, small, words, place)
        o[27] = base + np.int32(row)
        seen = max(seen, row)
        row, x28, place = pop_small(x28, small, words, place)
        o[28] = base + np.int32(row)
        seen = max(seen, row)
        row, x29, place = pop_small(x29, small, words, place)
        o[29] = base + np.int32(row)
        seen = max(seen, row)
        row, x30, place = pop_small(x30, small, words, place)
        o[30] = base + np.int32(row)
        seen = max(seen, row)
        row, x31, place = pop_small(x31, small, words, place)
        o[31] = base + np.int32(row)
        seen = max(seen, row)
        if seen == beyond:
            escape_at = fill_escapes(o, indices, 0, low, size, escapes, escape_at)
        begin += 32
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    states[4], states[5], states[6], states[7] = x4, x5, x6, x7
    states[8], states[9], states[10], states[11] = x8, x9, x10, x11
    states[12], states[13], states[14], states[15] = x12, x13, x14, x15
    states[16], states[17], states[18], states[19] = x16, x17, x18, x19
    states[20], states[21], states[22], states[23] = x20, x21, x22, x23
    states[24], states[25], states[26], states[27] = x24, x25, x26, x27
    states[28], states[29], states[30], states[31] = x28, x29, x30, x31
    at = np.int64(place) if place <= end else np.int64(-1)
    if begin == len(out) or at < 0 or escape_at < 0:
        return at, escape_at
    return decode_any(indices, 0, first + begin, tables, states, words, escapes, at, escape_at, out[begin:])
