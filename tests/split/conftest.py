# SPDX-License-Identifier: Apache-2.0
"""A small head with random weights, and servers of it in threads."""

import socket
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.models.heads import LatentInput, build_head
from isthmus.models.heads.saved import HeadFacts, save_head
from isthmus.split.server import Limits, open_server
from isthmus.split.server.serving import Serving
from isthmus.split.tail import Tail

CODEC, SIDE = "walloc-image-f8c12", 32
CLASSES = ["cat", "dog", "owl"]
DENSE = {  # of a head that no server takes
    "task": "dense", "head": "dense-s", "classes": None,
    "asked": {"targets": "values", "mean": [0.0] * 3, "std": [1.0] * 3},
}  # fmt: skip


@cache
def weights(head: str, about: LatentInput) -> dict[str, torch.Tensor]:
    return build_head(head, about, len(CLASSES)).state_dict()


def save(folder: Path, **changed: Any) -> Path:
    """A head of three classes that says something, though nobody taught it."""
    codec: Any = isthmus.load(CODEC)
    about = LatentInput(12, 2, (0.0,) * 12, (1.0,) * 12, 8)
    told = {
        "task": "classify", "head": "convnext-s", "input": about, "outputs": 3, "classes": CLASSES,
        "codec": {"name": CODEC, "tables_hash": codec.tables_hashes, "weights_hash": codec.weights_hash},
        "settings": {
            "codec": CODEC, "weights": codec.weights_hash, "kind": "image", "options": {"quality": 60}, "resize": 40,
            "crop": SIDE,
        },
    }  # fmt: skip
    facts = HeadFacts(**{**told, **changed})
    folder.mkdir(exist_ok=True)
    save_head(folder, facts, weights(facts.head, facts.input))
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("split") / "run")


@pytest.fixture(scope="session")
def tail(run_folder: Path) -> Tail:
    return Tail.open(run_folder)


@pytest.fixture(scope="session")
def streams() -> list[bytes]:
    """Of eight images, of qualities and both kinds of tables."""
    codec, random = isthmus.load(CODEC), np.random.default_rng(0)
    images = random.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    return [
        codec.encode(image, quality=40 + 5 * number, entropy=("context", "factorized")[number % 2])
        for number, image in enumerate(images)
    ]


@pytest.fixture
def serve(tail: Tail) -> Iterator[Callable[..., Serving]]:
    """Starts servers, of the `tail` unless another is given, and ends them."""
    begun = []

    def start(of: Tail = tail, token: str | None = None, **limits: Any) -> Serving:
        server = open_server(of, port=0, limits=Limits(**limits), token=token)
        thread = threading.Thread(target=server.run)
        thread.start()
        begun.append((server, thread))
        return server

    yield start
    for server, thread in begun:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()


def connect(server: Serving) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(size: int, more: str = "") -> bytes:
    """A request whose body is to follow."""
    return f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{more}\r\n".encode()


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    while part := connection.recv(1 << 16):
        found += part
    return found
