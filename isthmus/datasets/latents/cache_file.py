# SPDX-License-Identifier: Apache-2.0
"""The file of a cache: latents as plain integers, each sample at its place, for reading without any decoding.

    0      "isthmus cache 1\\n", then JSON: source (fingerprint of the data set), count, planes (dtype, shape, rank)
    4096   two u64: bytes in use (of latents of different sizes), 1 once all is there and on the disk
    4112   for each sample its entry: u32 CRC-32 of its integers (0: not there, a CRC of 0 is 1), before it, where sizes
           differ, u64 offset, and behind it u32 for every axis of every plane
    then   the integers, little-endian, plane by plane; from a multiple of 4096 on

An entry is written after what it tells of, so that several processes fill a cache at once and a killed one leaves it
whole: what has no entry is made again. All that is read is held against its checksum until the file is known to be
whole, which is once it is opened with nothing missing.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.datasets.latents.batch import PlaneBatch, Planes
from isthmus.datasets.latents.cache_layout import (
    ADVICE,
    CHECKSUM,
    HEADER,
    STATE,
    Layout,
    data_begin,
    dtype_of,
    entry_of,
    locked,
    make,
    read_layout,
    stride_of,
    write,
)
from isthmus.errors import CorruptStreamError, UnreadableFileError, UnwritableFileError


class CacheFile:
    """See above. It is opened in each process when it is first used; what is pickled is its path."""

    def __init__(self, path: Path, source: str, count: int, layout: Layout) -> None:
        """Opens the cache at `path`, makes it where there is none.

        Raises UnreadableFileError for a stale one, CorruptStreamError for one that is damaged, UnwritableFileError.
        """
        self.path = Path(path).absolute()
        self.source, self.count = source, count
        if not self.path.exists():
            make(self.path, source, count, layout)
        self._begin_process()
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "source": self.source, "count": self.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin_process()

    def _begin_process(self) -> None:
        self._process, self._number = -1, -1
        self._closing: Any = None

    def _open(self) -> None:
        """A descriptor and maps of this process: a lock would be shared with the process that it was forked from."""
        if self._process == os.getpid():
            return
        try:
            number = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UnreadableFileError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        if self._closing is not None:
            self._closing()
        self._closing = weakref.finalize(self, os.close, number)
        self._number, self._process = number, os.getpid()
        size = os.fstat(number).st_size
        layout = read_layout(self.path, os.pread(number, HEADER, 0), self.source, self.count)
        self.planes = layout
        self.uniform = all(plane["shape"] is not None for plane in layout.values())
        self._entry = entry_of(layout)
        self._begin = data_begin(self.count, layout)
        self._stride = stride_of(layout) if self.uniform else 0
        if size < self._begin + self.count * self._stride:
            raise CorruptStreamError(f"{self.path}: {size} bytes, it was cut: {ADVICE}")
        # Maps are whole pages; entries are seen as other processes write them.
        self._map = mmap.mmap(number, self._begin + self.count * self._stride, access=mmap.ACCESS_READ)
        self._state = np.frombuffer(self._map, "<u8", 2, HEADER)
        self.entries = np.frombuffer(self._map, self._entry, self.count, HEADER + STATE)
        self.arrays = self._arrays() if self.uniform else {}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Every plane of all samples [n, ...], in the map."""
        made, at = {}, self._begin
        for name, plane in self.planes.items():
            dtype, shape = dtype_of(plane), plane["shape"]
            inner = np.cumprod([dtype.itemsize, *shape[:0:-1]])[::-1].tolist() if shape else []
            made[name] = np.ndarray((self.count, *shape), dtype, self._map, at, (self._stride, *inner))
            at += dtype.itemsize * prod(shape)
        return made

    @property
    def sealed(self) -> bool:
        """Whether all is there, was verified and is on the disk."""
        self._open()
        return bool(self._state[1])

    def present(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which samples are there."""
        self._open()
        return self.entries["crc"][indices] != 0 if not self._state[1] else np.ones(len(indices), bool)

    def read(self, indices: NDArray[np.int64]) -> PlaneBatch:
        """Latents that are there. Raises CorruptStreamError for one whose checksum is not right."""
        self._open()
        if self.uniform and self._state[1]:
            return PlaneBatch({name: torch.from_numpy(array[indices]) for name, array in self.arrays.items()})
        each = [self._one(int(index)) for index in indices]
        if not self.uniform:
            return PlaneBatch(None, each)
        return PlaneBatch({name: torch.stack([planes[name] for planes in each]) for name in self.planes})

    def _one(self, index: int) -> Planes:
        entry = self.entries[index]
        if self.uniform:
            shapes, offset = [plane["shape"] for plane in self.planes.values()], self._begin + index * self._stride
        else:
            dims, shapes, offset = entry["dims"].tolist(), [], int(entry["offset"])
            for plane in self.planes.values():
                shapes.append(dims[: plane["rank"]])
                dims = dims[plane["rank"] :]
        types = [dtype_of(plane) for plane in self.planes.values()]
        sizes = [prod(shape) * dtype.itemsize for shape, dtype in zip(shapes, types, strict=True)]
        if offset + sum(sizes) > os.fstat(self._number).st_size:  # before memory is taken
            raise CorruptStreamError(f"{self.path}: sample {index} is damaged: {ADVICE}")
        data = bytearray(os.pread(self._number, sum(sizes), offset))
        if len(data) != sum(sizes) or (not self._state[1] and (crc32(data) or 1) != int(entry["crc"])):
            raise CorruptStreamError(f"{self.path}: sample {index} is damaged: {ADVICE}")
        made, at = {}, 0
        for name, shape, dtype, size in zip(self.planes, shapes, types, sizes, strict=True):
            part = np.frombuffer(data, dtype, prod(shape), at).reshape(shape)
            made[name], at = torch.from_numpy(part.astype(dtype.newbyteorder("="), copy=at > 0)), at + size
        return made

    def store(self, indices: NDArray[np.int64], latents: Sequence[Planes]) -> None:
        """Adds latents. Raises CorruptStreamError for one that does not fit, UnwritableFileError for a full disk."""
        self._open()
        for index, planes in zip(indices.tolist(), latents, strict=True):
            data = self._packed(index, planes)
            place = HEADER + STATE + index * self._entry.itemsize
            checksum = (crc32(data) or 1).to_bytes(4, "little")
            try:
                if self.uniform:
                    write(self._number, data, self._begin + index * self._stride)
                    write(self._number, checksum, place)
                    continue
                entry = np.zeros((), self._entry)
                entry["offset"] = offset = self._allocate(len(data))
                entry["dims"] = [length for name in self.planes for length in planes[name].shape]
                write(self._number, data, offset)
                with locked(self._number):  # what is there once, others may be reading
                    if not self.entries["crc"][index]:
                        write(self._number, entry.tobytes(), place)
                        write(self._number, checksum, place + CHECKSUM)  # at last: who sees it sees all of the entry
            except OSError as error:
                raise UnwritableFileError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def _packed(self, index: int, planes: Planes) -> bytes:
        parts = []
        for name, plane in self.planes.items():
            values = planes[name].numpy()
            stored = values.astype(dtype_of(plane))
            fits = values.ndim == plane["rank"] and plane["shape"] in (None, list(values.shape))
            if not fits or not np.array_equal(stored, values):
                raise CorruptStreamError(
                    f"{self.path}: sample {index} has plane {name} of {values.shape}, {values.min(initial=0)} to "
                    f"{values.max(initial=0)}; the data set says {plane['dtype']} {plane['shape']}: its manifest lies"
                )
            parts.append(stored.tobytes())
        return b"".join(parts)

    def _allocate(self, size: int) -> int:
        """Where so many bytes may be written, which no other process gets."""
        with locked(self._number):
            offset = max(self._begin, int.from_bytes(os.pread(self._number, 8, HEADER), "little"))
            write(self._number, (offset + size).to_bytes(8, "little"), HEADER)
        return offset

    def seal(self) -> bool:
        """Where nothing is missing, verifies all and says so in the file; else, or where it cannot, False."""
        self._open()
        if self._state[1] or not self.entries["crc"].all():
            return bool(self._state[1])
        for index in range(self.count):
            self._one(index)
        try:
            os.fsync(self._number)
            write(self._number, (1).to_bytes(8, "little"), HEADER + 8)
            os.fsync(self._number)
        except OSError:  # read-only: it goes on to be verified
            return False
        return True
