# SPDX-License-Identifier: Apache-2.0
"""What a process that forks must set right in its child, which has one thread and whatever the others held.

Workers of torch's DataLoader are forked on Linux, often while other threads of the parent decode.
"""

# For its own hooks, which take locks that imports ask for: hooks run in reverse, so that ours must be registered later.
import concurrent.futures.thread  # noqa: F401
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any
from weakref import WeakSet

PATIENCE = 20.0  # seconds that a fork waits: who holds a lock might wait for the thread that forks
NUMBA, LLVM = ("numba.core.compiler_lock", "global_compiler_lock"), ("llvmlite.binding.ffi", "lib._lock")

_locks: "WeakSet[ForkLock]" = WeakSet()
_held = threading.local()
_times: set[str] = set()
_computed = _is_child = False


class ForkLock:
    """A lock as a context, free in a forked child whoever held it in the parent.

    What it guards must be whole at any time: a child may find it half done. make: `threading.Lock` or `RLock`.
    """

    def __init__(self, make: Callable[[], Any] = threading.Lock) -> None:
        self._make = make
        self._lock = make()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        with suppress(RuntimeError):  # a child that was forked within finds it free
            self._lock.release()

    def renew(self) -> None:
        """Lets go of it without asking."""
        self._lock = self._make()


# What is done under it imports modules, and takes other locks that nobody renews: a child would wait for ever for a
# module that another thread of its parent was importing. So forks wait for it. There is one, to be taken first.
first_use = ForkLock(threading.RLock)


@contextmanager
def first_time(what: str) -> Iterator[None]:
    """`first_use`, until this was done once in the process."""
    if what in _times:
        yield
        return
    with first_use:
        yield
        _times.add(what)


def torch_computes() -> None:
    """Told before torch may use OpenMP's threads: a forked child has none of those that its parent has started."""
    global _computed, _is_child
    _computed = True
    if _is_child:
        _is_child = False
        sys.modules["torch"].set_num_threads(1)


def _of_others(place: tuple[str, str]) -> Any:
    """An object that another package guards with its attribute `_lock`; None where that is not loaded."""
    found = sys.modules.get(place[0])
    for name in place[1].split("."):
        found = getattr(found, name, None)
    return found


def _wait() -> None:
    """For first uses, and for numba, which would find a compilation of its parent half done."""
    until, _held.locks = time.monotonic() + PATIENCE, []
    for owner in (first_use, _of_others(NUMBA)):
        if owner is not None and owner._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            _held.locks.append(owner._lock)


def _go_on() -> None:
    while _held.locks:
        _held.locks.pop().release()


def _set_right() -> None:
    global _is_child
    for lock in list(_locks):
        lock.renew()
    for place in (NUMBA, LLVM):
        owner = _of_others(place)
        if owner is not None:
            owner._lock = threading.RLock()
    _is_child = True
    if _computed:
        torch_computes()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_set_right)
