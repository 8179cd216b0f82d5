# SPDX-License-Identifier: Apache-2.0
"""Networks on the CPU in threads of our own, each of which computes alone.

Torch's threads meet after every operation and wait for each other, for long where the machine is busy. Threads of our
own share no work; they have none of the modes (devices, autocast) that callers set for theirs; and what they compute
does not depend on how many there are.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

from isthmus.devices import usual_settings
from isthmus.forks import ForkLock, torch_computes

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 1.0  # seconds that an interrupted caller waits for a pool to begin, and to set right what it changed

_lock, _starting = ForkLock(), ForkLock()
_pools: dict[int, tuple[int, ThreadPoolExecutor]] = {}  # by process: a forked child has none of its parent's threads


def run_each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`[function(item) for item in items]` in inference mode, on as many threads as torch would use.

    The first exception is raised; items that have not begun are left out then. `function` MUST NOT call this. Where no
    thread can begin, as once the main thread has ended, the caller computes alone.
    """

    def one(item: Item) -> Result:
        with torch.inference_mode():
            return function(item)

    torch_computes()
    futures: list[Future[Result]] = []
    try:
        try:
            pool = _pool(torch.get_num_threads())
            for item in items:
                futures.append(pool.submit(one, item))
        except RuntimeError:
            with _alone():
                return [one(item) for item in items]
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _pool(size: int) -> ThreadPoolExecutor:
    """Raises RuntimeError where its threads cannot begin."""
    with _lock:
        there, pool = _pools.get(os.getpid(), (0, None))
        if pool is None or there != size:  # one that is replaced ends with its last user
            pool = _begin(size)
            _pools.clear()
            _pools[os.getpid()] = size, pool
        return pool


def _begin(size: int) -> ThreadPoolExecutor:
    """A pool all of whose threads have begun. Raises RuntimeError where they cannot."""
    made: Future[ThreadPoolExecutor] = Future()

    def begin() -> None:
        with _starting:
            others = torch.get_num_threads()  # a new thread's is that of all that begin from now on
            pool = ThreadPoolExecutor(size, thread_name_prefix="isthmus-torch", initializer=_compute_alone)
            begun = threading.Barrier(size + 1)
            failed: RuntimeError | None = None
            try:
                for _ in range(size):  # each waits, so that all have begun
                    pool.submit(begun.wait)
                begun.wait()
            except RuntimeError as error:
                begun.abort()
                pool.shutdown()  # waits for those that have begun, which set the number too
                failed = error
            finally:
                torch.set_num_threads(others)
        made.set_exception(failed) if failed else made.set_result(pool)

    # In a thread of its own: no signal ends it half way, which would leave all later threads of the process alone.
    try:
        threading.Thread(target=begin, name="isthmus-torch-start").start()
        return made.result()
    except RuntimeError:
        raise
    except BaseException:
        wait([made], PATIENCE)
        raise


def _compute_alone() -> None:
    """Gives the calling thread one of torch's threads."""
    torch.get_num_threads()  # a thread's first question sets its number, which would undo what follows
    torch.set_num_threads(1)  # for this thread, and for all that begin from now on


@contextmanager
def _alone() -> Iterator[None]:
    """The calling thread as one of the pool's, within it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with usual_settings():
            yield
    finally:
        torch.set_num_threads(before)
