# SPDX-License-Identifier: Apache-2.0
"""What is said when kernels are compiled, which takes seconds that nobody would understand. It does not load numba."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LINE = "isthmus: compiling kernels for this machine, once: some seconds"
HOMELESS = (
    "isthmus: compiling kernels, some seconds in each process, as none of numba's cache folders can be written: "
    "set NUMBA_CACHE_DIR to one that can"
)

uncached: set[Callable[..., Any]] = set()  # functions that no cache will hold
_said: set[str] = set()
_everywhere = 0


@contextmanager
def said_everywhere() -> Iterator[None]:
    """Within it, where long work runs, the line is not for terminals alone."""
    global _everywhere
    _everywhere += 1
    try:
        yield
    finally:
        _everywhere -= 1


def announce(function: Callable[..., Any]) -> None:
    """Prints one line on standard error when the first kernel is compiled; that there is no cache, wherever it goes."""
    line = HOMELESS if function in uncached else LINE
    if line in _said:
        return
    if _everywhere or line == HOMELESS or (sys.stderr is not None and sys.stderr.isatty()):
        _said.add(line)
        print(line, file=sys.stderr, flush=True)
