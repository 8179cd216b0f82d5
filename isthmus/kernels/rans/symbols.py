# SPDX-License-Identifier: Apache-2.0
"""From symbols and table indices to the entries that rANS encodes, what these cost, and the bytes of escapes.

Table indices as in `lanes`: an array with a step of 1, or one index with a step of 0.
"""

import numpy as np

from isthmus.kernels.compiled import kernel

U32, U64 = np.uint32, np.uint64


@kernel
def find_entries(symbols, indices, step, low, size, starts, entries, escaped):  # type: ignore[no-untyped-def]
    """Writes the entry of each of the symbols [n]; returns whether any is an escape, and only then writes which."""
    # Modulo 2**32 a symbol below its alphabet lies far beyond it, since |low| <= 2**24 and size < 2**15.
    if step == 0:
        base, n, start = U32(low[indices[0]]), U32(size[indices[0]]), U32(starts[indices[0]])
        most = U32(0)
        for i in range(len(symbols)):
            entry = U32(U32(symbols[i]) - base)
            most = max(most, entry)
            entries[i] = start + min(entry, n)
        if most >= n:
            for i in range(len(symbols)):
                escaped[i] = U32(U32(symbols[i]) - base) >= n
        return most >= n
    found = U32(0)
    for i in range(len(symbols)):
        t = U64(indices[i])
        n = U32(size[t])
        entry = U32(U32(symbols[i]) - U32(low[t]))
        found |= U32(entry >= n)
        entries[i] = U32(starts[t]) + min(entry, n)
    if found:
        for i in range(len(symbols)):
            t = U64(indices[i])
            escaped[i] = U32(U32(symbols[i]) - U32(low[t])) >= U32(size[t])
    return found != 0


@kernel
def measure(entries, costs, enough):  # type: ignore[no-untyped-def]
    """Sum of the costs of the entries [n], or of the first of them that reach `enough`."""
    cost = np.int64(0)
    for i in range(len(entries)):
        cost += costs[U64(entries[i])]
        if cost >= enough:
            break
    return cost


@kernel
def write_escapes(symbols, places, indices, step, low, size, out):  # type: ignore[no-untyped-def]
    """Writes the varints of the escapes symbols[places] to `out`, ESCAPE_BYTES each at most; returns how many bytes."""
    position = 0
    for i in places:
        t = U64(indices[i * step])
        entry = np.int64(symbols[i]) - low[t]
        n = np.int64(size[t])
        rest = 2 * (entry - n) if entry >= n else 2 * (-1 - entry) + 1
        while rest >= 128:
            out[position] = rest & 127 | 128
            rest >>= 7
            position += 1
        out[position] = rest
        position += 1
    return position
