# SPDX-License-Identifier: Apache-2.0
"""How workers begin: forked by a server that has imported what they need, where there is one, else each by itself.

The server has no threads and has computed nothing, so that its children are as good as spawned ones; torch is imported
once for all of them, beside the process that lists the source. This module imports nothing else, to be quick.
"""

from multiprocessing import get_all_start_methods, get_context
from typing import Any

PRELOADED = ["isthmus.datasets.engines.preloaded"]


def processes() -> Any:
    """The context of multiprocessing."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def begin() -> None:
    """Begins the server, whose imports take a second."""
    if processes().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        ensure_running()
