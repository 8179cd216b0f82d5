# SPDX-License-Identifier: Apache-2.0
"""Commands that are stopped: by Ctrl-C, or by the signal that `kill`, a shutdown or a closed terminal sends.

All end alike, as an exception, so that no half-written file is left; the exit status is 128 plus the signal's number.
"""

import signal
from types import FrameType

STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP
_received = int(signal.SIGINT)


class StoppedError(Exception):
    """Instead of KeyboardInterrupt; the message says what to do."""


def stop_as_interrupts_do() -> None:
    """From now on SIGTERM and SIGHUP raise KeyboardInterrupt; a SIGHUP that is ignored (nohup) stays so."""

    def stop(number: int, frame: FrameType | None) -> None:
        global _received
        _received = number
        for other in STOPPING:  # what cleans up is not to be stopped again
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in STOPPING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)


def stopped_status() -> int:
    """The exit status of a command that was stopped."""
    return 128 + _received
