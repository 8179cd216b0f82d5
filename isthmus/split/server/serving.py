# SPDX-License-Identifier: Apache-2.0
"""A server from its first to its last request."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
import uvicorn

from isthmus.split.server.app import build_app
from isthmus.split.server.limits import Limits
from isthmus.split.server.predicting import Predictions
from isthmus.split.server.protocol import protocol
from isthmus.split.server.tails import Tails
from isthmus.split.tail import Tail

IDLE = 60  # seconds that a connection may stay open between two requests
BACKLOG = 1024  # connections that wait to be accepted
USUAL_SIDE = 224  # of the image that is tried first, where the head's data set has no one size


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the caller's."""
        yield


class Serving:
    """Tails behind an address; see `isthmus.split.server.open_server`.

    url: where it is. answered: predictions so far that came to something.
    """

    def __init__(
        self, tails: Tail | Mapping[str, Tail], host: str, port: int, limits: Limits, token: str | None
    ) -> None:
        self._tails = Tails(tails)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            why = (error.strerror or str(error)).partition(" (")[0]
            raise ValueError(f"split serve: {host}, port {port}: {why}: choose others (--host, --port)") from error
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        self._predictions = Predictions(self._tails, limits)
        app = build_app(self._predictions, token, lambda: not self._server.should_exit)
        config = uvicorn.Config(
            app, http=protocol(limits.patience), ws="none", lifespan="on", log_level="warning", access_log=False,
            server_header=False, backlog=BACKLOG, timeout_keep_alive=IDLE,
        )  # fmt: skip
        self._server = _Server(config)

    @property
    def answered(self) -> int:
        return self._predictions.metrics.requests["/predict", 200]

    def warm_up(self) -> None:
        """Sends a grey image through all of each tail, so that no device waits for what is done once."""
        for tail in self._tails.by_name.values():
            side = tail.facts.settings.get("crop") or USUAL_SIDE
            stream = tail.codec.encode(np.full((side, side, 3), 128, np.uint8))
            latents, errors = tail.unpack([stream])
            for error in errors.values():
                raise error
            tail.logits(torch.stack(latents))

    def run(self) -> None:
        """Serves until `stop`; what was accepted by then is answered first."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """From any thread or a signal: no more connections are accepted, and `run` ends."""
        self._server.should_exit = True
