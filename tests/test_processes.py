# SPDX-License-Identifier: Apache-2.0
"""Workers that are forked or spawned, also while other threads of the parent decode and load: none waits for ever.

ISTHMUS_ROUNDS: how often the workers are started; 50 times takes ten minutes, so the suite does so less often.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import isthmus
from isthmus.forks import ForkLock, first_use
from isthmus.media.image import write_image

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
ROUNDS = {"fork": 10, "spawn": 1}
NAME = "walloc-image-f8c12"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]


@pytest.fixture(scope="module")
def stream() -> tuple[bytes, bytes]:
    data = isthmus.encode(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), codec=NAME)
    return data, isthmus.decode(data).numpy().tobytes()


@pytest.mark.parametrize(("method", "threads"), [("fork", 1), ("fork", 2), ("spawn", 2)])
def test_workers(method: str, threads: int) -> None:
    """torch's own threads are started in the parent, too."""
    rounds = os.environ.get("ISTHMUS_ROUNDS", ROUNDS[method])
    command = [sys.executable, "-W", "ignore", "-m", "tests.workers", method, str(threads), str(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_lock_is_free_in_a_child() -> None:
    lock = ForkLock()
    with lock:
        child = os.fork()
        if child == 0:
            lock._lock.acquire(timeout=10)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert not lock._lock.acquire(blocking=False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_fork_waits_for_first_uses() -> None:
    held, done = threading.Event(), threading.Event()

    def use() -> None:
        with first_use:
            held.set()
            time.sleep(0.3)
            done.set()

    thread = threading.Thread(target=use)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        with first_use:
            os._exit(0 if done.is_set() else 1)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
    with first_use:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_fork_within_leaves_both_as_they_should_be() -> None:
    with first_use, ForkLock():
        child = os.fork()
    if child == 0:
        with first_use:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert first_use._lock.acquire(blocking=False)
    first_use._lock.release()


FIRST = """
import os, sys, threading, time, isthmus
data = bytes.fromhex(sys.argv[1])

def work():
    isthmus.decode(isthmus.encode(sys.argv[3], codec="walloc-image-f8c12"))
    isthmus.decode(data)

thread = threading.Thread(target=work)
thread.start()
time.sleep(float(sys.argv[2]))
child = os.fork()
if child == 0:
    work()
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
thread.join()
os._exit(status)
"""


@pytest.mark.parametrize("delay", [0.0, 0.1, 2.0])  # nothing is there yet; torch is being imported; then the rest
def test_a_fork_while_another_thread_works_for_the_first_time(
    delay: float, stream: tuple[bytes, bytes], tmp_path: Path
) -> None:
    write_image(tmp_path / "x.png", np.zeros((32, 32, 3), np.uint8))
    command = [sys.executable, "-W", "ignore", "-c", FIRST, stream[0].hex(), str(delay), str(tmp_path / "x.png")]
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 0


def test_batches_of_workers_of_torch(stream: tuple[bytes, bytes]) -> None:
    """As most who train start them."""

    class Streams(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return 12

        def __getitem__(self, place: int) -> torch.Tensor:
            return isthmus.load(NAME).unpack(stream[0]).dequantize()["y"]  # type: ignore[no-any-return]

    wanted = isthmus.load(NAME).unpack(stream[0]).dequantize()["y"]
    for batch in torch.utils.data.DataLoader(Streams(), batch_size=4, num_workers=2):
        assert batch.shape[0] == 4 and (batch == wanted).all()


TORCH = """
import os, sys, isthmus, torch
torch.set_num_threads(2)
torch.randn(3_000_000).exp().sum()
child = os.fork()
if child == 0:
    isthmus.decode(bytes.fromhex(sys.argv[1]))
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_after_torch_has_started_its_threads_without_us(stream: tuple[bytes, bytes]) -> None:
    command = [sys.executable, "-W", "ignore", "-c", TORCH, stream[0].hex()]
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 0
