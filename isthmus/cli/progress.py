# SPDX-License-Identifier: Apache-2.0
"""Progress over bytes or samples: a bar on terminals, a line now and then elsewhere; both on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from isthmus.kernels.announcement import said_everywhere

EVERY = 30.0  # seconds between lines


class Progress:
    """`update` is told of bytes as they are done; `echo` prints a line, above the bar."""

    def __init__(self, total: int | None, bar: "tqdm[object]", err: bool, unit: str) -> None:
        self._total, self._bar, self._out, self._unit = total, bar, sys.stderr if err else sys.stdout, unit
        self.done, self._told = 0, time.monotonic()

    def update(self, count: int) -> None:
        """`count` more bytes are done."""
        self.done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._bar.disable and now - self._told >= EVERY:
            self._told = now
            of = "" if self._total is None else f" of {self._total}"
            share = "" if self._total is None else f", {100 * self.done / max(1, self._total):.0f} %"
            print(f"isthmus: {self.done}{of} {self._unit}{share}", file=sys.stderr, flush=True)

    def echo(self, line: str) -> None:
        """Prints a line, at once."""
        self._bar.write(line, file=self._out)
        self._out.flush()


@contextmanager
def progress(total: int | None, *, err: bool = False, unit: str = "bytes") -> Iterator[Progress]:
    """Shows progress over `total` bytes, or what `unit` says, while the block runs; says if kernels must be compiled.

    err: lines go to standard error, as data go to standard output.
    """
    with (
        said_everywhere(),
        tqdm(total=total, unit="B" if unit == "bytes" else f" {unit}", unit_scale=True, disable=None) as bar,
    ):
        yield Progress(total, bar, err, unit)
