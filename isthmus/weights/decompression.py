# SPDX-License-Identifier: Apache-2.0
"""A compressed file to the bytes of the file it was made from, a part at a time, with their SHA-256 checked."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat.decoder import RUN
from isthmus.errors import CorruptStreamError
from isthmus.kernels import threads as pool
from isthmus.weights.dfloat_file import TensorRuns, WeightFile

PART_BYTES = 1 << 25
PIECE = 1 << 20  # bytes of a raw tensor that a thread copies at a time

Job = Callable[[Bytes], None]  # fills the bytes it is given
Sink = Callable[[Bytes], object]


def restore(file: WeightFile, sink: Sink, *, threads: int, progress: Callable[[int], None]) -> None:
    """Hands the original file's bytes to `sink` in order. progress: told of bytes as they are done.

    Raises CorruptStreamError where a tensor is damaged or the SHA-256 is not the original's: then nothing that the sink
    was given may be used.
    """
    digest = hashlib.sha256()
    head = len(file.header_bytes).to_bytes(8, "little") + file.header_bytes
    ready: Bytes = np.frombuffer(head, np.uint8)
    buffers = [np.empty(0, np.uint8), np.empty(0, np.uint8)]  # fresh memory would cost as much as filling it

    def take(data: Bytes) -> list[Callable[[], object]]:
        """The digest and the sink take bytes in order, so each is one piece of work, while others decode the next."""
        return [partial(digest.update, data.data), partial(sink, data)]

    for jobs in _parts(file):
        size = sum(size for size, _ in jobs)
        buffers.reverse()
        if len(buffers[0]) < size:
            buffers[0] = np.empty(size, np.uint8)
        ends = np.cumsum([size for size, _ in jobs])
        work = take(ready)
        for end, (bytes_, job) in zip(ends, jobs, strict=True):
            work.append(partial(job, buffers[0][end - bytes_ : end]))
        pool.run(lambda one: one(), work, threads)
        progress(size)
        ready = buffers[0][:size]
    pool.run(lambda one: one(), take(ready), threads)
    if digest.hexdigest() != file.source["sha256"]:
        raise CorruptStreamError(
            f"{file.path}: the SHA-256 of the result is {digest.hexdigest()[:16]}..., the original's was "
            f"{file.source['sha256'][:16]}...; the file is damaged, fetch it again"
        )


def _parts(file: WeightFile) -> Iterator[list[tuple[int, Job]]]:
    """Jobs with their sizes in bytes, PART_BYTES or a little more at a time."""
    jobs: list[tuple[int, Job]] = []
    total = 0
    for size, job in _jobs(file):
        jobs.append((size, job))
        total += size
        if total >= PART_BYTES:
            yield jobs
            jobs, total = [], 0
    if jobs:
        yield jobs


def _jobs(file: WeightFile) -> Iterator[tuple[int, Job]]:
    for tensor in file.original.values():
        if file.is_coded(tensor.name):
            runs = file.runs(tensor.name)
            for run in range(runs.runs):
                yield min(RUN, runs.count - run * RUN) * runs.dtype.itemsize, _decode(runs, run)
        else:
            data = file.stored(tensor.name)
            for begin in range(0, len(data), PIECE):
                part = data[begin : begin + PIECE]
                yield len(part), _copy(part)


def _decode(runs: TensorRuns, run: int) -> Job:
    def job(out: Bytes) -> None:
        bits: Any = out.view(runs.dtype)
        if bits.flags.aligned:
            runs.decode(run, bits)
        else:  # behind a tensor of single bytes
            apart = np.empty(len(bits), runs.dtype)
            runs.decode(run, apart)
            bits[:] = apart

    return job


def _copy(data: Bytes) -> Job:
    def job(out: Bytes) -> None:
        out[:] = data

    return job
