# SPDX-License-Identifier: Apache-2.0
"""Interleaved rANS on the CPU, any number of lanes; equals `reference` bit for bit.

Table indices come as an array with a step of 1, or as one index with a step of 0 for a run of symbols of one table.
An entry is the number of a frequency in the family's list. No loop has a branch that depends on the data: a word is
always stored or loaded, and kept or used by arithmetic. Indices are unsigned, or numba would test each for a negative
sign. `unrolled` holds the same loops for 32 lanes with the states in local variables.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from isthmus.arrays.types import Int32
from isthmus.kernels.compiled import kernel

UNROLL = 4  # symbols decoded between two looks at the end of the words
WORD_PADDING = 32  # words that may be read, but not used, behind the last one: those of one step of the unrolled loops
ESCAPE_BYTES = 5  # at most: the distance of an int32 from an alphabet, doubled, has 34 bits

U16, U32, U64 = np.uint16, np.uint32, np.uint64
LOWER = U32(1 << 15)
HALF = U32(16)
LOW_HALF = U32(0xFFFF)
IS_ESCAPE = U64(1 << 15)
FREQUENCY = U32((1 << 15) - 1)
LOW_WORD = U64(0xFFFFFFFF)
CUMULATIVE = U64(0xFFFF0000)

UInt32 = NDArray[np.uint32]
UInt64 = NDArray[np.uint64]


def encoder_rows(frequencies: Int32, cumulative: Int32) -> UInt32:
    """uint32 [4 n], for each entry: frequency f, cumulative frequency, reciprocal r, shift k; x // f == x * r >> k.

    For x < 2**31. r = ceil(2**k / f), k = 31 + ceil(log2 f): r f - 2**k < f <= 2**(k - 31), so x * r / 2**k exceeds
    x / f by less than 1 / f and the floor is the same. r < 2**32 for f < 2**16.
    """
    f = frequencies.astype(np.int64)
    k = 31 + np.frexp(f - 1)[1].astype(np.int64)  # the bit length of f - 1 is ceil(log2 f)
    return np.stack([f, cumulative, -(-(1 << k) // f), k], axis=1).astype(np.uint32).reshape(-1)


def decoder_entries(frequencies: Int32, cumulative: Int32, values: Int32, escapes: NDArray[np.bool_]) -> UInt64:
    """uint64 [n]: value << 32 | cumulative frequency << 16 | is escape << 15 | frequency (below 2**15)."""
    high = values.astype(np.uint32).astype(np.uint64) << U64(32)
    low = cumulative.astype(np.uint64) << U64(16) | frequencies.astype(np.uint64)
    return high | low | escapes.astype(np.uint64) << U64(15)


@kernel
def push(x, e, rows, limit, total, words, at):  # type: ignore[no-untyped-def]
    """Encodes entry e: the state after it and the place of the last word written."""
    row = e << U64(2)
    f = rows[row]
    words[at - U64(1)] = U16(x & LOW_HALF)
    full = x >= U32(f << limit)
    x = U32(x >> HALF) if full else x
    quotient = U32((U64(x) * U64(rows[row + U64(2)])) >> U64(rows[row + U64(3)]))
    return U32(x + rows[row + U64(1)] + quotient * U32(total - f)), at - U64(full)


@kernel
def encode(entries, first, rows, precision, states, words, at):  # type: ignore[no-untyped-def]
    """Encodes entries [n] backwards; entry 0 has the number `first` in the stream. Words are written below words[at].

    rows: `encoder_rows`. at >= n, so that each entry has room for a word. Returns the place of the first word written.
    """
    mask = U64(len(states) - 1)
    limit, total = U32(31 - precision), U32(1 << precision)
    at = U64(at)
    lane = U64(first + len(entries))
    for back in range(1, len(entries) + 1):
        e = U64(entries[U64(len(entries) - back)])
        lane -= U64(1)
        states[lane & mask], at = push(states[lane & mask], e, rows, limit, total, words, at)
    return np.int64(at)


@kernel
def pop(x, table, starts, slots, entries, mask, shift, words, at):  # type: ignore[no-untyped-def]
    """Decodes a symbol: its entry's row, the state after it, and the place of the next word.

    The word is loaded whether it is used or not: a load under the condition would be a branch.
    """
    table, slot = U64(table), U32(x & mask)
    row = entries[U64(starts[table]) + U64(slots[(table << U64(shift)) + U64(slot)])]
    low = U32(row & LOW_WORD)
    x = U32(U32((low & FREQUENCY) * U32(x >> shift)) + U32(slot - U32(low >> HALF)))
    filled = U32(U32(x << HALF) | U32(words[at]))
    empty = x < LOWER
    return row, filled if empty else x, at + U64(empty)


@kernel
def pack_slots(slots, entries, packed):  # type: ignore[no-untyped-def]
    """Fills uint64 `packed`, what `pop_packed` reads, from the slots of one table and the rows of its entries.

    It is the row of the slot's entry with the slot's place within that entry instead of the cumulative frequency.
    """
    place, entry = U64(0), U64(slots[0])
    for slot in range(len(slots)):
        e = U64(slots[U64(slot)])
        place = place + U64(1) if e == entry and slot > 0 else U64(0)
        entry = e
        packed[U64(slot)] = (entries[e] & ~CUMULATIVE) | place << U64(16)


@kernel
def pop_packed(x, packed, mask, shift, words, at):  # type: ignore[no-untyped-def]
    """As `pop`, from `pack_slots`: one load less, for a table large enough a share of the symbols to be unpacked."""
    row = packed[U64(x & mask)]
    low = U32(row & LOW_WORD)
    x = U32(U32((low & FREQUENCY) * U32(x >> shift)) + U32(low >> HALF))
    filled = U32(U32(x << HALF) | U32(words[at]))
    empty = x < LOWER
    return row, filled if empty else x, at + U64(empty)


@kernel
def pack_small(slots, frequencies, small):  # type: ignore[no-untyped-def]
    """Fills uint32 `small`, what `pop_small` reads, from the uint8 slots of a table of precision 12.

    place in the entry << 20 | frequency << 8 | entry: half of `pack_slots`, which fills a core's first cache.
    """
    place, entry = U32(0), slots[0]
    for slot in range(len(slots)):
        e = slots[U64(slot)]
        place = U32(place + U32(1)) if e == entry and slot > 0 else U32(0)
        entry = e
        small[U64(slot)] = place << U32(20) | U32(frequencies[U64(e)]) << U32(8) | U32(e)


@kernel
def pop_small(x, small, words, at):  # type: ignore[no-untyped-def]
    """As `pop`, from `pack_small`: the entry within its table instead of its row."""
    row = small[U64(x & U32(0xFFF))]
    x = U32(U32((row >> U32(8) & U32(0xFFF)) * U32(x >> U32(12))) + U32(row >> U32(20)))
    filled = U32(U32(x << HALF) | U32(words[at]))
    empty = x < LOWER
    return row & U32(0xFF), filled if empty else x, at + U64(empty)


@kernel
def read_escape(end, size, escapes, at):  # type: ignore[no-untyped-def]
    """The value of an escape of the alphabet end - size .. end - 1 and the position after it, -1 if invalid."""
    rest, bits, byte = np.int64(0), np.int64(0), np.int64(128)
    while byte >= 128:
        if at >= len(escapes) or bits > 28:
            return np.int64(0), np.int64(-1)
        byte = np.int64(escapes[at])
        at += 1
        rest |= (byte & 127) << bits
        bits += 7
    value = end - size - 1 - (rest >> 1) if rest & 1 else end + (rest >> 1)
    if (byte == 0 and bits > 7) or value < -(1 << 31) or value >= 1 << 31:
        return np.int64(0), np.int64(-1)
    return value, at


@kernel
def fill_escapes(out, indices, step, low, size, escapes, at):  # type: ignore[no-untyped-def]
    """Puts escaped values where `out` holds the first integer beyond its alphabet; the position after them or -1."""
    for i in range(len(out)):
        t = U64(indices[i * step])
        end = np.int64(low[t]) + np.int64(size[t])
        if out[i] == end and at >= 0:
            value, at = read_escape(end, np.int64(size[t]), escapes, at)
            out[i] = value
    return at


@njit(inline="always")
def _decode_span(begin, end, block, indices, step, first, tables, states, words, escapes, at, escape_at, out):  # type: ignore[no-untyped-def]
    """Symbols begin..end of `decode`. Inlined: a constant `step` and `block` leave no test and no inner loop."""
    precision, low, size, starts, slots, entries = tables
    shift, slot_mask = U32(precision), U32((1 << precision) - 1)
    mask = U64(len(states) - 1)
    last = U64(len(words) - WORD_PADDING)
    table = U64(indices[0]) if step == 0 else U64(0)  # with a step of 1 there may be none
    at = U64(at)
    for start in range(begin, end, block):
        for k in range(start, start + block):
            if step != 0:
                table = U64(indices[U64(k)])
            lane = U64(first + k) & mask
            row, states[lane], at = pop(states[lane], table, starts, slots, entries, slot_mask, shift, words, at)
            value = np.int64(row) >> 32
            if row & IS_ESCAPE and escape_at >= 0:
                value, escape_at = read_escape(value, np.int64(size[table]), escapes, escape_at)
            out[U64(k)] = value
        if at > last or escape_at < 0:
            break
    return (np.int64(at) if at <= last else np.int64(-1)), escape_at


@kernel
def decode_rest(indices, step, first, tables, states, words, escapes, at, escape_at, out):  # type: ignore[no-untyped-def]
    """As `decode`, one symbol at a time: for the few of them before and behind what runs in larger steps."""
    return _decode_span(0, len(out), 1, indices, step, first, tables, states, words, escapes, at, escape_at, out)


@kernel
def decode(indices, step, first, tables, states, words, escapes, at, escape_at, out):  # type: ignore[no-untyped-def]
    """Decodes len(out) symbols, the first of which has the number `first`; returns the positions in words and escapes.

    tables: `TableFamily.lookups`. words:
    WORD_PADDING zeros follow. A position is -1 when its bytes end early or are invalid; then `out` is not whole.
    """
    n = len(out)
    tail = n - n % UNROLL
    if step == 0:
        at, escape_at = _decode_span(
            0, tail, UNROLL, indices, 0, first, tables, states, words, escapes, at, escape_at, out
        )
    else:
        at, escape_at = _decode_span(
            0, tail, UNROLL, indices, 1, first, tables, states, words, escapes, at, escape_at, out
        )
    if tail == n or at < 0 or escape_at < 0:
        return at, escape_at
    rest = indices[step * tail :]
    return decode_rest(rest, step, first + tail, tables, states, words, escapes, at, escape_at, out[tail:])
