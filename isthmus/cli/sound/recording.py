# SPDX-License-Identifier: Apache-2.0
"""A pipe whose sound has no end of its own, as `arecord` writes it: who stops the command ends the recording."""

import os
import select
from typing import Any

from isthmus.cli.pipes import Begun

REST = 1 << 20  # bytes that may lie in a pipe, which have come, too


class Recording:
    """What is left of a pipe; `end`, for handlers of signals, lets a reader that waits find its end.

    `read` waits for the pipe or for `end`, whichever comes first, before it takes a byte: none is lost.
    """

    def __init__(self, pipe: Begun) -> None:
        self.pipe, self.ended = pipe, False
        self._rest = REST
        self._woken, self._wake = os.pipe()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._wake)
        os.close(self._woken)

    def end(self) -> None:
        """The next bytes are those that have come already, and then none."""
        self.ended = True
        os.write(self._wake, b".")

    def read(self, count: int) -> bytes:
        """At most `count` of the next bytes; none at the end."""
        if not self.pipe.head and not self.ended:
            waited: list[Any] = [self.pipe, self._woken]
            select.select(waited, [], [])
        if not self.ended:
            return self.pipe.read_some(count)
        if self._rest <= 0 or not (self.pipe.head or select.select([self.pipe], [], [], 0)[0]):
            return b""
        found = self.pipe.read_some(min(count, self._rest))
        self._rest -= len(found)
        return found


def can_end(pipe: Any) -> bool:
    """Whether a pipe can be waited for beside a signal: not where it is no file, nor on Windows."""
    try:
        return os.name == "posix" and pipe.fileno() >= 0
    except OSError:
        return False
