# SPDX-License-Identifier: Apache-2.0
"""Large arrays as independent chunks that threads code at the same time (payload `chunks.1` of format-entropy.md)."""

from itertools import chain
from math import prod
from operator import index as to_int
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.coders import rans, rans_decoder
from isthmus.entropy.coders.arguments import as_integers
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.fixed_log2 import COST_ONE
from isthmus.errors import CorruptStreamError
from isthmus.kernels import threads as pool
from isthmus.varint import pack_varint, unpack_varint

SYMBOLS = 1 << 18  # a chunk: 32 states cost it less than 0.1 % at 4 bits a symbol
MAX_CHUNKS = 1 << 12


def encode(
    symbols: Any, table_indices: Any, tables: TableFamily, *, chunks: int | None = None, threads: int = 1
) -> bytes:
    """Codes integers of any shape (in C order), each with the table that its index names; as `rans.encode`, on threads.

    symbols: integers that fit int32; table_indices: integers that broadcast to their shape, or one integer. chunks: 1
    to 4096 and at most one a symbol; chosen by the number of symbols when None. The bytes do not depend on `threads`.

    Raises what `rans.encode` raises, and ValueError for a number of chunks or threads out of range.

    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> encode([0, 1, -1, 0], 0, tables, chunks=2).hex(" ")
    '02 06 06 00 00 40 18 04 00 00 00 10 10 04 00'
    """
    values = as_integers(symbols, "chunks.encode: symbols")
    n = values.size
    if n == 0:
        return rans.encode(values, table_indices, tables)
    count = min(MAX_CHUNKS, -(-n // SYMBOLS)) if chunks is None else to_int(chunks)
    if not 1 <= count <= min(n, MAX_CHUNKS):
        raise ValueError(f"chunks.encode: {count} chunks of {n} symbols, expected 1..{min(n, MAX_CHUNKS)}")
    flat, indices, step = rans.as_part(values, table_indices, tables)

    def work(part: slice) -> rans.Pieces:
        return rans.encode_parts([(flat[part], indices[part] if step else indices, step)], tables, None)

    payloads = pool.run(work, _parts(n, count), threads)
    lengths = (sum(memoryview(piece).nbytes for piece in pieces) for pieces in payloads)
    return b"".join((pack_varint(count), *map(pack_varint, lengths), *chain.from_iterable(payloads)))


def decode(
    data: bytes | memoryview, table_indices: Any, tables: TableFamily, count: int | None = None, *, threads: int = 1
) -> NDArray[np.int32]:
    """The inverse of `encode`: int32 in the shape of `table_indices`, or `count` symbols of one table.

    Raises what `rans.decode` raises, CorruptStreamError also where the lengths of the chunks do not fit the bytes.

    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> decode(encode([0, 1, -1, 0], 0, tables, chunks=2), 0, tables, 4).tolist()
    [0, 1, -1, 0]
    """
    array = as_integers(table_indices, "chunks.decode: table indices")
    if count is not None and (array.ndim or to_int(count) < 0):
        raise ValueError("chunks.decode: `count` is at least 0 and goes with a single table index")
    shape = array.shape if count is None else (to_int(count),)
    n = prod(shape)
    view = memoryview(data).cast("B")
    if n == 0:
        if len(view):
            raise CorruptStreamError("chunks: a payload without symbols must be empty; fetch it again")
        return np.empty(shape, np.int32)
    payloads = _split(view, n)
    # Indices that the caller holds one by one already take about as much memory as their symbols will.
    if array.size < n or 0 in array.strides:
        least = tables.least_cost * n
        if least > 2 * rans_decoder.BITS_PER_WORD * COST_ONE * (len(view) // 2):
            raise CorruptStreamError(
                f"chunks: {len(view)} bytes cannot hold {n} symbols; the header or the payload is damaged, fetch "
                "it again"
            )
    indices = _flat(array, shape)
    out = np.empty(n, np.int32)

    def work(item: tuple[slice, memoryview]) -> None:
        part, payload = item
        decoder = rans_decoder.RansDecoder(payload, tables)
        if indices.ndim:
            decoder.decode(indices[part], out=out[part])
        else:
            decoder.decode(indices, part.stop - part.start, out=out[part])
        decoder.finish()

    pool.run(work, list(zip(_parts(n, len(payloads)), payloads, strict=True)), threads)
    return out.reshape(shape)


def _flat(indices: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """One index, or one for each of the symbols."""
    return indices if indices.ndim == 0 else np.broadcast_to(indices, shape).reshape(-1)


def _parts(n: int, count: int) -> list[slice]:
    """The symbols of each chunk."""
    return [slice(j * n // count, (j + 1) * n // count) for j in range(count)]


def _split(view: memoryview, n: int) -> list[memoryview]:
    """The payloads of the chunks of n symbols."""
    count, at = unpack_varint(view)
    if not 1 <= count <= min(n, MAX_CHUNKS):
        raise CorruptStreamError(f"chunks: {count} chunks of {n} symbols, expected 1..{min(n, MAX_CHUNKS)}")
    lengths = []
    for _ in range(count):
        length, at = unpack_varint(view, at)
        lengths.append(length)
    if sum(lengths) != len(view) - at or not all(lengths):
        raise CorruptStreamError(
            f"chunks: {count} lengths of {sum(lengths)} bytes in all, but {len(view) - at} bytes follow, or one is 0; "
            "the stream is damaged, fetch it again"
        )
    payloads = []
    for length in lengths:
        payloads.append(view[at : at + length])
        at += length
    return payloads
