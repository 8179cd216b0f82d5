# SPDX-License-Identifier: Apache-2.0
"""Weights to a payload in two passes: the first settles where each byte will lie, the second writes any part of it.

So a tensor larger than memory goes from a mapped file to an open one, and a small one straight into its place.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat import payload as page
from isthmus.codecs.dfloat.payload import CHUNK, HUFFMAN, RAW, WIDE, align
from isthmus.codecs.dfloat.plan import PlanePlan, plan_planes
from isthmus.codecs.dfloat.scratch import scratch
from isthmus.codecs.dfloat.source import RUN, Source
from isthmus.entropy.tables import huffman
from isthmus.kernels import checksums
from isthmus.kernels import threads as pool
from isthmus.kernels.huffman import encode as kernels
from isthmus.kernels.huffman.decode import ROOM
from isthmus.kernels.huffman.tables import make_codes
from isthmus.kernels.native.read_only import read_only
from isthmus.kernels.weights import planes as weight_planes
from isthmus.kernels.weights import planes16

_NO_WEIGHTS, _NO_BYTES = read_only(np.empty(0, np.uint16)), np.empty(0, np.uint8)


class Encoder:
    """A plan for a payload, and the writer of its parts.

    weights: uint8, uint16 or uint32 [n], contiguous; they must not change until everything is written.
    base: None, or what the weights shall be XOR with, of the same dtype and length.
    `length`: bytes of the payload. `runs`: parts that `write` takes. Arguments are those of `dfloat_coding.encode`.
    """

    def __init__(
        self, weights: NDArray[Any], mode: str, threads: int, index: bool, base: NDArray[Any] | None = None
    ) -> None:
        self._source = Source(weights, base)
        self.runs = self._source.runs
        self._plans, self._tables = plan_planes(self._source, mode, threads)
        self._codes: dict[int, NDArray[np.uint32]] = {}  # of tables, once they are needed
        self._codings = [plan.coding for plan in self._plans]
        self._index = self._plan_index(threads) if index and self._codings[0] == HUFFMAN else None
        self._lay_out()

    def _plan_index(self, threads: int) -> bytes | None:
        """The index of plane 0, if it fits."""
        bits = np.empty(-(-self._source.count // page.GROUP), np.uint16)

        def work(run: int) -> None:
            symbols = self._source.split(run)[0]
            part = bits[run * RUN // page.GROUP :][: -(-len(symbols) // page.GROUP)]
            kernels.group_bits(symbols, self._tables[self._plans[0].tables[run]], part)

        pool.run(work, range(self.runs), threads)
        return page.pack_index(bits)

    def _lay_out(self) -> None:
        """Settles where the bodies lie."""
        count = self._source.count
        tables = huffman.pack(self._tables)
        head = np.zeros(1, page.HEAD)
        head["magic"], head["width"], head["flags"] = page.MAGIC, self._source.width, int(self._index is not None)
        head["tables"], head["count"], head["table_bytes"] = len(self._tables), count, len(tables)
        head["codings"][0, : self._source.width] = self._codings
        self._front = head, tables
        end = head.nbytes + len(tables) + sum(plan.records.nbytes for plan in self._plans) + 4
        self._places = []  # of each plane, int64 [chunks + 1]
        for plan in self._plans:
            self._places.append(page.places_of(align(end), plan.coding, plan.records, count))
            end = int(self._places[-1][-1])
        self._index_place = align(end)
        end = end if self._index is None else self._index_place + len(self._index)
        self.length = align(end + page.LOAD_ROOM)
        head["length"] = self.length

    def spans(self, runs: range) -> list[tuple[int, int]]:
        """For each plane, where the bodies of these runs begin in the payload and where they end."""
        found = []
        for coding, places in zip(self._codings, self._places, strict=True):
            step = RUN // CHUNK[coding]
            found.append((int(places[runs.start * step]), int(places[min(runs.stop * step, len(places) - 1)])))
        return found

    def write(self, run: int, targets: Sequence[Bytes]) -> None:
        """Writes the bodies of a run, one target for each plane: the bytes of `spans(range(run, run + 1))`."""
        if self._codings == [HUFFMAN, RAW]:
            self._write_usual(run, *targets)
            return
        parts = self._source.split(run, [t if c == RAW else None for t, c in zip(targets, self._codings, strict=True)])
        if self._codings[0] == WIDE:
            weight_planes.pack_rest(parts[1], targets[1])
        for plane, (plan, target) in enumerate(zip(self._plans, targets, strict=True)):
            step = RUN // CHUNK[plan.coding]
            records = plan.records[run * step : (run + 1) * step]
            checks = np.empty((len(records), 2), np.uint32)
            if plan.coding == HUFFMAN:
                self._write_streams(plan, run, _NO_WEIGHTS, parts[plane], target, _NO_BYTES, checks, checks[:0])
            else:
                if plan.payloads:
                    target[:] = np.frombuffer(plan.payloads[run], np.uint8)
                at = self._places[plane][run * step : (run + 1) * step + 1]
                checksums.checks(target, at - at[0], checks)
            records["a"], records["b"] = checks.T

    def _write_usual(self, run: int, high: Bytes, low: Bytes) -> None:
        """16-bit weights with plane 0 Huffman and plane 1 raw, in one pass."""
        step = RUN // CHUNK[HUFFMAN]
        records = [plan.records[run * step : (run + 1) * step] for plan in self._plans]
        checks = np.empty((2, len(records[0]), 2), np.uint32)
        self._write_streams(self._plans[0], run, self._source.run(run), _NO_BYTES, high, low, *checks)
        for some, found in zip(records, checks, strict=True):
            some["a"], some["b"] = found.T

    def _write_streams(
        self, plan: PlanePlan, run: int, weights: NDArray[Any], symbols: Bytes, high: Bytes, low: Bytes,
        *checks: NDArray[np.uint32],
    ) -> None:  # fmt: skip
        """Writes the streams of a run to `high`, and the raw plane of weights to `low`: see `planes16.encode`."""
        table = int(plan.tables[run])
        lengths, codes = self._tables[table], self._codes.get(table)
        if codes is None:
            codes = self._codes[table] = make_codes(lengths)
        out = scratch("streams", 2 * max(len(weights), len(symbols)) + ROOM)
        memory = scratch("pairs", 1 << 18).view(np.uint32), out, scratch("stream", CHUNK[HUFFMAN] // page.STREAMS)
        size = planes16.encode(weights, symbols, lengths, codes, *memory, low, *checks)
        high[:] = out[:size]

    def fixed(self) -> list[tuple[int, bytes]]:
        """What lies around the bodies, once all runs are written: (place, bytes), the head, the gaps and the index."""
        records = (plan.records.tobytes() for plan in self._plans)
        head = b"".join((self._front[0].tobytes(), self._front[1], *records))
        found, at, part = [], 0, head + zlib.crc32(head).to_bytes(4, "little")
        for places in self._places:
            found.append((at, part.ljust(int(places[0]) - at, b"\0")))
            at, part = int(places[-1]), b""
        if self._index is not None:
            part = bytes(self._index_place - at) + self._index
        return [*found, (at, part.ljust(self.length - at, b"\0"))]
