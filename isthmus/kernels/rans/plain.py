# SPDX-License-Identifier: Apache-2.0
"""The kernels of `lanes` and `segments` in numpy and Python, for `tier`: the same states, words and escapes.

What does not depend on the state is worked out by numpy for all symbols, what does in loops over lists as `reference`
has them.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus.kernels.rans.lanes import IS_ESCAPE, WORD_PADDING
from isthmus.kernels.rans.reference import LOWER
from isthmus.kernels.rans.tables import ONE

SYMBOL = 8e-7  # seconds that a symbol takes, encoded or decoded
LOGARITHM = 5e-8  # and a logarithm
LOOKUP = 2e-8  # and one whose cost alone is asked for

Family: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]  # lows, sizes and starts
Values: TypeAlias = NDArray[np.int16] | NDArray[np.int32]
UInt16: TypeAlias = NDArray[np.uint16]
UInt32: TypeAlias = NDArray[np.uint32]
Int64: TypeAlias = NDArray[np.int64]


def find_entries(symbols: Values, indices: UInt16, family: Family) -> tuple[Int64, Int64, Int64]:
    """The entry of each symbol, which of them are escapes, and what the varints of these say."""
    low, size, starts = (part[indices].astype(np.int64) for part in family)
    place = symbols - low
    escaped = (place < 0) | (place >= size)
    rest = np.where(place < 0, -2 * place - 1, 2 * (place - size))[escaped]
    return starts + np.where(escaped, size, place), np.flatnonzero(escaped), rest


def write_varints(values: list[int]) -> bytes:
    """All of them, one after another."""
    out = bytearray()
    for value in values:
        while value >= 128:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out)


def encode(entries: Int64, first: int, rows: UInt32, precision: int, states: UInt32, words: UInt16, at: int) -> int:
    """As `lanes.encode`."""
    frequency, cumulative = (rows[4 * entries + k].astype(np.int64) for k in range(2))
    full = (frequency << (31 - precision)).tolist()
    gap = ((1 << precision) - frequency).tolist()  # x // f << p, plus x % f, is x + x // f * (2**p - f)
    f, c = frequency.tolist(), cumulative.tolist()
    lanes, found, mask = states.tolist(), [], len(states) - 1
    for i in range(len(f) - 1, -1, -1):
        lane = (first + i) & mask
        x = lanes[lane]
        if x >= full[i]:
            found.append(x & 0xFFFF)
            x >>= 16
        lanes[lane] = x + c[i] + x // f[i] * gap[i]
    states[:] = lanes
    words[at - len(found) : at] = found[::-1]
    return at - len(found)


def measure_segment(
    symbols: Values, indices: UInt16, step: int, family: Family, costs: NDArray[np.int32], enough: int
) -> int:
    """As `segments.measure_segment`, but that all costs are added up."""
    return int(costs[find_entries(symbols, indices, family)[0]].sum(dtype=np.int64))


def total_cost(indices: UInt16, costs: NDArray[np.int32]) -> int:
    """As `segments.total_cost`."""
    return int(costs[indices].sum(dtype=np.int64))


def encode_segment(
    symbols: Values, indices: UInt16, step: int, first: int, family: Family, rows: UInt32, precision: int,
    kind: NDArray[Any], states: UInt32, words: UInt16, at: int, varints: NDArray[np.uint8], used: int,
) -> tuple[int, int]:  # fmt: skip
    """As `segments.encode_segment`."""
    entries, _, rest = find_entries(symbols, indices, family)
    escapes = write_varints(rest.tolist())
    varints[used - len(escapes) : used] = np.frombuffer(escapes, np.uint8)
    return encode(entries, first, rows, precision, states, words, at), used - len(escapes)


def read_escape(end: int, size: int, escapes: memoryview, at: int) -> tuple[int, int]:
    """As `lanes.read_escape`."""
    rest, bits, byte = 0, 0, 128
    while byte >= 128:
        if at >= len(escapes) or bits > 28:
            return 0, -1
        byte = escapes[at]
        at += 1
        rest |= (byte & 127) << bits
        bits += 7
    value = end - size - 1 - (rest >> 1) if rest & 1 else end + (rest >> 1)
    if (byte == 0 and bits > 7) or not -(1 << 31) <= value < 1 << 31:
        return 0, -1
    return value, at


def decode(
    indices: UInt16, step: int, first: int, lookups: Any, states: UInt32, words: UInt16, escapes: NDArray[np.uint8],
    at: int, escape_at: int, out: NDArray[np.int32],
) -> tuple[int, int]:  # fmt: skip
    """As `lanes.decode`."""
    precision, _, size, starts, slots, entries = lookups
    tables = np.broadcast_to(indices, len(out))
    begins, places = (tables.astype(np.int64) << precision).tolist(), starts[tables].tolist()
    slot_of, row_of, word_of = slots.data, entries.data, words.data  # quicker to index than arrays
    lanes, rows, mask, slot_mask = states.tolist(), [], len(states) - 1, (1 << precision) - 1
    last = len(words) - WORD_PADDING
    for i, (begin, start) in enumerate(zip(begins, places, strict=True), first):
        lane = i & mask
        x = lanes[lane]
        slot = x & slot_mask
        row = row_of[start + slot_of[begin + slot]]
        rows.append(row)
        x = (row & 0x7FFF) * (x >> precision) + slot - (row >> 16 & 0xFFFF)
        if x < LOWER:
            if at >= last:
                rows.pop()  # escapes before it are looked at yet
                at = -1
                break
            x = x << 16 | word_of[at]
            at += 1
        lanes[lane] = x
    states[:] = lanes
    found = np.array(rows, np.uint64)
    out[: len(rows)] = (found >> np.uint64(32)).astype(np.uint32).view(np.int32)
    for i in np.flatnonzero(found & IS_ESCAPE).tolist():
        out[i], escape_at = read_escape(int(out[i]), int(size[tables[i]]), escapes.data, escape_at)
        if escape_at < 0:
            return last, -1
    return at, escape_at


def fixed_log2(values: NDArray[np.int32], found: Int64) -> None:
    """As `tables.fixed_log2`."""
    exponent = np.frexp(values)[1] - 1
    mantissa = values.astype(np.uint64) << np.uint64(32) >> (exponent + 1).astype(np.uint64)
    found[:] = exponent
    for _ in range(ONE):
        mantissa = mantissa * mantissa >> np.uint64(31)
        bit = mantissa >> np.uint64(32)
        found *= 2
        found += bit.astype(np.int64)
        mantissa >>= bit
