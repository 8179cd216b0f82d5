# SPDX-License-Identifier: Apache-2.0
"""Interleaved rANS on the CPU; equals `reference_rans` bit for bit.

Table indices come as an array with a step of 1, or as one index with a step of 0 for a run of symbols of one table.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

OK, OUT_OF_WORDS, BAD_ESCAPE = 0, 1, 2

UInt16 = NDArray[np.uint16]
UInt8 = NDArray[np.uint8]
UInt64 = NDArray[np.uint64]
Int32 = NDArray[np.int32]


@njit(cache=True, nogil=True)
def measure(symbols, indices, step, low, size, starts, costs):  # type: ignore[no-untyped-def]
    """Cost of symbols [n] in 1/65536 bits without the escape bytes, and the number of escape bytes."""
    cost, escape_bytes = np.int64(0), np.int64(0)
    for i in range(len(symbols)):
        t = np.int64(indices[i * step])
        entry = np.int64(symbols[i]) - low[t]
        n = np.int64(size[t])
        if entry < 0 or entry >= n:
            rest = 2 * (entry - n) if entry >= n else 2 * (-1 - entry) + 1
            while rest >= 0:
                escape_bytes += 1
                rest = (rest >> 7) if rest >= 128 else np.int64(-1)
            entry = n
        cost += costs[starts[t] + entry]
    return cost, escape_bytes


@njit(cache=True, nogil=True)
def write_escapes(symbols, indices, step, low, size, out, position):  # type: ignore[no-untyped-def]
    """Writes the varints of all escaped symbols to `out` from `position`; returns the position after them."""
    for i in range(len(symbols)):
        t = np.int64(indices[i * step])
        entry = np.int64(symbols[i]) - low[t]
        n = np.int64(size[t])
        if entry < 0 or entry >= n:
            rest = 2 * (entry - n) if entry >= n else 2 * (-1 - entry) + 1
            while rest >= 128:
                out[position] = rest & 127 | 128
                rest >>= 7
                position += 1
            out[position] = rest
            position += 1
    return position


@njit(cache=True, nogil=True)
def encode(symbols, indices, step, first, low, size, starts, frequencies, cumulative, precision, states, words, at):  # type: ignore[no-untyped-def]
    """Encodes symbols backwards; symbol 0 has the number `first` in the stream. Words are written below `words[at]`.

    `words` must have room for one word a symbol. Returns the position of the first word written.
    """
    mask = len(states) - 1
    limit = np.uint32(31 - precision)
    shift = np.uint32(precision)
    for back in range(len(symbols)):
        i = len(symbols) - 1 - back
        t = np.int64(indices[i * step])
        entry = np.int64(symbols[i]) - low[t]
        n = np.int64(size[t])
        if entry < 0 or entry >= n:
            entry = n
        at_entry = starts[t] + entry
        f = np.uint32(frequencies[at_entry])
        lane = (first + i) & mask
        x = states[lane]
        words[at - 1] = np.uint16(x & np.uint32(0xFFFF))  # always stored, kept when the state is too large
        full = x >= (f << limit)
        at -= np.int64(full)
        x = np.uint32(x >> np.uint32(16)) if full else x
        quotient = x // f
        states[lane] = np.uint32((quotient << shift) + (x - quotient * f) + np.uint32(cumulative[at_entry]))
    return at


@njit(cache=True, nogil=True)
def decode(indices, step, first, low, size, slots, precision, states, words, at, escapes, escape_at, out):  # type: ignore[no-untyped-def]
    """Decodes len(out) symbols; returns (status, word position, escape position)."""
    mask = len(states) - 1
    shift = np.uint32(precision)
    slot_mask = np.uint32((1 << precision) - 1)
    last = len(words)
    for i in range(len(out)):
        t = np.int64(indices[i * step])
        lane = (first + i) & mask
        x = states[lane]
        packed = slots[t, x & slot_mask]
        f = np.uint32((packed >> np.uint64(16)) & np.uint64(0xFFFF)) + np.uint32(1)
        x = np.uint32(f * (x >> shift)) + np.uint32(packed & np.uint64(0xFFFF))
        if x < np.uint32(1 << 15):
            if at >= last:
                return OUT_OF_WORDS, at, escape_at
            x = np.uint32(x << np.uint32(16)) | np.uint32(words[at])
            at += 1
        states[lane] = x
        entry = np.int64(packed >> np.uint64(32))
        value = entry + low[t]
        if entry == size[t]:
            rest, bits, more = np.int64(0), 0, True
            while more:
                if escape_at >= len(escapes) or bits > 28:
                    return BAD_ESCAPE, at, escape_at
                byte = np.int64(escapes[escape_at])
                escape_at += 1
                rest |= (byte & 127) << bits
                bits += 7
                more = byte >= 128
                if not more and byte == 0 and bits > 7:
                    return BAD_ESCAPE, at, escape_at
            value = value + (rest >> 1) if rest & 1 == 0 else low[t] - 1 - (rest >> 1)
            if value < -(1 << 31) or value >= 1 << 31:
                return BAD_ESCAPE, at, escape_at
        out[i] = value
    return OK, at, escape_at
