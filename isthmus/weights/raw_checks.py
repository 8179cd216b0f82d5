# SPDX-License-Identifier: Apache-2.0
"""Checks of what is not coded: the original header and the tensors that stay as they are (docs/format-dfloat.md)."""

from collections.abc import Callable, Iterable
from zlib import crc32

from isthmus.arrays.types import Bytes
from isthmus.weights.safetensors_file import StoredTensor

RUN = 1 << 16  # bytes, with which a run of tensors ends: thousands of tiny ones have few checks
DIGITS = 8


def runs_of(tensors: Iterable[StoredTensor]) -> list[list[StoredTensor]]:
    """Raw tensors, in the order of the original file, in runs that have a check each."""
    runs: list[list[StoredTensor]] = []
    size = RUN
    for tensor in tensors:
        if size >= RUN:
            runs.append([])
            size = 0
        runs[-1].append(tensor)
        size += tensor.end - tensor.begin
    return runs


def most_runs(tensors: Iterable[StoredTensor]) -> int:
    """Runs that some of the tensors may make, at most."""
    sizes = [tensor.end - tensor.begin for tensor in tensors]
    return min(len(sizes), sum(sizes) // RUN + 1)


def check_of(run: Iterable[StoredTensor], data: Callable[[str], Bytes]) -> str:
    """The check of a run; data: the bytes of a tensor by its name."""
    found = 0
    for tensor in run:
        found = crc32(data(tensor.name).data, found)
    return f"{found:08x}"


def checks_of(header: bytes, raw: Iterable[StoredTensor], data: Callable[[str], Bytes]) -> str:
    """The entry `checks`: that of the original header, then those of the runs."""
    return f"{crc32(header):08x}" + "".join(check_of(run, data) for run in runs_of(raw))
