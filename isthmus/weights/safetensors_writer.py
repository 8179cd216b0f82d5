# SPDX-License-Identifier: Apache-2.0
"""safetensors files written front to back, sizes unknown beforehand: room is left for the header, which comes last."""

import json
from collections.abc import Mapping
from typing import BinaryIO

from isthmus.arrays.types import Bytes
from isthmus.errors import UnwritableFileError
from isthmus.weights.safetensors_file import HEADER_LIMIT, METADATA, StoredTensor

ALIGN = 64
PIECE = 1 << 24  # bytes written at once
SPARE = 256  # of the data, or less, may be room that the header did not need
DIGITS = 16  # of any offset: files are below 10**16 bytes


def pack_header(tensors: list[StoredTensor], metadata: Mapping[str, str]) -> bytes:
    """The JSON of a header."""
    table: dict[str, object] = {METADATA: dict(metadata)}
    for t in tensors:
        table[t.name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [t.begin, t.end]}
    return json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


class SafetensorsWriter:
    """Writes tensors one behind the other into `file`, a new binary file at its start.

    room: bytes to leave for the header's JSON, at least as many as `finish` will need.
    Raises UnwritableFileError where a header would be beyond the format's limit.
    """

    def __init__(self, file: BinaryIO, room: int) -> None:
        self._begin = -(-(8 + room) // ALIGN) * ALIGN
        if self._begin - 8 > HEADER_LIMIT:
            raise UnwritableFileError(f"a safetensors header of {room} bytes is beyond the format's {HEADER_LIMIT}")
        self._file, self._tensors = file, list[StoredTensor]()
        self.at = 0  # where the next tensor begins, counted from the end of the header
        file.seek(self._begin)

    @staticmethod
    def room_for(tensors: list[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]) -> int:
        """Bytes of a header with tensors of these names, dtypes and shapes, whatever their offsets turn out to be."""
        largest = 10**DIGITS - 1
        return len(pack_header([StoredTensor(n, d, s, largest, largest) for n, d, s in tensors], metadata))

    def write_at(self, place: int, data: Bytes | bytes) -> None:
        """Writes bytes of tensors from `place` on, counted from the end of the header."""
        self._file.seek(self._begin + place)
        view = memoryview(data)  # type: ignore[arg-type]  # arrays have buffers
        for begin in range(0, len(view), PIECE):
            self._file.write(view[begin : begin + PIECE])

    def add(self, name: str, dtype: str, shape: tuple[int, ...], size: int) -> None:
        """The next tensor: `size` bytes, written from `at` on, before or after this."""
        self._tensors.append(StoredTensor(name, dtype, shape, self.at, self.at + size))
        self.at += size

    def finish(self, metadata: Mapping[str, str]) -> int:
        """Writes the header; how long the file is."""
        header = pack_header(self._tensors, metadata)
        assert len(header) <= self._begin - 8, "the header outgrew its room"
        begin = -(-(8 + len(header)) // ALIGN) * ALIGN
        if self._begin - begin > self.at // SPARE and self._file.readable():
            self._move(begin)
        self._file.seek(0)
        self._file.write((self._begin - 8).to_bytes(8, "little") + header.ljust(self._begin - 8))
        self._file.truncate(self._begin + self.at)
        return self._begin + self.at

    def _move(self, begin: int) -> None:
        """Moves the data to the front."""
        for at in range(0, self.at, PIECE):
            self._file.seek(self._begin + at)
            piece = self._file.read(min(PIECE, self.at - at))
            self._file.seek(begin + at)
            self._file.write(piece)
        self._begin = begin
