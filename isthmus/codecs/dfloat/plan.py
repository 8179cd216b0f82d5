# SPDX-License-Identifier: Apache-2.0
"""Which coding each plane of a tensor takes, with which tables, and how many bytes that will be."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat import payload as page
from isthmus.codecs.dfloat.payload import CHUNK, HUFFMAN, RANS, RAW, RECORD, WIDE
from isthmus.codecs.dfloat.scratch import scratch
from isthmus.codecs.dfloat.source import RUN, Source
from isthmus.entropy.coders import histogram
from isthmus.entropy.tables import huffman
from isthmus.kernels import threads as pool
from isthmus.kernels.huffman import encode as huffman_encode
from isthmus.kernels.huffman import tables as huffman_tables
from isthmus.kernels.weights import planes as weight_planes

CHUNKS = RUN // CHUNK[HUFFMAN]
PROMISING = 7.6  # bits of entropy a byte, up to which a plane of mantissa may be worth coding: it would halve the speed

Counts = NDArray[np.int64]


@dataclass
class PlanePlan:
    """One plane. records: their sizes are filled in, their checks not. tables: of each run, its number, for Huffman.

    payloads: of each run, for rANS and wide.
    """

    coding: int
    records: NDArray[np.void]
    tables: Counts = field(default_factory=lambda: np.empty(0, np.int64))
    payloads: list[bytes] = field(default_factory=list)


@dataclass
class _Measured:
    """A run of a plane: histogram of each stream, of all, the best table for it, and its rANS payload if wanted."""

    streams: NDArray[np.uint16]
    total: Counts
    lengths: Bytes
    payload: bytes


def plan_planes(source: Source, mode: str, threads: int) -> tuple[list[PlanePlan], Bytes]:
    """A plan for each plane, and the tables of all, uint8 [K, 256]."""
    plans = [PlanePlan(RAW, np.zeros(page.chunks_of(source.count, RAW), RECORD[RAW])) for _ in range(source.width)]
    tables = np.empty((0, huffman.SYMBOLS), np.uint8)
    if source.runs == 0:
        return plans, tables
    sample = source.sample()
    hopeful = [k for k, plane in enumerate(sample) if k == 0 or _entropy(_count(plane)) < PROMISING]
    wide = mode == "rans" and source.width > 1 and hopeful == [0] and _widens(sample)
    measured = pool.run(lambda run: _measure(source, run, hopeful, mode, wide), range(source.runs), threads)
    for i, plane in enumerate(hopeful):
        runs = [run[i] for run in measured]
        raw = [plans[plane]]
        options: list[tuple[int, list[PlanePlan], Bytes]] = [(source.count + raw[0].records.nbytes, raw, tables[:0])]
        huffman_plan, own = _plan_huffman(source, runs, len(tables))
        if huffman_plan:
            options.append((_size(huffman_plan) + len(huffman.pack(own)), [huffman_plan], own))
        if mode == "rans":
            small = _plan_rans(source, [run.payload for run in runs], WIDE if wide else RANS)
            spared = source.count + plans[1].records.nbytes if wide else 0  # what plane 1 would take
            options.append((sum(map(_size, small)) - spared, small, tables[:0]))
        _, chosen, own = min(options, key=lambda option: option[0])
        plans[plane : plane + len(chosen)] = chosen
        tables = np.concatenate((tables, own))
    return plans, tables


def _streams(weights: NDArray[Any]) -> NDArray[np.uint16]:
    """Room for the histogram of each stream of a run."""
    return np.empty((page.STREAMS * page.chunks_of(len(weights), HUFFMAN), huffman.SYMBOLS), np.uint16)


def _count(plane: Bytes) -> Counts:
    return huffman_encode.count_streams(plane, _streams(plane))


def _entropy(counts: Counts) -> float:
    p = counts[counts > 0] / max(1, counts.sum())
    return float(-(p * np.log2(p)).sum())


def _widens(sample: list[Bytes]) -> bool:
    """Whether two bits of mantissa beside the exponent make it smaller: whether they depend on it."""
    symbols = np.empty(len(sample[0]), np.int16)
    weight_planes.widen(sample[0], sample[1], symbols)
    return _entropy(np.bincount(symbols)) < _entropy(_count(sample[0])) + 1.99


def _measure(source: Source, run: int, hopeful: list[int], mode: str, wide: bool) -> list[_Measured]:
    """Each hopeful plane of a run."""
    usual = source.width == 2 and hopeful == [0] and mode == "huffman"
    parts = [source.run(run)] if usual else source.split(run)
    found = []
    for plane in hopeful:
        symbols = parts[plane]
        streams, lengths = _streams(symbols), np.empty(huffman.SYMBOLS, np.uint8)
        total = huffman_encode.count_streams(symbols, streams)
        huffman_tables.code_lengths(total, lengths)
        payload = b""
        if wide:
            integers = scratch("integers", 2 * RUN).view(np.int16)[: len(symbols)]
            weight_planes.widen(parts[0], parts[1], integers)
            payload = histogram.encode(integers)
        elif mode == "rans":
            payload = histogram.encode(symbols)
        found.append(_Measured(streams, total, lengths, payload))
    return found


def _plan_huffman(source: Source, runs: list[_Measured], first: int) -> tuple[PlanePlan | None, Bytes]:
    """A Huffman plan and its tables, numbered from `first` on; None where the tables would be too many."""
    tables, chosen = huffman.choose(
        np.stack([run.total for run in runs]), np.stack([run.lengths for run in runs]), first
    )
    if (chosen < 0).any():
        return None, tables[:0]
    records = np.zeros(page.chunks_of(source.count, HUFFMAN), RECORD[HUFFMAN])
    for number, run in enumerate(runs):
        sizes = huffman_encode.stream_bytes(run.streams, tables[chosen[number]])
        some = records[number * CHUNKS : (number + 1) * CHUNKS]
        some["streams"] = sizes.reshape(-1, page.STREAMS)
        some["table"] = first + chosen[number]
    return PlanePlan(HUFFMAN, records, first + chosen), tables


def _plan_rans(source: Source, payloads: list[bytes], coding: int) -> list[PlanePlan]:
    """A plan of a plane, and for `WIDE` of plane 1 too."""
    records = np.zeros(source.runs, RECORD[RANS])
    records["bytes"] = [len(payload) for payload in payloads]
    found = [PlanePlan(coding, records, payloads=payloads)]
    if coding == WIDE:
        sizes = [page.packed_bytes(min(RUN, source.count - run * RUN)) for run in range(source.runs)]
        packed = np.zeros(source.runs, RECORD[RANS])
        packed["bytes"] = sizes
        found.append(PlanePlan(WIDE, packed))
    return found


def _size(plan: PlanePlan) -> int:
    """Bytes of the records and bodies of a plane that is not raw."""
    name = "streams" if plan.coding == HUFFMAN else "bytes"
    return int(plan.records[name].sum(dtype=np.int64)) + plan.records.nbytes
