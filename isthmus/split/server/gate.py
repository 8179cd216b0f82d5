# SPDX-License-Identifier: Apache-2.0
"""Who comes in, and what is counted of all that do."""

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from isthmus.split.server.metrics import Metrics
from isthmus.split.server.refusal import GONE, RefusalError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = "/health"  # without a token, as those who balance loads ask it
PATHS = ("/predict", "/metrics", OPEN)  # that are counted by name


class Gate:
    """An ASGI application before another. token: which requests must bear, if it is given."""

    def __init__(self, app: App, metrics: Metrics, token: str | None) -> None:
        self._app, self._metrics = app, metrics
        self._right = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status, path = time.perf_counter(), GONE, scope["path"]

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if path == OPEN or self._admits(scope):
                await self._app(scope, receive, watched)
            else:
                told = "no right token: send the header Authorization: Bearer TOKEN"
                await RefusalError(401, told, {"WWW-Authenticate": "Bearer"}).answer(scope, receive, watched)
        finally:
            self._metrics.request(path if path in PATHS else "other", status, time.perf_counter() - begin)

    def _admits(self, scope: Scope) -> bool:
        if self._right is None:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._right)  # in a time that tells nothing
