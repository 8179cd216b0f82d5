# SPDX-License-Identifier: Apache-2.0
"""Networks on the CPU in threads of our own, each of which computes alone.

Torch's threads meet after every operation and wait for each other, for long where the machine is busy. Threads of our
own share no work; they have none of the modes (devices, autocast) that callers set for theirs; and what they compute
does not depend on how many there are.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from isthmus.forks import ForkLock, torch_computes

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = ForkLock()
_pools: dict[int, tuple[int, ThreadPoolExecutor]] = {}  # by process: a forked child has none of its parent's threads


def run_each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`[function(item) for item in items]` in inference mode, on as many threads as torch would use.

    The first exception is raised; items that have not begun are left out then. `function` MUST NOT call this.
    """

    def one(item: Item) -> Result:
        with torch.inference_mode():
            return function(item)

    torch_computes()
    pool = _pool(torch.get_num_threads())
    futures = [pool.submit(one, item) for item in items]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _pool(size: int) -> ThreadPoolExecutor:
    with _lock:
        there, pool = _pools.get(os.getpid(), (0, None))
        if pool is None or there != size:  # one that is replaced ends with its last user
            pool = _begin(size)
            _pools.clear()
            _pools[os.getpid()] = size, pool
        return pool


def _begin(size: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(size, thread_name_prefix="isthmus-torch", initializer=_compute_alone)
    begun = threading.Barrier(size + 1)
    try:
        for _ in range(size):  # each waits, so that all have begun
            pool.submit(begun.wait)
        begun.wait()
    except BaseException:
        begun.abort()
        raise
    finally:
        torch.set_num_threads(size)  # for threads that begin from now on
    return pool


def _compute_alone() -> None:
    """Gives the calling thread one of torch's threads."""
    torch.get_num_threads()  # a thread's first question sets its number, which would undo what follows
    torch.set_num_threads(1)  # for this thread, and for all that begin from now on
