# SPDX-License-Identifier: Apache-2.0
"""Where a stream is read from, and written to: bytes, files and pipes behind one interface, in bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import SEEK_END
from typing import Any, BinaryIO

from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike

PIECE = 2**20  # a file is asked for no more than this at once, so that a lying length takes no memory


class CutStreamError(CorruptStreamError):
    """Bytes run out inside a chunk: what `allow_truncated` forgives."""


class DamagedChunkError(CorruptStreamError):
    """A chunk whose checksum is wrong, where the next may be whole: what `allow_damage` forgives."""


class Source:
    """Bytes or a binary file, read forwards; `position` counts from the start of the stream."""

    def __init__(self, source: BytesLike | BinaryIO) -> None:
        self.position = 0
        self._view = memoryview(b"")
        self._file: BinaryIO | None = None
        self._start: int | None = 0  # where in the file the stream starts; None in a pipe
        if isinstance(source, bytes | bytearray | memoryview) or not hasattr(source, "read"):
            self._view = as_bytes(source)
        else:
            self._file = source
            self._start = source.tell() if getattr(source, "seekable", bool)() else None

    def up_to(self, count: int) -> memoryview:
        """The next `count` bytes, or what is there of them."""
        if self._file is None:
            piece = self._view[self.position : self.position + count]
        else:
            buffer = bytearray()
            while len(buffer) < count:
                got = self._file.read(min(count - len(buffer), PIECE))
                if not isinstance(got, bytes):
                    raise TypeError(f"expected a blocking binary file, its read() gave {type(got).__name__}")
                if not got:
                    break
                buffer += got
            piece = memoryview(buffer)
        self.position += len(piece)
        return piece

    def take(self, count: int) -> memoryview:
        """The next `count` bytes. Raises `CutStreamError` when fewer are there, unread if they are many and it can."""
        there = count if count <= PIECE or self._start is None else self.size() - self.position
        if there >= count:
            piece = self.up_to(count)
            there = len(piece)
        if there < count:
            raise CutStreamError(f"{count} bytes should follow, {there} are there")
        return piece

    def size(self) -> int:
        """Bytes from the start of the stream to the end of a seekable source."""
        if self._file is None:
            return len(self._view)
        start = self._origin()
        size = self._file.seek(0, SEEK_END) - start
        self.seek(self.position)
        return size

    def seek(self, position: int) -> None:
        if self._file is not None:
            start = self._origin()
            self._file.seek(start + position)
        self.position = position

    def _origin(self) -> int:
        if self._start is None:
            raise ValueError("this call needs bytes or a seekable file")
        return self._start

    @contextmanager
    def restored(self) -> Iterator["Source"]:
        """Leave a seekable file where the stream starts."""
        try:
            yield self
        finally:
            if self._start is not None:
                self.seek(0)


def as_bytes(data: BytesLike | Any) -> memoryview:
    """The bytes of any buffer; a copy where they are not contiguous."""
    if isinstance(data, str) or hasattr(data, "__fspath__"):
        raise TypeError(f"expected the bytes of a stream or a binary file, got the path {data!s}: open it with 'rb'")
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(f"expected the bytes of a stream or a binary file, got {type(data).__name__}") from None
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(bytes(view))


def write_all(file: BinaryIO, data: BytesLike) -> None:
    """All of `data`, also to an unbuffered file, which may take less at once."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
