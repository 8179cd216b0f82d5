# SPDX-License-Identifier: Apache-2.0
"""Many small arrays of one shape, each a `rans.1` payload of its own, in one call of a kernel."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.coders.arguments import as_integers, flat_indices, flat_symbols
from isthmus.entropy.coders.rans import BYTES_PER_LANE
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.fixed_log2 import COST_ONE
from isthmus.errors import CorruptStreamError
from isthmus.kernels import threads as pool
from isthmus.kernels.native.read_only import read_only
from isthmus.kernels.rans import batch as rans_batch
from isthmus.kernels.rans import lanes as rans_lanes

LANE_COST = BYTES_PER_LANE * 8 * COST_ONE
GROUP_BYTES = 1 << 24  # room for the payloads of the items that one call encodes
GROUPS_PER_THREAD = 4  # so that threads end together
FAULTS = (
    "",
    "the head does not fit its bytes",
    "the words end early",
    "the escapes end early or are invalid",
    "bytes are left over or the states do not close",
    "a channel names a table or offset that does not exist",
    "a value does not fit 16 bits",
)

Payload = bytes | bytearray | memoryview


def plan_groups(items: int, threads: int, most: int) -> list[range]:
    """Ranges of at most `most` consecutive items each, a few for each thread."""
    groups = 1 if threads == 1 else threads * GROUPS_PER_THREAD
    length = max(1, min(most, -(-items // groups)))
    return [range(first, min(first + length, items)) for first in range(0, items, length)]


def join_payloads(payloads: Sequence[Payload], what: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All bytes in one array, and where each payload begins and the last one ends. Raises TypeError for other types."""
    views = []
    for i, payload in enumerate(payloads):
        if not isinstance(payload, bytes | bytearray | memoryview):
            raise TypeError(f"{what}: item {i} is {type(payload).__name__}, expected bytes")
        views.append(memoryview(payload).cast("B"))
    bounds = np.zeros(len(views) + 1, np.int64)
    np.cumsum([len(view) for view in views], out=bounds[1:])
    return read_only(np.frombuffer(b"".join(views), np.uint8)), bounds


def check_capacity(
    bounds: NDArray[np.int64], least: Sequence[int], what: str, claimed: str = "so many symbols"
) -> None:
    """Raises CorruptStreamError where symbols cost more than payloads can hold: see RansDecoder.

    least: bits times 65536 that the symbols of all items alike, or of each, cost at least. A byte of words or states
    holds 2 * 17 / 2 bits at most. claimed: what an item is said to hold.
    """
    short = np.flatnonzero((bounds[1:] - bounds[:-1]) * (17 * COST_ONE) < np.array(least, object))
    if short.size:
        i = int(short[0])
        raise CorruptStreamError(
            f"{what}: item {i}: {bounds[i + 1] - bounds[i]} bytes cannot hold {claimed}; the header or the "
            "payload is damaged, fetch it again"
        )


def raise_fault(status: NDArray[np.uint8], first: int, what: str) -> None:
    """Raises CorruptStreamError for the first item whose status is not OK; `first` is the number of item 0."""
    bad = np.flatnonzero(status)
    if bad.size:
        fault = FAULTS[status[bad[0]]]
        raise CorruptStreamError(f"{what}: item {first + bad[0]}: {fault}; the stream is damaged, fetch it again")


def collect_payloads(
    items: int, size: int, threads: int, encode: Callable[[range, NDArray[np.uint8], NDArray[np.int64]], None]
) -> list[bytes]:
    """Payloads of items of `size` symbols; encode(group, room, bounds) writes those of a group and where they end."""
    worst = rans_batch.HEAD_BYTES + (2 + rans_lanes.ESCAPE_BYTES) * size

    def work(group: range) -> list[bytes]:
        room, bounds = np.empty(worst * len(group), np.uint8), np.zeros(len(group) + 1, np.int64)
        encode(group, room, bounds)
        ends = bounds.tolist()
        return [room[a:b].tobytes() for a, b in pairwise(ends)]

    groups = plan_groups(items, threads, max(1, GROUP_BYTES // worst))
    return [payload for part in pool.run(work, groups, threads) for payload in part]


def _rows(table_indices: Any, shape: tuple[int, ...], tables: TableFamily) -> tuple[NDArray[np.uint16], int]:
    """Indices [1 or items, 1 or n] for items of `shape` = (items, ...), and their step; no row is repeated."""
    array = as_integers(table_indices, "rans: table indices")
    own = array.ndim == len(shape) and len(array) != 1
    flat, step = flat_indices(array, shape if own or array.ndim == 0 else (1, *shape[1:]), tables)
    return flat.reshape(shape[0] if own else 1, prod(shape[1:]) if step else 1), step


def _least(array: NDArray[Any], n: int, axes: int, tables: TableFamily) -> list[int]:
    """What n symbols of all items alike, or of each, cost at least; broadcast axes are counted, not spelt out."""
    compact = array[tuple(slice(None if stride else 1) for stride in array.strides)]
    costs = tables.least_costs[flat_indices(compact, compact.shape, tables)[0]].astype(np.int64)
    rows = costs.reshape(len(compact) if compact.ndim == axes else 1, -1)
    return [total * (n // rows.shape[1]) for total in rows.sum(axis=1).tolist()]


def encode_batch(symbols: Any, table_indices: Any, tables: TableFamily, *, threads: int = 1) -> list[bytes]:
    """One payload for each item: what `encode` makes of symbols[i] and its table indices.

    symbols: integers [items, ...] that fit int32; table_indices: integers that broadcast to the shape of the symbols,
    so one integer, or one item's indices for all items, will do. threads: on how many the items are coded.

    Raises what `encode` raises.

    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> [payload.hex() for payload in encode_batch([[0, 1], [1, 1]], 0, tables)]
    ['000040180400', '0000fe2f0800']
    """
    shape = np.shape(symbols)
    if not shape:
        raise ValueError("rans.encode_batch: symbols have no axes, expected [items, ...]")
    n = prod(shape[1:])
    flat = flat_symbols(symbols).reshape(shape[0], n)
    indices, step = _rows(table_indices, shape, tables)
    if flat.size == 0:
        return [b""] * shape[0]
    t = tables

    def work(group: range, room: NDArray[np.uint8], bounds: NDArray[np.int64]) -> None:
        part = slice(group.start, group.stop)
        rans_batch.encode_items(
            flat[part], indices[part] if len(indices) == shape[0] else indices, step, t.low, t.size, t.starts, t.costs,
            t.encoder_rows, t.precision, LANE_COST, room, bounds,
        )  # fmt: skip

    return collect_payloads(shape[0], n, threads, work)


def decode_batch(
    payloads: Sequence[Payload],
    table_indices: Any,
    tables: TableFamily,
    shape: tuple[int, ...],
    *,
    threads: int = 1,
) -> NDArray[np.int32]:
    """The inverse of `encode_batch`: int32 [len(payloads), *shape].

    table_indices: integers that broadcast to that shape. Raises ValueError for an index without a table, TypeError for
    other dtypes, CorruptStreamError that names the first item that is not whole, or too short for so many symbols,
    before memory is taken for them.

    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> decode_batch(encode_batch([[0, 1], [1, 1]], 0, tables), 0, tables, (2,)).tolist()
    [[0, 1], [1, 1]]
    """
    n, items = prod(shape), len(payloads)
    if any(side < 0 for side in shape):
        raise ValueError(f"rans.decode_batch: shape {shape}, expected sides of at least 0")
    data, bounds = join_payloads(payloads, "rans.decode_batch")
    if n == 0 and bounds[-1]:
        raise CorruptStreamError("rans.decode_batch: a payload without symbols must be empty; fetch it again")
    if n * items == 0:
        return np.empty((items, *shape), np.int32)
    t = tables
    array = as_integers(table_indices, "rans: table indices")
    check_capacity(bounds, _least(array, n, len(shape) + 1, t), "rans.decode_batch")
    indices, step = _rows(array, (items, *shape), t)
    out = np.empty((items, n), np.int32)

    def work(group: range) -> None:
        part = slice(group.start, group.stop)
        status = np.zeros(len(group), np.uint8)
        rans_batch.decode_items(
            data, bounds[group.start : group.stop + 1], indices[part] if len(indices) == items else indices, step,
            t.lookups, out[part], status,
        )  # fmt: skip
        raise_fault(status, group.start, "rans.decode_batch")

    pool.run(work, plan_groups(items, threads, items), threads)
    return out.reshape(items, *shape)
