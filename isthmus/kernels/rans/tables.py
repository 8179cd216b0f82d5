# SPDX-License-Identifier: Apache-2.0
"""What making a frequency table from integers takes: their counts, the slots each is given, and what each costs."""

import math
from heapq import heapify, heapreplace

import numpy as np

from isthmus.kernels.compiled import kernel

STEPS = 160  # half of them halvings of a float64 interval, which is exhausted before
ONE = 16  # bits behind the point of a cost
U32, U64 = np.uint32, np.uint64


@kernel
def count_between(symbols, lowest, counts):  # type: ignore[no-untyped-def]
    """Adds to counts, int64 [size], how often lowest, lowest + 1, ... occur in symbols, int16 or int32 [n]."""
    size, n = len(counts), len(symbols)
    parts = np.zeros((4, size + 1), np.uint32)  # a run of one symbol would wait for its own counter; last: the others
    for i in range(0, n // 4 * 4, 4):
        four = symbols[i : i + 4]
        for k in range(4):
            place = np.int64(four[k]) - lowest
            parts[k, U64(place if 0 <= place < size else size)] += U32(1)
    for i in range(n // 4 * 4, n):
        place = np.int64(symbols[i]) - lowest
        parts[0, U64(place if 0 <= place < size else size)] += U32(1)
    for k in range(4):
        for s in range(size):
            counts[s] += np.int64(parts[k, s])


@kernel(error_model="numpy")
def _fill(w, price, frequencies):  # type: ignore[no-untyped-def]
    """Gives each weight the slots that save more than `price` nats; how many that are, which may be beyond int64.

    That is the least f >= 1 where w * log1p(1 / f) <= price.
    """
    given = 0.0
    for i in range(len(w)):
        f = max(1.0, np.ceil(1 / math.expm1(price / w[i]))) if w[i] > 0 else 1.0
        frequencies[i] = f
        given += f
    return given


@kernel
def share_slots(w, total, frequencies):  # type: ignore[no-untyped-def]
    """Fills frequencies, float64 [n], with those of `quantize_pmf`; w: float64 [n], at most 1, one of them above 0.

    f slots save about w / f, so the slots given are about inverse to the price: that leads in two or three steps to a
    price at which at most one slot a weight is left, halvings of what is still open do where it does not. Those that
    are left go to where they save most, one by one.
    """
    n = len(w)
    low, high = 0.0, 1.0  # at the price 1 > log(2) every frequency is 1
    price = w.sum() / total
    for step in range(STEPS):
        given = _fill(w, price, frequencies)
        if given > total:
            low = price
        else:
            high = price
            if total - given <= n:
                break
        price *= given / (total - n / 2)
        if step % 2 or not low < price < high:
            price = (low + high) / 2
    left = total - np.int64(_fill(w, high, frequencies))
    heap = [(-w[i] * math.log1p(1 / frequencies[i]), i) for i in range(n)]  # minus what one more slot saves
    heapify(heap)
    for _ in range(left):
        i = heap[0][1]
        frequencies[i] += 1
        heapreplace(heap, (-w[i] * math.log1p(1 / frequencies[i]), i))


@kernel
def fixed_log2(values, found):  # type: ignore[no-untyped-def]
    """Fills found, int64 [n], with log2(v) * 2**ONE rounded down, for v [n], 1 <= v < 2**31, in integers alone."""
    for i in range(len(values)):
        rest = U64(values[i])
        mantissa, exponent, fraction = rest << U64(32), np.int64(-1), np.int64(0)
        while rest:
            exponent += np.int64(1)
            mantissa >>= U64(1)
            rest >>= U64(1)
        for _ in range(ONE):  # squaring doubles the logarithm: its next bit is whether that reaches 2
            mantissa = (mantissa * mantissa) >> U64(31)
            bit = mantissa >> U64(32)
            fraction = fraction * np.int64(2) + np.int64(bit)
            mantissa >>= bit
        found[i] = (exponent << np.int64(ONE)) + fraction


@kernel
def choose_levels(counts, weights, enough, precisions, levels):  # type: ignore[no-untyped-def]
    """Fills levels, int64 [n], with those whose table codes counts [n] in at most `enough` bits; its precision.

    weights: int64, rising, of each level. precisions: rising, those of fewer than n slots are left out; the first that
    is enough is taken, or the best.
    """
    n = len(counts)
    share, frequencies, logs = counts / counts.max(), np.empty(n), np.empty(n, np.int64)
    nearest, slots = np.empty(n, np.int64), np.empty(n, np.int64)
    best, least = 0, np.inf
    for precision in precisions:
        if n >= 1 << precision:
            continue
        share_slots(share, 1 << precision, frequencies)
        for i in range(n):
            wanted = np.int64(frequencies[i]) - 1
            above = np.searchsorted(weights[:-1], wanted)
            below = above - np.int64(above > 0)
            nearest[i] = above - np.int64(wanted - weights[below] < weights[above] - wanted)
        share_by_weights(weights[nearest], precision, slots)
        fixed_log2(slots, logs)
        cost = np.float64((counts * ((precision << ONE) - logs)).sum()) / (1 << ONE)
        if cost < least:
            best, least = precision, cost
            for i in range(n):
                levels[i] = nearest[i]
        if cost <= enough:
            break
    return best


@kernel
def share_by_weights(weights, precision, slots):  # type: ignore[no-untyped-def]
    """Fills slots, int64 [n]: "frequencies from weights" of docs/format-entropy.md."""
    total, left = weights.sum(), (1 << precision) - len(weights)
    for i in range(len(weights)):
        slots[i] = 1 + weights[i] * left // total
    slots[np.argmax(weights)] += (1 << precision) - slots.sum()
