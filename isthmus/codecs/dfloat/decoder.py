# SPDX-License-Identifier: Apache-2.0
"""A payload's weights, any part of them, checked chunk by chunk before they are decoded."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat.payload import CHUNK, HUFFMAN, RANS, RAW, WIDE, Payload, Plane
from isthmus.codecs.dfloat.scratch import scratch
from isthmus.entropy.coders import histogram
from isthmus.errors import CorruptStreamError
from isthmus.kernels import checksums
from isthmus.kernels.huffman import decode as kernels
from isthmus.kernels.huffman import tables as huffman_tables
from isthmus.kernels.weights import planes as weight_planes
from isthmus.kernels.weights import planes16

RUN = CHUNK[RANS]  # weights that a thread takes at a time
NEIGHBOURS = 8  # runs: where two threads first touch the same 2 MB, the system clears them for each
CHUNKS = RUN // CHUNK[HUFFMAN]
KEPT = 4  # lookup tables of 73 KB, by each thread: as quickly made anew as fetched from memory

Lookups = tuple[NDArray[np.uint16], NDArray[np.uint64]]

_numbers = count()  # of decoders
_local = threading.local()


class Decoder:
    """Decodes runs of 2**18 weights of a payload, in any order and on any thread."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._key = next(_numbers)
        self._is_usual = [plane.coding for plane in payload.planes] == [HUFFMAN, RAW]
        self._is_wide = payload.planes[0].coding == WIDE
        self.runs = -(-payload.count // RUN)
        self._numbers = [p.records["table"].tolist() if p.coding == HUFFMAN else [] for p in payload.planes]
        self._checks = [np.stack((p.records["a"], p.records["b"]), axis=1) for p in payload.planes]
        self._sizes = [
            np.ascontiguousarray(p.records["streams"], np.int64) if p.coding == HUFFMAN else None
            for p in payload.planes
        ]

    def decode(self, run: int, out: NDArray[Any]) -> None:
        """Writes the weights of a run to `out`, uint8, uint16 or uint32 [n]. Raises CorruptStreamError."""
        width = self._payload.width
        if width == 1:
            self.plane(0, run, out)
        elif self._is_usual:
            self._usual(run, out)
        else:
            parts = [self._plane(k, run, len(out)) for k in range(width) if k > 1 or not self._is_wide]
            if self._is_wide:
                parts = [scratch("plane0", RUN)[: len(out)], scratch("plane1", RUN)[: len(out)], *parts]
                self._wide(run, parts[0], parts[1])
            merge: Any = weight_planes.merge2 if width == 2 else weight_planes.merge4
            merge(*parts, out)

    def _plane(self, number: int, run: int, count: int) -> Bytes:
        """The bytes of a plane: a view of the payload, or this thread's memory."""
        plane = self._payload.planes[number]
        if plane.coding == RAW:
            return self._raw(number, plane, run)
        out = scratch(f"plane{number}", RUN)[:count]
        self.plane(number, run, out)
        return out

    def plane(self, number: int, run: int, out: Bytes) -> None:
        """Writes the bytes of a plane of a run to `out`, uint8 [n]. Raises CorruptStreamError."""
        plane = self._payload.planes[number]
        if plane.coding == RAW:
            out[:] = self._raw(number, plane, run)
        elif plane.coding == HUFFMAN:
            self._huffman(number, plane, run, out)
        elif plane.coding == WIDE:
            other = np.empty_like(out)
            self._wide(run, *((out, other) if number == 0 else (other, out)))
        else:
            symbols = self._rans(number, plane, run, len(out))
            if symbols.min() < 0 or symbols.max() > 255:
                raise damaged(number, run)
            out[:] = symbols

    def _rans(self, number: int, plane: Plane, run: int, count: int) -> NDArray[np.int32]:
        self._check(number, plane, range(run, run + 1))
        begin, end = plane.places[run : run + 2]
        return histogram.decode(self._payload.data[begin:end].data, count)

    def _wide(self, run: int, plane0: Bytes, plane1: Bytes) -> None:
        """Planes 0 and 1 of a run that are coded together."""
        high, low = self._payload.planes[:2]
        symbols = self._rans(0, high, run, len(plane0))
        self._check(1, low, range(run, run + 1))
        packed = self._payload.data[low.places[run] : low.places[run + 1]]
        if not weight_planes.narrow(symbols, packed, plane0, plane1):
            raise damaged(1, run)

    def _raw(self, number: int, plane: Plane, run: int) -> Bytes:
        chunks = range(run * CHUNKS, min((run + 1) * CHUNKS, len(plane.records)))
        self._check(number, plane, chunks)
        return self._payload.data[plane.places[chunks.start] : plane.places[chunks.stop]]

    def _check(self, number: int, plane: Plane, chunks: range) -> None:
        places = plane.places[chunks.start : chunks.stop + 1]
        told = self._checks[number][chunks.start : chunks.stop]
        bad = checksums.first_damaged(self._payload.data, places, told)
        if bad >= 0:
            raise damaged(number, chunks.start + bad)

    def _same_table(self, number: int, run: int) -> Iterator[tuple[slice, slice, Lookups]]:
        """Chunks that share a table (in a run of ours, all), their weights, and its lookups."""
        first = run * CHUNKS
        tables = self._numbers[number][first : first + CHUNKS]
        at = 0
        while at < len(tables):
            end = at + 1
            while end < len(tables) and tables[end] == tables[at]:
                end += 1
            part = slice(at * CHUNK[HUFFMAN], end * CHUNK[HUFFMAN])
            yield slice(first + at, first + end), part, self._table(tables[at])
            at = end

    def _huffman(self, number: int, plane: Plane, run: int, out: Bytes) -> None:
        sizes, checks = self._sizes[number], self._checks[number]
        assert sizes is not None
        for chunks, part, lookups in self._same_table(number, run):
            bad = kernels.decode_chunks(
                self._payload.data, plane.places[chunks], sizes[chunks], checks[chunks], *lookups, out[part]
            )
            if bad >= 0:
                raise damaged(number, chunks.start + bad)

    def _usual(self, run: int, out: NDArray[np.uint16]) -> None:
        """16-bit weights with plane 0 Huffman and plane 1 raw."""
        high, low = self._payload.planes
        sizes = self._sizes[0]
        assert sizes is not None
        for chunks, part, lookups in self._same_table(0, run):
            bad = planes16.decode(
                self._payload.data, high.places[chunks], sizes[chunks], self._checks[0][chunks], low.places[chunks],
                self._checks[1][chunks], *lookups, out[part],
            )  # fmt: skip
            if bad >= 0:
                raise damaged(bad % 2, chunks.start + bad // 2)

    def _table(self, number: int) -> Lookups:
        """The lookup tables of a table, in this thread's memory."""
        kept: OrderedDict[tuple[int, int], Lookups] = _local.__dict__.setdefault("lookups", OrderedDict())
        found = kept.get((self._key, number))
        if found is None:
            limit = huffman_tables.LIMIT
            if len(kept) == KEPT:
                found = kept.popitem(last=False)[1]
            else:
                found = np.empty(1 << limit, np.uint16), np.empty(2 << limit, np.uint64)
            huffman_tables.make_lookups(self._payload.tables[number], *found)
            kept[self._key, number] = found
        return found


def damaged(plane: int, chunk: int) -> CorruptStreamError:
    return CorruptStreamError(
        f"dfloat payload: chunk {chunk} of plane {plane} does not fit its check; the file is damaged, fetch it again"
    )
