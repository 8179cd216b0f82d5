# SPDX-License-Identifier: Apache-2.0
"""What a process that forks must set right in its child, which has one thread and whatever the others held.

Workers of torch's DataLoader are forked on Linux, often while other threads of the parent decode.
"""

import os
import sys
import threading
from types import TracebackType
from weakref import WeakSet


class ForkLock:
    """`threading.Lock` as a context, free in a forked child whoever held it in the parent.

    What it guards must be whole at any time: a child may find it half done.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Lets go of it without asking."""
        self._lock = threading.Lock()


_LOCKS: "WeakSet[ForkLock]" = WeakSet()
_computed = _is_child = False


def torch_computes() -> None:
    """Told before torch may use OpenMP's threads: a forked child has none of those that its parent has started."""
    global _computed, _is_child
    _computed = True
    if _is_child:
        _is_child = False
        sys.modules["torch"].set_num_threads(1)


def _set_right() -> None:
    global _is_child
    for lock in list(_LOCKS):
        lock.renew()
    _is_child = True
    if _computed:
        torch_computes()
    compiler = sys.modules.get("numba.core.compiler_lock")
    if compiler is not None:  # another thread may have been compiling
        compiler.global_compiler_lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_set_right)
