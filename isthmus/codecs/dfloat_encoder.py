# SPDX-License-Identifier: Apache-2.0
"""Weights to a payload in two passes: the first settles where each byte will lie, the second writes any part of it.

So a tensor larger than memory goes from a mapped file to an open one, and a small one straight into its place.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.codecs import dfloat_payload as page
from isthmus.codecs.dfloat_payload import CHUNK, HUFFMAN, RANS, RAW, RECORD, align
from isthmus.codecs.scratch import scratch
from isthmus.entropy import histogram, huffman
from isthmus.entropy.arguments import read_only
from isthmus.kernels import numba_huffman as kernels
from isthmus.kernels import numba_huffman_tables, numba_weights16
from isthmus.kernels import numba_weight_planes as planes
from isthmus.kernels import threads as pool

RUN = CHUNK[RANS]  # weights that share a table, and that a thread takes at a time
CHUNKS = RUN // CHUNK[HUFFMAN]
SAMPLES, SAMPLE = 16, 1 << 12  # slices and weights of each, by which a plane of mantissa is judged
PROMISING = 7.6  # bits of entropy a byte, up to which such a plane may be worth coding: else decoding would crawl

Bytes = NDArray[np.uint8]


class Encoder:
    """A plan for a payload, and the writer of its parts.

    weights: uint8, uint16 or uint32 [n], contiguous; they must not change until everything is written.
    base: None, or what the weights shall be XOR with, of the same dtype and length.
    `length`: bytes of the payload. `runs`: parts that `write` takes. Arguments are those of `dfloat_coding.encode`.
    """

    def __init__(
        self, weights: NDArray[Any], mode: str, threads: int, index: bool, base: NDArray[Any] | None = None
    ) -> None:
        self._weights, self._base = read_only(weights), base
        self._width, self._count = weights.itemsize, len(weights)
        self.runs = -(-self._count // RUN)
        self._hopeful = [k for k in range(self._width) if k == 0 or self._promises(k)]
        measured = pool.run(lambda run: self._measure(run, mode), range(self.runs), threads)
        self._tables = np.empty((0, huffman.SYMBOLS), np.uint8)
        self._codings = [RAW] * self._width
        self._rans: dict[int, list[bytes]] = {}
        self._chosen: dict[int, NDArray[np.int64]] = {}
        self._records = [np.zeros(page.chunks_of(self._count, RAW), RECORD[RAW]) for _ in range(self._width)]
        for i, plane in enumerate(self._hopeful if self.runs else []):
            self._choose(plane, [run[i] for run in measured])
        del measured
        self._index = self._plan_index(threads) if index and self._codings[0] == HUFFMAN else None
        self._lay_out()

    def _part(self, begin: int, end: int) -> NDArray[Any]:
        """Weights begin..end, as the kernels take them."""
        part = self._weights[begin:end]
        if self._base is not None:
            return read_only(part ^ self._base[begin:end])
        return part if part.flags.aligned else read_only(part.copy())  # a mapped tensor may begin at any byte

    def _split(self, run: int, targets: Sequence[Bytes | None]) -> list[Bytes]:
        """The planes of a run, in `targets` or, where that is None, in memory of this thread."""
        part = self._part(run * RUN, (run + 1) * RUN)
        found = [scratch(f"plane{k}", RUN)[: len(part)] if t is None else t for k, t in enumerate(targets)]
        if self._width == 1:
            if targets[0] is None:
                return [part]
            found[0][:] = part
        else:
            (planes.split2 if self._width == 2 else planes.split4)(part, *found)
        return found

    def _promises(self, plane: int) -> bool:
        """Whether a sample of a plane of mantissa is far enough from uniform."""
        step = max(SAMPLE, self._count // SAMPLES)
        counts = np.zeros(256, np.int64)
        for begin in range(0, self._count, step):
            part = self._part(begin, begin + SAMPLE)
            found = [np.empty(len(part), np.uint8) for _ in range(self._width)]
            (planes.split2 if self._width == 2 else planes.split4)(part, *found)
            counts += np.bincount(found[plane], minlength=256)
        p = counts[counts > 0] / max(1, counts.sum())
        return float(-(p * np.log2(p)).sum()) < PROMISING

    def _measure(self, run: int, mode: str) -> list[tuple[NDArray[Any], ...]]:
        """For each hopeful plane: histograms of streams and of the run, its own table, and its payload if rANS."""
        found: list[tuple[NDArray[Any], ...]] = []
        part = self._part(run * RUN, (run + 1) * RUN)
        usual = self._width == 2 and self._hopeful == [0] and mode == "huffman"
        parts = [part] if usual else self._split(run, [None] * self._width)
        for plane in self._hopeful:
            symbols = parts[plane]
            counts = np.empty((page.STREAMS * page.chunks_of(len(symbols), HUFFMAN), huffman.SYMBOLS), np.uint16)
            total = (numba_weights16.count if usual else kernels.count_streams)(symbols, counts)
            lengths = np.empty(huffman.SYMBOLS, np.uint8)
            numba_huffman_tables.code_lengths(total, lengths)
            payload = np.frombuffer(histogram.encode(symbols) if mode == "rans" else b"", np.uint8)
            found.append((counts, total, lengths, payload))
        return found

    def _choose(self, plane: int, runs: list[tuple[NDArray[Any], ...]]) -> None:
        """Settles the coding of a plane and the sizes of its bodies."""
        own = np.stack([lengths for _, _, lengths, _ in runs])
        first = len(self._tables)
        tables, chosen = huffman.choose(np.stack([total for _, total, _, _ in runs]), own, first)
        records = np.zeros(page.chunks_of(self._count, HUFFMAN), RECORD[HUFFMAN])
        if (chosen < 0).any():
            return
        for run, (counts, _, _, _) in enumerate(runs):
            sizes = np.empty(len(counts), np.int64)
            kernels.stream_bytes(counts, tables[chosen[run]], sizes)
            some = records[run * CHUNKS : (run + 1) * CHUNKS]
            some["streams"] = sizes.reshape(-1, page.STREAMS)
            some["table"] = first + chosen[run]
        raw = self._count + self._records[plane].nbytes
        size = int(records["streams"].sum(dtype=np.int64)) + records.nbytes + len(huffman.pack(tables))
        payloads = [payload for _, _, _, payload in runs]
        small = sum(map(len, payloads)) + len(payloads) * RECORD[RANS].itemsize
        if len(payloads[0]) and small < min(raw, size):
            self._codings[plane] = RANS
            self._rans[plane] = payloads  # type: ignore[assignment]
            self._records[plane] = np.zeros(self.runs, RECORD[RANS])
            self._records[plane]["bytes"] = [len(payload) for payload in payloads]
        elif size < raw:
            self._codings[plane] = HUFFMAN
            self._tables = np.concatenate((self._tables, tables))
            self._chosen[plane] = chosen + first
            self._records[plane] = records

    def _plan_index(self, threads: int) -> bytes | None:
        """The index of plane 0, if it fits."""
        bits = np.empty(-(-self._count // page.GROUP), np.uint16)

        def work(run: int) -> None:
            symbols = self._split(run, [None] * self._width)[0]
            part = bits[run * RUN // page.GROUP :][: -(-len(symbols) // page.GROUP)]
            kernels.group_bits(symbols, self._tables[self._chosen[0][run]], part)

        pool.run(work, range(self.runs), threads)
        return page.pack_index(bits)

    def _lay_out(self) -> None:
        """Settles where the bodies lie."""
        tables = huffman.pack(self._tables)
        head = np.zeros(1, page.HEAD)
        head["magic"], head["width"], head["flags"] = page.MAGIC, self._width, int(self._index is not None)
        head["tables"], head["count"], head["table_bytes"] = len(self._tables), self._count, len(tables)
        head["codings"][0, : self._width] = self._codings
        self._front = head, tables
        end = head.nbytes + len(tables) + sum(r.nbytes for r in self._records) + 4
        self.places = []  # of each plane, int64 [chunks + 1]
        for coding, records in zip(self._codings, self._records, strict=True):
            self.places.append(page.places_of(align(end), coding, records, self._count))
            end = int(self.places[-1][-1])
        self._index_place = align(end)
        end = end if self._index is None else self._index_place + len(self._index)
        self.length = align(end + page.LOAD_ROOM)
        head["length"] = self.length

    def spans(self, runs: range) -> list[tuple[int, int]]:
        """For each plane, where the bodies of these runs begin in the payload and where they end."""
        found = []
        for coding, places in zip(self._codings, self.places, strict=True):
            step = RUN // CHUNK[coding]
            found.append((int(places[runs.start * step]), int(places[min(runs.stop * step, len(places) - 1)])))
        return found

    def write(self, run: int, targets: Sequence[Bytes]) -> None:
        """Writes the bodies of a run, one target for each plane: the bytes of `spans(range(run, run + 1))`."""
        if self._codings == [HUFFMAN, RAW]:
            self._write_usual(run, *targets)
            return
        raw = [t if c == RAW else None for t, c in zip(targets, self._codings, strict=True)]
        parts = self._split(run, raw)
        for plane, (coding, target) in enumerate(zip(self._codings, targets, strict=True)):
            step = RUN // CHUNK[coding]
            records = self._records[plane][run * step : (run + 1) * step]
            if coding == HUFFMAN:
                self._write_huffman(parts[plane], int(self._chosen[plane][run]), target)
            elif coding == RANS:
                target[:] = self._rans[plane][run]  # type: ignore[call-overload]
            at = self.places[plane][run * step : (run + 1) * step + 1]
            checks = np.empty((len(records), 2), np.uint32)
            planes.checks(target, at - at[0], checks)
            records["a"], records["b"] = checks.T

    def _write_huffman(self, symbols: Bytes, table: int, target: Bytes) -> None:
        out = scratch("streams", len(symbols) * 2 + kernels.ROOM)
        size = kernels.encode_chunks(symbols, *self._code(table), out)
        target[:] = out[:size]

    def _write_usual(self, run: int, high: Bytes, low: Bytes) -> None:
        part = self._part(run * RUN, (run + 1) * RUN)
        chunks = slice(run * CHUNKS, (run + 1) * CHUNKS)
        records = self._records[0][chunks], self._records[1][chunks]
        checks = np.empty((2, len(records[0]), 2), np.uint32)
        out = scratch("streams", len(part) * 2 + kernels.ROOM)
        code = self._code(int(self._chosen[0][run]))
        size = numba_weights16.encode(part, *code, out, low, checks[0], checks[1])
        high[:] = out[:size]
        for some, found in zip(records, checks, strict=True):
            some["a"], some["b"] = found.T

    def _code(self, table: int) -> tuple[Bytes, NDArray[np.uint32], NDArray[np.uint32]]:
        """Lengths, codes, and codes of pairs of a table."""
        lengths = self._tables[table]
        codes, pairs = np.empty(huffman.SYMBOLS, np.uint32), scratch("pairs", 1 << 18).view(np.uint32)
        numba_huffman_tables.make_codes(lengths, codes)
        kernels.make_pairs(lengths, codes, pairs)
        return lengths, codes, pairs

    def fixed(self) -> list[tuple[int, bytes]]:
        """What lies around the bodies, once all runs are written: (place, bytes), head first, gaps and index too."""
        head = b"".join((self._front[0].tobytes(), self._front[1], *(records.tobytes() for records in self._records)))
        head += zlib.crc32(head).to_bytes(4, "little")
        found, at = [], 0
        for places in self.places:
            found.append((at, head if at == 0 else b""))
            found[-1] = (at, found[-1][1] + bytes(int(places[0]) - at - len(found[-1][1])))
            at = int(places[-1])
        rest = b"" if self._index is None else bytes(self._index_place - at) + self._index
        found.append((at, rest + bytes(self.length - at - len(rest))))
        return found
