# SPDX-License-Identifier: Apache-2.0
"""A segment of symbols encoded in one call: block by block, so that entries stay in the cache, on 32 lanes unrolled.

A segment is an array of symbols and its table indices (one with a step of 0, or one a symbol with a step of 1). One
call a segment, not one a block: threads that meet between calls wait for Python's lock.
"""

import numpy as np

from isthmus.kernels.compiled import kernel
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.kernels.rans import symbols as rans_symbols
from isthmus.kernels.rans import unrolled

BLOCK = 1 << 13  # symbols

U64 = np.uint64
LANES = unrolled.LANES
ESCAPE_BYTES = rans_lanes.ESCAPE_BYTES
encode_any = rans_lanes.encode
encode_unrolled = unrolled.encode
find_entries = rans_symbols.find_entries
measure = rans_symbols.measure
write_escapes = rans_symbols.write_escapes


@kernel
def total_cost(indices, costs):  # type: ignore[no-untyped-def]
    """Sum of costs[indices]; without `measure`'s early end the additions overlap."""
    total = np.int64(0)
    for i in range(len(indices)):
        total += costs[U64(indices[i])]
    return total


@kernel
def measure_segment(symbols, indices, step, family, costs, enough):  # type: ignore[no-untyped-def]
    """Sum of the costs of the symbols' entries, or of the first of them that reach `enough`."""
    low, size, starts = family
    entries, escaped = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.bool_)
    cost = np.int64(0)
    for begin in range(0, len(symbols), BLOCK):
        part = symbols[begin : begin + BLOCK]
        index = indices[step * begin : step * begin + BLOCK]
        find_entries(part, index, step, low, size, starts, entries, escaped)
        cost += measure(entries[: len(part)], costs, enough - cost)
        if cost >= enough:
            break
    return cost


@kernel
def list_escapes(escaped, eights, places):  # type: ignore[no-untyped-def]
    """Writes the places of the escapes to `places` and returns how many; eights: `escaped`, bool [8 n], as uint64."""
    used = 0
    for k in range(len(eights)):
        if eights[k]:
            for i in range(8 * k, 8 * k + 8):
                if escaped[i]:
                    places[used] = i
                    used += 1
    return used


@kernel
def encode_segment(symbols, indices, step, first, family, rows, precision, kind, states, words, at, varints, used):  # type: ignore[no-untyped-def]  # fmt: skip
    """As `rans_lanes.encode`, from symbols; the varints of their escapes end at varints[used].

    kind: any array of the dtype that entries have. Returns the places of the first word and of the first varint.
    """
    low, size, starts = family
    entries, eights = np.empty(BLOCK, kind.dtype), np.zeros(BLOCK // 8, np.uint64)
    escaped, places = eights.view(np.bool_), np.empty(BLOCK, np.int64)
    room = np.empty(0, np.uint8)
    for begin in range((len(symbols) - 1) // BLOCK * BLOCK, -1, -BLOCK):
        part = symbols[begin : begin + BLOCK]
        index = indices[step * begin : step * begin + BLOCK]
        if find_entries(part, index, step, low, size, starts, entries, escaped):
            escaped[len(part) :] = False
            some = places[: list_escapes(escaped, eights, places)]
            if len(room) == 0:
                room = np.empty(BLOCK * ESCAPE_BYTES, np.uint8)
            length = write_escapes(part, some, index, step, low, size, room)
            used -= length
            for k in range(length):  # numba's slice assignment would compile the text of an error for 2 s
                varints[used + k] = room[k]
        if len(states) == LANES:
            at = encode_unrolled(entries[: len(part)], first + begin, rows, precision, states, words, at)
        else:
            at = encode_any(entries[: len(part)], first + begin, rows, precision, states, words, at)
    return at, used
