# SPDX-License-Identifier: Apache-2.0
"""What a process that forks must set right in its child, which has one thread and whatever the others held.

Workers of torch's DataLoader are forked on Linux, often while other threads of the parent decode.
"""

import os
import sys
import threading
from collections.abc import Callable
from operator import attrgetter
from types import TracebackType
from typing import Any
from weakref import WeakSet

_locks: "WeakSet[ForkLock]" = WeakSet()
_computed = _is_child = False


class ForkLock:
    """`threading.Lock` as a context, free in a forked child whoever held it in the parent.

    What it guards must be whole at any time: a child may find it half done.
    """

    _make: Callable[[], Any] = threading.Lock

    def __init__(self) -> None:
        self._lock = self._make()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Lets go of it without asking."""
        self._lock = self._make()


class FirstUse(ForkLock):
    """A lock that a fork waits for: what is done under it imports modules, and takes other locks that nobody renews.

    A child would wait for ever for a module that another thread of its parent was importing. There is one such lock, so
    that none is waited for by who holds another.
    """

    _make = threading.RLock
    PATIENCE = 20.0  # seconds; what holds the lock might wait for the thread that forks

    def __init__(self) -> None:
        super().__init__()
        self._hooked = self._held = False

    def __enter__(self) -> None:
        if not self._hooked and hasattr(os, "register_at_fork"):
            self._hooked = True
            # Its own hook takes a lock that imports ask for, so that it must come after ours: the last one comes first.
            import concurrent.futures.thread  # noqa: F401

            os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self.renew)
        super().__enter__()

    def _before(self) -> None:
        self._held = self._lock.acquire(timeout=self.PATIENCE)

    def _after(self) -> None:
        if self._held:
            self._lock.release()


first_use = FirstUse()


def torch_computes() -> None:
    """Told before torch may use OpenMP's threads: a forked child has none of those that its parent has started."""
    global _computed, _is_child
    _computed = True
    if _is_child:
        _is_child = False
        sys.modules["torch"].set_num_threads(1)


def _set_right() -> None:
    global _is_child
    for lock in list(_locks):
        lock.renew()
    _is_child = True
    if _computed:
        torch_computes()
    # Another thread may have been compiling.
    for module, name in ("numba.core.compiler_lock", "global_compiler_lock"), ("llvmlite.binding.ffi", "lib._lock"):
        found = sys.modules.get(module)
        if found is not None:
            attrgetter(name)(found)._lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_set_right)
