# SPDX-License-Identifier: Apache-2.0
"""Connections of clients that are slow, or say that they are done sending."""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

MOST_HEAD = 1 << 16  # bytes of a request before its body


def protocol(patience: float) -> type[asyncio.Protocol]:
    """uvicorn's, which closes connections whose request has no whole head within `patience` seconds.

    A client that has asked and closes its half of the connection still gets its answer.
    """

    class PatientProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        _due: asyncio.TimerHandle | None = None
        _head = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait(0)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_between:
                self._wait(len(data))
            else:
                self._stop_waiting()

        def eof_received(self) -> bool:
            return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        @property
        def _is_between(self) -> bool:
            """Whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def _wait(self, size: int) -> None:
            self._head += size
            if self._due is None:
                self._due = self.loop.call_later(patience, self._give_up)
            is_rest = self.cycle is not None and self.cycle.more_body  # of a body that was refused
            if self._head > MOST_HEAD and not is_rest:
                self.transport.close()

        def _stop_waiting(self) -> None:
            self._head = 0
            if self._due is not None:
                self._due.cancel()
                self._due = None

        def _give_up(self) -> None:
            self._due = None
            if self._is_between:
                self.transport.close()

    return PatientProtocol
