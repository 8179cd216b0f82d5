# SPDX-License-Identifier: Apache-2.0
"""rANS payloads: integers and table indices to bytes and back (payload `rans.1` of docs/format-entropy.md)."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.coders.arguments import flat_indices, flat_symbols
from isthmus.entropy.coders.rans_decoder import LANES, RansDecoder
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.fixed_log2 import COST_ONE
from isthmus.kernels import tier
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.kernels.rans import plain
from isthmus.kernels.rans import segments as kernels
from isthmus.kernels.rans.reference import LOWER
from isthmus.varint import pack_varint

BYTES_PER_LANE = 512  # a lane's state costs about 3 bytes more than it carries: 0.6 %

Segment: TypeAlias = tuple[Any, Any]
Pieces: TypeAlias = tuple[bytes | memoryview, ...]
Part: TypeAlias = tuple[NDArray[Any], NDArray[np.uint16], int]  # symbols; table indices and their step


def encode_segments(segments: Iterable[Segment], tables: TableFamily, *, lanes: int | None = None) -> bytes:
    """One payload for several (symbols, table indices) pairs, in order; each as `encode` takes them.

    A single table index makes a run of one table. Errors are those of `encode`; no symbols give an empty payload.
    """
    parts = [as_part(symbols, indices, tables) for symbols, indices in segments]
    parts = [part for part in parts if len(part[0])]
    if parts and lanes is not None and lanes not in LANES:
        raise ValueError(f"rans.encode: {lanes} lanes, expected 1, 2, 4, 8, 16 or 32")
    return b"".join(encode_parts(parts, tables, lanes))


def encode_parts(parts: Sequence[Part], tables: TableFamily, lanes: int | None) -> Pieces:
    """`encode_segments` of segments that `as_part` checked and that are not empty.

    Its bytes in pieces that are not joined yet: who joins many payloads copies them once.
    """
    if not parts:
        return ()
    lanes = _lanes(parts, tables) if lanes is None else lanes
    t = tables
    family = (t.low, t.size, t.starts)
    states = np.full(lanes, LOWER, np.uint32)
    at = first = sum(len(symbols) for symbols, _, _ in parts)
    used = at * rans_lanes.ESCAPE_BYTES
    words, varints = np.empty(at, np.uint16), np.empty(used, np.uint8)  # what is not written to takes no memory
    encode_segment = tier.pick(kernels.encode_segment, plain.encode_segment, at * plain.SYMBOL)
    for symbols, index, step in reversed(parts):
        first -= len(symbols)
        at, used = encode_segment(
            symbols, index, step, first, family, t.encoder_rows, t.precision, t.no_entries, states, words, at,
            varints, used,
        )  # fmt: skip
    head = bytes([lanes.bit_length() - 1]) + pack_varint(len(varints) - used)
    # Copies, without Python's lock, leave nothing of the room for the worst case.
    return head, states.astype("<u4").data, words[at:].astype("<u2").data, varints[used:].copy().data


def as_part(symbols: Any, indices: Any, tables: TableFamily) -> Part:
    """A segment as the kernels take it."""
    flat = flat_symbols(symbols)
    if flat.size == 0:
        return flat, np.empty(0, np.uint16), 0
    return flat, *flat_indices(indices, np.shape(symbols), tables)


def _lanes(parts: Sequence[Part], tables: TableFamily) -> int:
    """`lanes_for` the symbols' cost, escape bytes not counted."""
    t = tables
    enough = LANES[-1] * BYTES_PER_LANE * 8 * COST_ONE
    cost = 0
    symbols_in_all = sum(len(symbols) for symbols, _, _ in parts)
    measure = tier.pick(kernels.measure_segment, plain.measure_segment, symbols_in_all * plain.LOOKUP)
    for symbols, index, step in parts:
        cost += measure(symbols, index, step, (t.low, t.size, t.starts), t.costs, enough - cost)
        if cost >= enough:
            break
    return lanes_for(cost)


def lanes_for(cost: int) -> int:
    """The power of two up to 32 that leaves each lane at least BYTES_PER_LANE of a cost in 1/65536 bits."""
    return min(LANES[-1], 1 << max(0, (cost // (BYTES_PER_LANE * 8 * COST_ONE)).bit_length() - 1))


def encode(symbols: Any, table_indices: Any, tables: TableFamily, *, lanes: int | None = None) -> bytes:
    """Codes integers of any shape (in C order), each with the table that its index names.

    symbols: integers that fit int32, numpy or torch; table_indices: integers that broadcast to the same shape, or one
    integer. lanes: 1, 2, 4, 8, 16 or 32 interleaved states; chosen by the size of the result when None.

    Raises TypeError for other dtypes, ValueError for symbols beyond int32 or indices without a table.

    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> encode([0, 1, -1, 0, 500], 0, tables).hex(" ")
    '00 02 28 18 02 00 21 90 e4 07'
    """
    return encode_segments([(symbols, table_indices)], tables, lanes=lanes)


def decode(
    data: bytes | memoryview, table_indices: Any, tables: TableFamily, count: int | None = None
) -> NDArray[np.int32]:
    """The inverse of `encode`: int32 in the shape of `table_indices`, or `count` symbols of one table.

    Raises what `RansDecoder` raises.

    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> decode(encode([[0, 1], [-1, 500]], 0, tables), [[0, 0], [0, 0]], tables).tolist()
    [[0, 1], [-1, 500]]
    """
    decoder = RansDecoder(data, tables)
    symbols = decoder.decode(table_indices, count)
    decoder.finish()
    return symbols
