# SPDX-License-Identifier: Apache-2.0
"""Progress over bytes: a bar on terminals, a line now and then elsewhere; both on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from isthmus.kernels.announcement import said_everywhere

EVERY = 30.0  # seconds between lines


class Progress:
    """`update` is told of bytes as they are done; `echo` prints a line, above the bar."""

    def __init__(self, total: int, bar: "tqdm[object]", err: bool) -> None:
        self._total, self._bar, self._out = total, bar, sys.stderr if err else sys.stdout
        self._done, self._told = 0, time.monotonic()

    def update(self, count: int) -> None:
        """`count` more bytes are done."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._bar.disable and now - self._told >= EVERY:
            self._told = now
            share = 100 * self._done / max(1, self._total)
            print(f"isthmus: {self._done} of {self._total} bytes, {share:.0f} %", file=sys.stderr, flush=True)

    def echo(self, line: str) -> None:
        """Prints a line, at once."""
        self._bar.write(line, file=self._out)
        self._out.flush()


@contextmanager
def progress(total: int, *, err: bool = False) -> Iterator[Progress]:
    """Shows progress over `total` bytes while the block runs, and says so if kernels must be compiled first.

    err: lines go to standard error, as data go to standard output.
    """
    with (
        said_everywhere(),
        tqdm(total=total, unit="B", unit_scale=True, disable=None) as bar,
    ):
        yield Progress(total, bar, err)
