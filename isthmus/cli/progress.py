# SPDX-License-Identifier: Apache-2.0
"""Progress of a command over bytes or samples; it says first if kernels must be compiled."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from isthmus.kernels.announcement import said_everywhere
from isthmus.progress import Progress


@contextmanager
def progress(total: int | None, *, err: bool = False, unit: str = "bytes") -> Iterator[Progress]:
    """Shows progress over `total` bytes, or what `unit` says, while the block runs.

    err: lines go to standard error, as data go to standard output.
    """
    with said_everywhere(), Progress(total, unit, out=sys.stderr if err else sys.stdout) as shown:
        yield shown
