# SPDX-License-Identifier: Apache-2.0
"""In which order an epoch goes through a data set, and who reads what: numbers alone, nothing is read for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def share(count: int, reader: int, readers: int) -> tuple[int, int]:
    """First and last place (exclusive) of what one of several readers reads: all as much, but for one."""
    return count * reader // readers, count * (reader + 1) // readers


def epoch_order(
    starts: NDArray[np.int64], reader: int, readers: int, seed: int, epoch: int, buffer: int | None
) -> NDArray[np.int64]:
    """Indices of one reader for one epoch: those of all readers are every index once.

    starts: first index of each shard, and the count at the end. buffer: None leaves all in their order; else shards
    are shuffled, readers take equal parts of their row, and each index is put off by up to twice `buffer` places at
    random: so many wait at a time, on average, as in a buffer from which one is drawn.
    """
    counts = np.diff(starts)
    shards = np.arange(len(counts))
    if buffer is not None:
        shards = np.random.default_rng((seed, epoch)).permutation(len(counts))
    ends = np.cumsum(counts[shards])
    first, last = share(int(starts[-1]), reader, readers)
    parts = []
    for place in range(int(np.searchsorted(ends, first, "right")), len(shards)):
        shard = shards[place]
        begin = int(ends[place] - counts[shard])  # of this shard, in the row of all
        if begin >= last:
            break
        low, high = max(first, begin) - begin, min(last, int(ends[place])) - begin
        parts.append(np.arange(starts[shard] + low, starts[shard] + high))
    order = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if buffer is not None and buffer > 1:
        delays = np.random.default_rng((seed, epoch, reader)).random(len(order)) * 2 * buffer
        order = order[np.argsort(np.arange(len(order)) + delays, kind="stable")]
    return order.astype(np.int64)


def taken(shares: Sequence[int], batch_size: int, batches: int, drop_last: bool) -> list[int]:
    """Samples that each worker has delivered after so many batches of torch's DataLoader, which asks them in turn.

    shares: samples that each worker reads in the epoch. Raises ValueError for more batches than there are.
    """
    left = [count // batch_size if drop_last else -(-count // batch_size) for count in shares]
    if not 0 <= batches <= sum(left):
        raise ValueError(f"{batches} batches, an epoch has {sum(left)}")
    given = [0] * len(shares)
    while batches:
        turn = [worker for worker, count in enumerate(left) if count][:batches]
        whole = max(1, min(min(left[worker] for worker in turn), batches // len(turn)))
        for worker in turn:
            given[worker] += whole
            left[worker] -= whole
        batches -= whole * len(turn)
    return [min(count, n * batch_size) for count, n in zip(shares, given, strict=True)]
