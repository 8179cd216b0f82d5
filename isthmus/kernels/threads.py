# SPDX-License-Identifier: Apache-2.0
"""A small thread pool of our own for kernels that release the GIL.

numba's `prange` is not used: its threading layers do not survive a fork (DataLoader workers) or abort when two Python
threads enter them. Nothing starts at import; the pool is made at the first call with more than one thread, grows when
more are asked for, and is forgotten in a forked child, whose copies of the threads do not exist.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

SHARES = 4  # for each thread at least, or they would not end at about the same time
Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def _forget_pool() -> None:
    global _lock, _pool, _pool_size
    _lock, _pool, _pool_size = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forget_pool)


def _submit(work: Callable[[], None], size: int) -> None:
    """Raises RuntimeError where no thread can begin, as once the main thread has ended."""
    global _pool, _pool_size
    with _lock:  # a pool may not be replaced between finding it and handing it work
        if _pool is None or _pool_size < size:
            if _pool is not None:
                _pool.shutdown(wait=False)  # work already handed to it still finishes
            _pool, _pool_size = ThreadPoolExecutor(size, thread_name_prefix="isthmus"), size
        _pool.submit(work)


def run(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int = 1, *, neighbours: int = 1
) -> list[Result]:
    """`[function(item) for item in items]` on up to `threads` threads, the calling one included.

    Items are taken in order as threads become free; where there are many, `neighbours` that follow each other. The
    caller works through the items itself and waits only for helpers that have started, so nested calls cannot deadlock,
    and it does all of them where no thread can begin.
    The first exception is raised after running items end, and no further ones begin.

    Raises ValueError for `threads` below 1.
    """
    if threads < 1:
        raise ValueError(f"threads: got {threads}; expected 1 or more")
    helpers = min(threads, len(items)) - 1
    if helpers < 1:
        return [function(item) for item in items]
    results: dict[int, Result] = {}
    step = neighbours if len(items) >= SHARES * threads * neighbours else 1
    starts = iter(range(0, len(items), step))
    take = threading.Lock()
    failed = threading.Event()

    def work() -> None:
        while not failed.is_set():
            with take:
                start = next(starts, None)
            if start is None:
                return
            try:
                for index in range(start, min(start + step, len(items))):
                    if not failed.is_set():
                        results[index] = function(items[index])
            except BaseException:
                failed.set()
                raise

    def help_out(future: Future[None]) -> None:
        if future.set_running_or_notify_cancel():
            try:
                work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)

    futures: list[Future[None]] = []  # not the pool's: one whose thread cannot begin may be taken up by another
    try:
        with suppress(RuntimeError):  # then those that are there do the work
            for _ in range(helpers):
                futures.append(Future())
                _submit(partial(help_out, futures[-1]), threads - 1)
        work()
    finally:
        running = [future for future in futures if not future.cancel()]
        errors = [error for error in (future.exception() for future in running) if error is not None]
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(items))]
