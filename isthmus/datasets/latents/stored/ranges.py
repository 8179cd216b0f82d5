# SPDX-License-Identifier: Apache-2.0
"""Parts of files by offset and size, and the few things that are kept open at a time.

Files of this machine are read by `pread`, not mapped: for a payload of some kilobytes it is as fast, and a file that is
cut while it is read, or a disk of the network that is gone, is an error with a name, not the end of the process.
"""

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.forks import ForkLock

Kept = TypeVar("Kept")


class Ranges:
    """A file of a place, open for reading at any offset, from several threads. Raises UnreadableFileError."""

    def __init__(self, place: Place, name: str) -> None:
        self._name, self._number, self._file, self._lock = place.name(name), -1, None, ForkLock()
        if place.path is not None and hasattr(os, "pread"):
            try:
                self._number = os.open(place.path / name, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise UnreadableFileError(f"{self._name}: cannot be read: {error.strerror or error}") from error
            weakref.finalize(self, os.close, self._number)
            self.size = os.fstat(self._number).st_size
        else:
            self._file = place.open(name)
            self.size = self._file.seek(0, os.SEEK_END)
            weakref.finalize(self, self._file.close)

    def read(self, offset: int, size: int) -> bytes:
        """Raises CorruptStreamError where the file ends before, UnreadableFileError where the system refuses."""
        if not 0 <= size <= self.size - offset:  # before memory is taken
            raise CorruptStreamError(f"{self._name}: {size} bytes at {offset} are beyond its end at {self.size}")
        try:
            data = os.pread(self._number, size, offset) if self._number >= 0 else self._sought(offset, size)
        except OSError as error:
            raise UnreadableFileError(f"{self._name}: cannot be read: {error.strerror or error}") from error
        if len(data) != size:
            raise CorruptStreamError(
                f"{self._name}: ends {size - len(data)} bytes too early: it was cut after it was opened; make it again"
            )
        return data

    def _sought(self, offset: int, size: int) -> bytes:
        assert self._file is not None
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)


class Recent(Generic[Kept]):
    """The last few things that were asked for, by key; what falls out is let go of."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def get(self, key: Hashable, make: Callable[..., Kept], *arguments: Any) -> Kept:
        """What is kept under `key`, or what `make` gives for the arguments."""
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make(*arguments)
            while len(self._kept) > self.most:
                with suppress(KeyError):  # another thread was faster
                    self._kept.popitem(last=False)
        else:
            with suppress(KeyError):
                self._kept.move_to_end(key)
        return found
