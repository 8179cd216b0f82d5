# SPDX-License-Identifier: Apache-2.0
"""When a client asks again, and when it does not."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from isthmus.errors import RemoteError
from isthmus.split.client import Client

Answer = tuple[int, dict[str, str], bytes]


class Scripted(HTTPServer):
    """Gives answers in order, the last for ever; None closes the connection."""

    answers: list[Answer | None]
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            self.close_connection = True
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with Scripted(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


RIGHT: Answer = (200, {}, json.dumps({"top": []}).encode())


def test_busy_and_broken_servers_are_asked_again(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    scripted.answers = [(429, {"Retry-After": "2"}, b"{}"), None, (503, {}, b"no"), RIGHT]
    with Client(f"http://127.0.0.1:{scripted.server_port}", seed=1) as client:
        assert client.predict(b"x", top=3, logits=True) == {"top": []}
    assert scripted.asked == ["/predict?top=3&logits=1"] * 4
    assert 2 <= slept[0] <= 2.1 and 0.1 <= slept[1] <= 0.3 and 0.2 <= slept[2] <= 0.6
    again = list(slept)
    slept.clear()
    scripted.answers = [(429, {"Retry-After": "2"}, b"{}"), None, (503, {}, b"no"), RIGHT]
    with Client(f"http://127.0.0.1:{scripted.server_port}", seed=1) as client:
        client.predict(b"x")
    assert slept == again


def test_what_is_not_asked_again(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    url = f"http://127.0.0.1:{scripted.server_port}"
    for answer, message, count in (
        ((400, {}, b'{"error": "not a stream"}'), "400: not a stream$", 1),
        ((404, {}, b"<html>"), "404: Not Found$", 1),
        ((200, {}, b"<html>"), "answers no JSON", 1),
        ((503, {}, b'{"error": "full"}'), r"503: full \(after 3 tries\)", 3),
        (None, r"no answer: .*\(after 3 tries\)", 3),
    ):
        scripted.answers, scripted.asked = [answer], []
        with Client(url, tries=3) as client, pytest.raises(RemoteError, match=message) as found:
            client.predict(b"x")
        status = None if answer is None or answer[0] == 200 else answer[0]
        assert len(scripted.asked) == count and found.value.status == status


def test_addresses_that_are_none() -> None:
    for wrong in ("127.0.0.1:8080", "ftp://x", "http://"):
        with pytest.raises(ValueError, match="not the address of a server"):
            Client(wrong)
    with pytest.raises(ValueError, match="0 tries"):
        Client("http://127.0.0.1", tries=0)
