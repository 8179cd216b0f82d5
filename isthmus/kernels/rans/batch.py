# SPDX-License-Identifier: Apache-2.0
"""Many `rans.1` payloads in one call: their heads, symbols and ends, item after item, without Python in between.

Payloads lie behind each other in uint8 `data`; item i has the bytes bounds[i] .. bounds[i + 1]. A status tells what is
wrong with an item: OK, or the place in `isthmus.entropy.coders.batch.FAULTS`.
"""

import numpy as np
from numba.extending import register_jitable

from isthmus.kernels.compiled import kernel
from isthmus.kernels.rans.lanes import ESCAPE_BYTES, WORD_PADDING, decode, encode
from isthmus.kernels.rans.symbols import find_entries, measure, write_escapes

MOST_LANES_LOG2 = 5
MOST_LANES = 1 << MOST_LANES_LOG2
HEAD_BYTES = 10 + 4 * MOST_LANES  # at most: lane code, length of the escapes, states
OK, BAD_HEAD, BAD_WORDS, BAD_ESCAPES, LEFT_OVER, BAD_CHOICE, BAD_VALUE = range(7)

LOWER = np.uint32(1 << 15)
UPPER = np.uint32(1 << 31)


@kernel
def open_payload(data, states, words):  # type: ignore[no-untyped-def]
    """Reads a head and copies the words with their padding; (status, lanes, words, place of the escapes).

    states: uint32 [32]; words: uint16, at least half as many as bytes and WORD_PADDING.
    """
    size = len(data)
    if size < 2 or data[0] > MOST_LANES_LOG2:
        return BAD_HEAD, 0, 0, 0
    lanes = 1 << np.int64(data[0])
    escapes, begin, bits = np.int64(0), 1, 0
    while True:
        if begin >= size or bits > 56:
            return BAD_HEAD, 0, 0, 0
        byte = np.int64(data[begin])
        begin += 1
        escapes |= (byte & 127) << bits
        bits += 7
        if byte < 128:
            break
    middle = begin + 4 * lanes
    if (byte == 0 and bits > 7) or escapes > size - middle or (size - middle - escapes) & 1:
        return BAD_HEAD, 0, 0, 0
    for lane in range(lanes):
        state = np.uint32(0)
        for k in range(4):
            state |= np.uint32(data[begin + 4 * lane + k]) << np.uint32(8 * k)
        if state < LOWER or state >= UPPER:
            return BAD_HEAD, 0, 0, 0
        states[lane] = state
    count = (size - middle - escapes) >> 1
    pairs = data[middle : middle + 2 * count]
    for k in range(count):
        words[k] = np.uint16(pairs[2 * k]) | np.uint16(pairs[2 * k + 1]) << np.uint16(8)
    words[count : count + WORD_PADDING] = 0
    return OK, lanes, count, middle + 2 * count


@kernel
def is_closed(states, at, words, escape_at, escapes):  # type: ignore[no-untyped-def]
    """Whether everything was used and every state is back at its start."""
    closed = at == words and escape_at == escapes
    for state in states:
        closed = closed and state == LOWER
    return closed


@kernel
def write_payload(states, words, escapes, out):  # type: ignore[no-untyped-def]
    """Writes a whole payload to uint8 `out`; the number of its bytes."""
    code = 0
    while 1 << code < len(states):
        code += 1
    out[0] = code
    at, rest = 1, len(escapes)
    while rest >= 128:
        out[at] = rest & 127 | 128
        rest >>= 7
        at += 1
    out[at] = rest
    at += 1
    for state in states:
        for k in range(4):
            out[at + k] = state >> np.uint32(8 * k) & np.uint32(255)
        at += 4
    pairs = out[at : at + 2 * len(words)]
    for k in range(len(words)):
        pairs[2 * k] = words[k] & np.uint16(255)
        pairs[2 * k + 1] = words[k] >> np.uint16(8)
    at += 2 * len(words)
    for k in range(len(escapes)):  # numba's slice assignment would compile the text of an error for 2 s
        out[at + k] = escapes[k]
    return at + len(escapes)


@register_jitable
def choose_lanes(cost: int, cost_per_lane: int) -> int:
    """The greatest power of two, at most 32, that leaves `cost_per_lane` of `cost` to each lane."""
    lanes = 1
    while lanes < MOST_LANES and cost >= 2 * lanes * cost_per_lane:
        lanes *= 2
    return lanes


@kernel
def decode_items(data, bounds, indices, step, tables, out, status):  # type: ignore[no-untyped-def]
    """Decodes the items to int32 `out` [items, n], n >= 1, and writes the status of each; stops at the first bad one.

    indices: uint16 [1 or items, 1 or n], one row for all items or one each; step: 0 for one index a row.
    """
    most = 0
    for i in range(len(out)):
        most = max(most, bounds[i + 1] - bounds[i])
    words = np.empty(most // 2 + WORD_PADDING, np.uint16)
    states = np.empty(MOST_LANES, np.uint32)
    for i in range(len(out)):
        part = data[bounds[i] : bounds[i + 1]]
        status[i], lanes, count, begin = open_payload(part, states, words)
        if status[i] != OK:
            return
        row = indices[i if len(indices) > 1 else 0]
        used, escapes = states[:lanes], part[begin:]
        here = words[: count + WORD_PADDING]
        at, escape_at = decode(row, step, 0, tables, used, here, escapes, 0, 0, out[i])
        if at < 0:
            status[i] = BAD_WORDS
        elif escape_at < 0:
            status[i] = BAD_ESCAPES
        elif not is_closed(used, at, count, escape_at, len(escapes)):
            status[i] = LEFT_OVER
        if status[i] != OK:
            return


@kernel
def encode_items(symbols, indices, step, low, size, starts, costs, rows, precision, cost_per_lane, out, bounds):  # type: ignore[no-untyped-def]
    """Encodes each row of symbols [items, n], n >= 1, to uint8 `out` and writes where each payload ends to bounds[1:].

    indices, step: as in `decode_items`. out: room for HEAD_BYTES and 2 + ESCAPE_BYTES for each symbol of each item.
    """
    n = symbols.shape[1]
    entries, escaped = np.empty(n, np.uint32), np.empty(n, np.bool_)
    words, varints = np.empty(n, np.uint16), np.empty(n * ESCAPE_BYTES, np.uint8)
    states = np.empty(MOST_LANES, np.uint32)
    for i in range(len(symbols)):
        row = indices[i if len(indices) > 1 else 0]
        used = 0
        if find_entries(symbols[i], row, step, low, size, starts, entries, escaped):
            used = write_escapes(symbols[i], np.flatnonzero(escaped), row, step, low, size, varints)
        lanes = choose_lanes(measure(entries, costs, MOST_LANES * cost_per_lane), cost_per_lane)
        states[:lanes] = LOWER
        at = encode(entries, 0, rows, precision, states[:lanes], words, n)
        bounds[i + 1] = bounds[i] + write_payload(states[:lanes], words[at:], varints[:used], out[bounds[i] :])
