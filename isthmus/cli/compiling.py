# SPDX-License-Identifier: Apache-2.0
"""The first run on a machine compiles kernels, which takes seconds that nobody would understand: it is said."""

import sys
from contextlib import AbstractContextManager

from numba.core import event


class _Compiling(event.Listener):  # type: ignore[misc]
    """Says so at the first kernel."""

    told = False

    def on_start(self, event: event.Event) -> None:
        if not self.told:
            print("isthmus: compiling kernels for this machine, once: some seconds", file=sys.stderr, flush=True)
        self.told = True

    def on_end(self, event: event.Event) -> None:
        pass


def said_once() -> AbstractContextManager[None]:
    """While this context is open, a line on standard error says when kernels are compiled."""
    return event.install_listener("numba:compile", _Compiling())  # type: ignore[no-any-return]
