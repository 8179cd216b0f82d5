# SPDX-License-Identifier: Apache-2.0
"""What a device uses to ask a server of `isthmus split serve`; it needs no package beside Python's own."""

import json
import random
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from isthmus.errors import RemoteError

AGAIN = (429, 502, 503, 504)  # the server is there and may answer later
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds


class Client:
    """One connection to a server, kept open; a thread of its own each.

    url: as http://127.0.0.1:8080. token: what the server was started with. timeout: seconds that one try may take to
    connect, and to answer. tries: of a request, as long as the server is busy or away; pauses double and differ at
    random by `seed`, or are what the server asks for. Raises ValueError for a URL that is none.
    """

    def __init__(
        self, url: str, token: str | None = None, timeout: float = 10.0, *, tries: int = 6, seed: int | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r}: not the address of a server, expected such as http://127.0.0.1:8080")
        if tries < 1:
            raise ValueError(f"client: {tries} tries, expected 1 or more")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)
        self.url, self._path, self._tries = url, parts.path.rstrip("/"), tries
        self._headers = {"Content-Type": "application/octet-stream"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._random = random.Random(seed)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; the next request begins another."""
        self._connection.close()

    def predict(
        self, data: bytes, *, top: int | None = None, logits: bool = False, run: str | None = None
    ) -> dict[str, Any]:
        """What the server's head says of a stream: `top` classes with their shares, hashes, and all logits if asked.

        run: name of the head, where several are of one codec.
        Raises RemoteError where the server refuses the stream, or stays away.
        """
        return self._ask("POST", _path("/predict", top=top, logits=1 if logits else None, run=run), data)

    def health(self, run: str | None = None) -> dict[str, Any]:
        """Whether the server is ready, its model, and the codec and settings that it reads. Raises RemoteError."""
        return self._ask("GET", _path("/health", run=run))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        for number in range(1, self._tries + 1):
            asked: float | None = None
            try:
                self._connection.request(method, self._path + path, body, self._headers)
                answer = self._connection.getresponse()
                content = answer.read()
            except (OSError, HTTPException) as error:
                self.close()
                problem = RemoteError(f"{self.url}: no answer: {error or type(error).__name__}")
            else:
                if answer.status == 200:
                    return self._read(content)
                problem = RemoteError(f"{self.url}: {_reason(answer, content)}", answer.status)
                if answer.status not in AGAIN:
                    raise problem
                asked = _seconds(answer.headers.get("Retry-After"))
            if number < self._tries:
                time.sleep(self._pause(number, asked))
        raise RemoteError(f"{problem} (after {self._tries} tries)", problem.status)

    def _read(self, content: bytes) -> dict[str, Any]:
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RemoteError(f"{self.url}: answers no JSON: is it a server of isthmus?")
        return found

    def _pause(self, number: int, asked: float | None) -> float:
        """Seconds before the next try: what the server asks for and a little more, so that not all come at once."""
        usual = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (number - 1))
        if asked is not None:
            return min(LONGEST_PAUSE, asked) + usual * self._random.random()
        return usual * (0.5 + self._random.random())


def _path(path: str, **asked: Any) -> str:
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"{path}?{query}" if query else path


def _seconds(told: str | None) -> float | None:
    return float(told) if told and told.isascii() and told.isdigit() else None


def _reason(answer: HTTPResponse, content: bytes) -> str:
    try:
        told = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        told = answer.reason
    return f"{answer.status}: {told}"
