# SPDX-License-Identifier: Apache-2.0
"""The first tier of a just-in-time compiler: small work is done by plain twins of kernels that nobody has compiled yet.

Compiling the kernels of one small picture takes numba 20 s, its pixels take numpy 20 ms. A twin has the arguments of
its kernel, is written in numpy and Python, and leaves the same bits. Whoever has much work compiles soon, or loads what
is compiled: that takes time too, more than a few small pictures do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import thread_time
from typing import Any

from isthmus.kernels.compiled import is_cached

COMPILING, LOADING = 0.5, 0.01  # seconds of plain work a kernel and process, unless numba's cache holds it; if it does

_spent: dict[Any, float] = {}
_kernels_only = False


def pick(kernel: Any, twin: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """`kernel`, or its twin where that is sooner done. seconds: about what the twin takes for this work."""
    if not plain(kernel, seconds):
        return kernel  # type: ignore[no-any-return]

    def timed(*arguments: Any) -> Any:
        begin = thread_time()
        try:
            return twin(*arguments)
        finally:
            _spent[kernel] = _spent.get(kernel, 0.0) + thread_time() - begin

    return timed


@contextmanager
def kernels_only() -> Iterator[None]:
    """Within it every kernel is compiled when it is first called: for who measures what long work runs at."""
    global _kernels_only
    before, _kernels_only = _kernels_only, True
    try:
        yield
    finally:
        _kernels_only = before


def plain(kernel: Any, seconds: float) -> bool:
    """Whether so much work is better done without `kernel`, a function that numba compiles."""
    if _kernels_only or getattr(kernel, "overloads", True):  # NUMBA_DISABLE_JIT leaves functions, which have none
        return False
    budget = LOADING if _is_cached(kernel) else COMPILING
    return seconds <= budget / 2 and _spent.get(kernel, 0.0) + seconds <= budget


@cache
def _is_cached(kernel: Any) -> bool:
    return is_cached(kernel)
