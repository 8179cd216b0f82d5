# SPDX-License-Identifier: Apache-2.0
"""rANS payloads: integers and table indices to bytes and back (payload `rans.1` of docs/format.md)."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.tables import COST_ONE, TableFamily
from isthmus.errors import CorruptStreamError
from isthmus.kernels import numba_rans
from isthmus.kernels.reference_rans import LOWER
from isthmus.varint import pack_varint, unpack_varint

MAX_LANES_LOG2 = 5
BYTES_PER_LANE = 512  # a lane's state costs about 2 bytes more than it carries: 0.4 %

Segment: TypeAlias = tuple[Any, Any]


def _integers(values: Any, what: str) -> NDArray[Any]:
    """Integer array of a numpy array, a torch tensor on the CPU or a sequence."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{what}: got dtype {array.dtype}, expected integers")
    return array


def _symbols(values: Any) -> NDArray[Any]:
    """Flat contiguous int16 or int32 symbols, the two widths that the kernels are compiled for."""
    array = _integers(values, "rans.encode: symbols")
    if array.dtype not in (np.int16, np.int32):
        if array.size and (int(array.min()) < -(2**31) or int(array.max()) >= 2**31):
            raise ValueError("rans.encode: symbols do not fit 32-bit signed integers")
        array = array.astype(np.int32)
    return np.ascontiguousarray(array).reshape(-1)


def _indices(values: Any, shape: tuple[int, ...], tables: TableFamily) -> tuple[NDArray[np.uint16], int]:
    """Table indices as the kernels take them: one index with step 0, or one a symbol with step 1."""
    array = _integers(values, "rans: table indices")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= len(tables)):
        raise ValueError(f"rans: table indices {array.min()}..{array.max()}, but the family has {len(tables)} tables")
    if array.ndim == 0:
        return array.astype(np.uint16).reshape(1), 0
    return np.ascontiguousarray(np.broadcast_to(array, shape), dtype=np.uint16).reshape(-1), 1


def encode_segments(segments: Iterable[Segment], tables: TableFamily, *, lanes: int | None = None) -> bytes:
    """One payload for several (symbols, table indices) pairs, in order; each as `encode` takes them.

    A segment with a single table index is a run of one table and needs no array of indices.
    """
    parts = []
    for symbols, indices in segments:
        flat = _symbols(symbols)
        if flat.size:
            parts.append((flat, *_indices(indices, np.shape(symbols), tables)))
    total = sum(len(flat) for flat, _, _ in parts)
    if total == 0:
        return b""
    t = tables
    cost = escape_bytes = 0
    for flat, index, step in parts:
        c, e = numba_rans.measure(flat, index, step, t.low, t.size, t.starts, t.costs)
        cost, escape_bytes = cost + c, escape_bytes + e
    if lanes is None:
        estimate = cost // (8 * COST_ONE) // BYTES_PER_LANE
        lanes = 1 << min(MAX_LANES_LOG2, max(0, int(estimate).bit_length() - 1))
    if lanes not in [1 << k for k in range(MAX_LANES_LOG2 + 1)]:
        raise ValueError(f"rans.encode: {lanes} lanes, expected 1, 2, 4, 8, 16 or 32")

    escapes = np.empty(escape_bytes, np.uint8)
    position = 0
    for flat, index, step in parts if escape_bytes else ():
        position = numba_rans.write_escapes(flat, index, step, t.low, t.size, escapes, position)

    states = np.full(lanes, LOWER, np.uint32)
    words = np.empty(total + 1, np.uint16)  # at most one word a symbol; one more for the store that is not kept
    at, first = len(words), total
    for flat, index, step in reversed(parts):
        first -= len(flat)
        at = numba_rans.encode(
            flat,
            index,
            step,
            first,
            t.low,
            t.size,
            t.starts,
            t.frequencies,
            t.cumulative,
            t.precision,
            states,
            words,
            at,
        )
    head = bytes([lanes.bit_length() - 1]) + pack_varint(escape_bytes)
    return b"".join((head, states.astype("<u4").tobytes(), words[at:].astype("<u2").tobytes(), escapes.tobytes()))


def encode(symbols: Any, table_indices: Any, tables: TableFamily, *, lanes: int | None = None) -> bytes:
    """Codes integers of any shape (in C order), each with the table that its index names.

    symbols: integers that fit int32, numpy or torch; table_indices: integers that broadcast to the same shape, or one
    integer. lanes: 1, 2, 4, 8, 16 or 32 interleaved states; chosen by the size of the result when None.

    Raises TypeError for other dtypes, ValueError for symbols beyond int32 or indices without a table.

    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> encode([0, 1, -1, 0, 500], 0, tables).hex(" ")
    '00 02 00 7f 84 01 00 20 e4 07'
    """
    return encode_segments([(symbols, table_indices)], tables, lanes=lanes)


class RansDecoder:
    """Decodes one payload call by call; the lane states are kept in between (for models with many passes).

    Raises CorruptStreamError for a payload that is not whole, and before any memory is taken for more symbols than the
    payload can hold.
    """

    def __init__(self, data: bytes | memoryview, tables: TableFamily) -> None:
        self.tables = tables
        self._first = self._at = self._escape_at = 0
        self._states = np.empty(0, np.uint32)
        self._words = np.empty(0, np.uint16)
        self._escapes = np.empty(0, np.uint8)
        view = memoryview(data)
        if len(view):
            self._read(view)
        # One symbol of table t takes at least least_costs[t] / 65536 bits out of the states and words, but for the
        # rounding of x' = f (x >> p) + ..., which at worst halves it: x >> p is at least 1.
        self._capacity = 2 * 16 * COST_ONE * (len(self._words) + len(self._states))

    def _read(self, view: memoryview) -> None:
        if view[0] > MAX_LANES_LOG2:
            raise CorruptStreamError(f"rANS payload: lane code {view[0]}, expected 0..{MAX_LANES_LOG2}; fetch it again")
        lanes = 1 << view[0]
        escape_bytes, begin = unpack_varint(view, 1)
        middle = begin + 4 * lanes
        end = len(view) - escape_bytes
        if end < middle or (end - middle) % 2:
            raise CorruptStreamError(
                f"rANS payload: {len(view)} bytes cannot hold {lanes} states and {escape_bytes} bytes of escapes; "
                "the stream is damaged, fetch it again"
            )
        self._states = np.frombuffer(view[begin:middle], "<u4").astype(np.uint32)
        if (self._states < LOWER).any() or (self._states >= LOWER << 16).any():
            raise CorruptStreamError("rANS payload: a lane state is outside [2^15, 2^31); fetch it again")
        self._words = np.frombuffer(view[middle:end], "<u2").astype(np.uint16, copy=False)
        self._escapes = np.frombuffer(view[end:], np.uint8)

    @property
    def lanes(self) -> int:
        """Number of interleaved states of the payload; 0 when it is empty."""
        return len(self._states)

    def decode(self, table_indices: Any, count: int | None = None) -> NDArray[np.int32]:
        """The next symbols: int32 in the shape of `table_indices`, or `count` of them with one table for all.

        Raises ValueError for an index without a table, CorruptStreamError when the payload does not hold so many.
        """
        array = _integers(table_indices, "rans.decode: table indices")
        shape = array.shape if count is None else (count,)
        if count is not None and array.ndim:
            raise ValueError("rans.decode: `count` goes with a single table index")
        index, step = _indices(table_indices, shape, self.tables)
        length = int(np.prod(shape, dtype=np.int64))
        if length == 0:
            return np.empty(shape, np.int32)
        least = self.tables.least_costs
        self._capacity -= int(least[index[0]]) * length if step == 0 else int(least[index].sum(dtype=np.int64))
        if self._capacity < 0:
            raise CorruptStreamError(
                f"rANS payload: {length} more symbols were announced than {2 * len(self._words)} bytes of words can "
                "hold; the header or the payload is damaged, fetch it again"
            )
        out = np.empty(length, np.int32)
        t = self.tables
        status, self._at, self._escape_at = numba_rans.decode(
            index, step, self._first, t.low, t.size, t.slots, t.precision,
            self._states, self._words, self._at, self._escapes, self._escape_at, out,
        )  # fmt: skip
        self._first += length
        if status != numba_rans.OK:
            part = "words" if status == numba_rans.OUT_OF_WORDS else "escapes"
            raise CorruptStreamError(f"rANS payload: the {part} end early or are invalid; fetch the stream again")
        return out.reshape(shape)

    def finish(self) -> None:
        """Checks that everything was used and every lane is back at its start; CorruptStreamError otherwise."""
        whole = self._at == len(self._words) and self._escape_at == len(self._escapes)
        if not whole or (self._states != LOWER).any():
            raise CorruptStreamError(
                "rANS payload: bytes are left over or the states do not close; the stream is damaged or its tables "
                "are not the ones it was made with"
            )


def decode(data: bytes | memoryview, table_indices: Any, tables: TableFamily) -> NDArray[np.int32]:
    """The inverse of `encode`: int32 in the shape of `table_indices`.

    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> decode(encode([0, 1, -1, 0, 500], 0, tables), np.zeros(5, int), tables).tolist()
    [0, 1, -1, 0, 500]
    """
    decoder = RansDecoder(data, tables)
    symbols = decoder.decode(table_indices)
    decoder.finish()
    return symbols
