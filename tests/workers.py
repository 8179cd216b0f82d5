# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.workers METHOD THREADS ROUNDS`: workers, started while another thread decodes and loads codecs.

A program of its own: forks take as long as their parent is large, and that of a whole suite is.
"""

import multiprocessing
import os
import sys
import threading
import time
from multiprocessing.process import BaseProcess

import numpy as np
import torch

import isthmus
from isthmus.codecs import registry

WORKERS, PATIENCE = 8, 60.0
NAME = "walloc-image-f8c12"


def work(data: bytes, expected: bytes) -> None:
    """What a worker does; its exit status is 0 if that is right."""
    decoded = isthmus.decode(data)
    right = isthmus.encode(decoded, codec=NAME) and decoded.numpy().tobytes() == expected
    os._exit(0 if right else 1)


def ended(workers: list[BaseProcess]) -> list[int | None]:
    until = time.monotonic() + PATIENCE
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
    return [worker.exitcode for worker in workers]


def main(method: str, threads: int, rounds: int) -> None:
    """Ends with status 1, and says what the workers did, where one of them was not right."""
    data = isthmus.encode(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), codec=NAME)
    stream = data, isthmus.decode(data).numpy().tobytes()
    stop = threading.Event()

    def keep_busy() -> None:
        count = 0
        while not stop.is_set():
            isthmus.decode(data)
            count += 1
            if count % 10 == 0:
                registry._loaded.pop((NAME, "cpu"), None)

    thread = threading.Thread(target=keep_busy)
    thread.start()
    torch.set_num_threads(threads)
    context = multiprocessing.get_context(method)
    found: list[int | None] = []
    for _ in range(rounds):
        workers: list[BaseProcess] = [context.Process(target=work, args=stream) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        found = ended(workers)
        if any(found):
            break
    stop.set()
    thread.join()
    if any(found):
        sys.exit(f"{method}, {threads} threads: workers ended with {found}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
