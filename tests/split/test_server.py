# SPDX-License-Identifier: Apache-2.0
"""The server: what it answers, and what it refuses."""

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import isthmus
from isthmus.errors import MissingExtraError, RemoteError
from isthmus.models.heads import LatentInput
from isthmus.split.client import Client
from isthmus.split.server import Limits, open_server
from isthmus.split.server.serving import Serving
from isthmus.split.tail import Tail
from tests.codecs.bottlefit.cases import weights as small_bottleneck
from tests.split.conftest import CLASSES, connect, everything, head, save

Serve = Callable[..., Serving]


def test_predictions(serve: Serve, tail: Tail, streams: list[bytes]) -> None:
    server = serve()
    expected = tail.logits(torch.stack(tail.unpack(streams)[0]))

    def ask(place: int) -> None:
        with Client(server.url) as client:
            for _ in range(3):
                told = client.predict(streams[place], top=2, logits=True)
                assert told["logits"] == pytest.approx(expected[place].tolist(), abs=1e-5)
                assert [one["class"] for one in told["top"]] == [
                    CLASSES[number] for number in expected[place].topk(2).indices
                ]
                assert told["head"] == tail.hash and told["codec"] == tail.facts.codec

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    with Client(server.url) as client:
        assert len(client.predict(streams[0])["top"]) == 3
        health = client.health()
    assert health["ready"] and health["codec"] == tail.facts.codec and health["settings"]["crop"] == 32
    text = get(server, "/metrics")
    assert 'isthmus_requests_total{path="/predict",status="200"} 25' in text
    assert 'isthmus_seconds_count{stage="total"} 25' in text and "isthmus_queue_length 0" in text
    assert 'isthmus_batch_size_sum{stage="tail"} 25' in text and 'isthmus_batch_size_sum{stage="unpack"} 25' in text


def get(server: Serving, path: str, more: str = "") -> str:
    with connect(server) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n".encode())
        return everything(connection).decode()


def refused(server: Serving, data: bytes) -> tuple[int | None, str]:
    with Client(server.url, tries=1) as client, pytest.raises(RemoteError) as found:
        client.predict(data)
    return found.value.status, str(found.value)


def test_broken_foreign_and_oversized_streams(serve: Serve, streams: list[bytes]) -> None:
    server = serve(max_body=4000)
    status, told = refused(server, streams[0][:-2])
    assert status == 400 and "is cut" in told
    status, told = refused(server, b"GIF89a")
    assert status == 400 and "not an isthmus stream" in told
    status, told = refused(server, isthmus.load("walloc-image-f8c48").encode(np.zeros((32, 32, 3), np.uint8)))
    assert status == 409 and "sent: a stream of walloc-image-f8c48" in told and "expected: walloc-image-f8c12" in told
    status, told = refused(server, bytes(5000))
    assert status == 413 and "a body of 5000 bytes; at most 4000" in told
    chunk = b"7d0\r\n" + bytes(2000) + b"\r\n"
    with connect(server) as connection:  # without a length, of which no more is read than is taken
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
    with connect(server) as connection:
        connection.sendall(head(5000, "Expect: 100-continue\r\n"))
        answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 413") and b"100 Continue" not in answer
    assert "404" in get(server, "/docs") and "there are POST /predict" in get(server, "/predict")
    with Client(server.url + "/predict?top=0#", tries=1) as client, pytest.raises(RemoteError, match="404"):
        client.health()
    with connect(server) as connection:
        connection.sendall(b"POST /predict?top=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 422") and b"top=0: expected an integer from 1" in answer
    with Client(server.url) as client:  # and lives
        client.predict(streams[0])


def test_slow_and_half_closed_clients(serve: Serve, streams: list[bytes]) -> None:
    server, stream = serve(patience=0.3), streams[0]
    with connect(server) as slow, connect(server) as headless, connect(server) as silent:
        slow.sendall(head(len(stream)) + stream[:50])
        headless.sendall(b"POST /predict HTTP/1.1\r\nHos")
        begin = time.perf_counter()
        answer = everything(slow)
        assert answer.startswith(b"HTTP/1.1 408") and b"within 0.3 seconds" in answer
        assert everything(headless) == everything(silent) == b"" and time.perf_counter() - begin < 3
    with connect(server) as half:  # gone before its body is whole
        half.sendall(head(len(stream)) + stream[:50])
        half.shutdown(1)
        assert everything(half) == b""
    with connect(server) as half:  # all is said: the answer still comes
        half.sendall(head(len(stream), "Connection: close\r\n") + stream)
        half.shutdown(1)
        assert everything(half).startswith(b"HTTP/1.1 200")
    assert 'path="/predict",status="499"} 1' in get(server, "/metrics")


def once(server: Serving, stream: bytes) -> object:
    with Client(server.url, tries=1) as client:
        return client.predict(stream)["top"]


class Held:
    """A tail that computes nothing until it is let go."""

    def __init__(self, tail: Tail, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self._logits = threading.Event(), tail.logits
        monkeypatch.setattr(tail, "logits", self)

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        assert self.go.wait(10)
        return self._logits(latents)


def until(condition: Callable[[], bool]) -> None:
    end = time.perf_counter() + 10
    while not condition():
        assert time.perf_counter() < end
        time.sleep(0.01)


def test_a_full_queue_and_a_stop_that_loses_nothing(
    serve: Serve, tail: Tail, streams: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(tail, monkeypatch)
    server = serve(queue=3)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(once, server, stream) for stream in streams[:3]]
        until(lambda: "isthmus_queue_length 3" in get(server, "/metrics"))
        with connect(server) as connection:
            connection.sendall(head(5) + b"12345")
            answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 429") and b"retry-after: 1" in answer.lower()
        patient = Client(server.url, seed=0)
        again = pool.submit(patient.predict, streams[3])
        until(lambda: 'path="/predict",status="429"} 2' in get(server, "/metrics"))
        held.go.set()
        assert again.result()["top"] and all(one.result() for one in waiting)
        patient.close()
        held.go.clear()
        waiting = [pool.submit(once, server, stream) for stream in streams[:3]]
        until(lambda: "isthmus_queue_length 3" in get(server, "/metrics"))
        server.stop()
        time.sleep(0.3)
        with pytest.raises(OSError):
            connect(server)
        assert not any(one.done() for one in waiting)
        held.go.set()
        assert all(one.result() for one in waiting)
    assert server.answered == 7


def test_a_device_without_room_and_a_head_that_fails(
    serve: Serve, tail: Tail, streams: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    for error, expected, message in (
        (MemoryError("64 latents at once are too many for cuda"), 503, "too many for cuda"),
        (RuntimeError("mat1 and mat2"), 500, "the head fails on such latents: RuntimeError"),
    ):

        def fail(_: torch.Tensor, error: Exception = error) -> torch.Tensor:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(tail, "logits", fail)
            status, told = refused(server, streams[0])
            assert status == expected and message in told and "mat1" not in told
    with Client(server.url) as client:
        client.predict(streams[0])


def test_tokens(serve: Serve, streams: list[bytes]) -> None:
    server = serve(token="sesame")
    with Client(server.url, "sesame") as client:
        client.predict(streams[0])
    for wrong in ("Sesame", "sesam", None):
        with Client(server.url, wrong) as client, pytest.raises(RemoteError, match="401: no right token") as found:
            client.predict(streams[0])
        assert found.value.status == 401
        assert client.health()["ready"]
        client.close()
    assert get(server, "/metrics").startswith("HTTP/1.1 401")
    assert get(server, "/metrics", "Authorization: Bearer sesame\r\n").startswith("HTTP/1.1 200")


def test_a_flood_of_broken_streams_leaves_memory_flat(serve: Serve, streams: list[bytes]) -> None:
    server, process = serve(), psutil.Process()
    random = np.random.default_rng(0)

    def broken(number: int) -> bytes:
        found = bytearray(streams[number % 8])
        found[int(random.integers(len(found)))] ^= 1 + int(random.integers(255))
        return head(len(found)) + bytes(found)

    def flood(count: int) -> None:
        with ExitStack() as stack:
            connections = [stack.enter_context(connect(server)) for _ in range(25)]
            for _ in range(count // 250):
                for connection in connections:
                    connection.sendall(b"".join(broken(number) for number in range(10)))
                for connection in connections:
                    answers = b""
                    while answers.count(b"HTTP/1.1 4") < 10:
                        answers += connection.recv(1 << 16)

    flood(500)
    before = process.memory_info().rss
    flood(5000)
    assert process.memory_info().rss - before < 8 << 20
    assert json.loads(get(server, "/health").partition("\r\n\r\n")[2])["ready"]


def test_limits_that_serve_nobody_are_refused() -> None:
    for wrong in ({"max_batch": 0}, {"queue": -1}, {"patience": 0}):
        with pytest.raises(ValueError, match="expected more than 0"):
            Limits(**wrong)  # type: ignore[arg-type]


def test_the_extra_is_named_where_it_is_missing(tail: Tail, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("isthmus.split.server.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"needs the package uvicorn: pip install 'isthmus\[serve\]'"):
        open_server(tail, port=0)


def test_one_server_holds_several(
    serve: Callable[..., Serving], tail: Tail, streams: list[bytes], tmp_path: Path
) -> None:
    codec = isthmus.load(small_bottleneck())
    told = {"name": "codec.safetensors", "tables_hash": codec.tables_hashes, "weights_hash": codec.weights_hash}
    settings = {**tail.facts.settings, "codec": "codec.safetensors", "weights": codec.weights_hash}
    about = LatentInput(4, 2, (0.0,) * 4, (1.0,) * 4, 8)
    run = save(tmp_path / "small", input=about, codec=told, settings=settings, classes=["a", "b", "c"])
    (run / "codec.safetensors").write_bytes(Path(small_bottleneck()).read_bytes())
    other = save(tmp_path / "other", classes=["x", "y", "z"])
    server = serve({"linear": tail, "small": Tail.open(run), "other": Tail.open(other)})
    server.warm_up()
    sent = codec.encode(np.zeros((32, 32, 3), np.uint8))
    with Client(server.url) as client:
        assert {one["class"] for one in client.predict(streams[0])["top"]} == set(CLASSES)
        assert {one["class"] for one in client.predict(sent)["top"]} == {"a", "b", "c"}
        assert {one["class"] for one in client.predict(streams[0], run="other")["top"]} == {"x", "y", "z"}
        assert client.health()["runs"] == ["linear", "small", "other"]
        assert client.health("small")["codec"]["name"] == "codec.safetensors"
        for given, asked, status, message in (
            (streams[0], "small", 409, "sent: a stream of walloc-image-f8c12"),
            (streams[0], "none", 422, "run=none: there are linear, small, other"),
            (isthmus.encode(np.zeros((8, 8, 3), np.uint8)), None, 409, "expected one of linear: walloc-image-f8c12"),
            (streams[0][:9], None, 400, "400: "),
        ):  # fmt: skip
            with pytest.raises(RemoteError, match=message) as refused:
                client.predict(given, run=asked)
            assert refused.value.status == status
