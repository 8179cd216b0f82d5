# SPDX-License-Identifier: Apache-2.0
"""Commands that are stopped: by Ctrl-C, or by the signal that `kill`, a shutdown or a closed terminal sends.

All end alike, as an exception, so that no half-written file is left; the exit status is 128 plus the signal's number.
What ends by being stopped, a recording, is told of the first signal instead, and stopped by the second.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP
_received = int(signal.SIGINT)


class StoppedError(Exception):
    """Instead of KeyboardInterrupt; the message says what is there, or what to do."""


def stop_as_interrupts_do() -> None:
    """From now on SIGTERM and SIGHUP raise KeyboardInterrupt; a SIGHUP that is ignored (nohup) stays so."""
    for number in STOPPING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    _receive(number)
    for other in STOPPING:  # what cleans up is not to be stopped again
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def _receive(number: int) -> None:
    global _received
    _received = number


@contextmanager
def told_first(end: Callable[[], None]) -> Iterator[None]:
    """Within the block the first signal calls `end`, the second stops as ever; those that are ignored stay so."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOPPING)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(number: int, frame: FrameType | None) -> None:
        restore()
        _receive(number)
        end()

    for number in before:
        signal.signal(number, first)
    try:
        yield
    finally:
        restore()


def stopped_status() -> int:
    """The exit status of a command that was stopped."""
    return 128 + _received
