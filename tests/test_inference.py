# SPDX-License-Identifier: Apache-2.0
"""Threads of our own compute alone, and nobody else's settings change."""

import multiprocessing
import signal
import subprocess
import sys
import threading

import pytest
import torch

from isthmus.inference import run_each
from isthmus.kernels import threads


def threads_of_another() -> int:
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    return found[0]


@pytest.fixture
def three_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_each_computes_alone_and_others_do_not(three_threads: None) -> None:
    seen = run_each(lambda _: (torch.get_num_threads(), torch.is_inference_mode_enabled()), range(20))
    assert seen == [(1, True)] * 20
    assert torch.get_num_threads() == threads_of_another() == 3 and not torch.is_inference_mode_enabled()
    torch.set_num_threads(2)
    assert run_each(lambda _: torch.get_num_threads(), range(9)) == [1] * 9
    assert torch.get_num_threads() == threads_of_another() == 2


def test_modes_of_the_caller_do_not_reach_them() -> None:
    with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        product = run_each(lambda n: torch.ones(n, n) @ torch.ones(n, n), [2, 3])
    assert [p.dtype for p in product] == [torch.float32] * 2 and product[1].tolist() == [[3.0] * 3] * 3


def test_the_first_exception_is_raised() -> None:
    def one(n: int) -> int:
        return 6 // n

    assert run_each(one, []) == [] and run_each(one, [1, 2, 3]) == [6, 3, 2]
    with pytest.raises(ZeroDivisionError):
        run_each(one, [1, 0, 2, 0])


def _in_child(results: object) -> None:
    results.put([t.tolist() for t in run_each(lambda n: torch.ones(64, n) @ torch.ones(n, 1), [1, 2])])  # type: ignore[attr-defined]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
def test_forked_children_have_threads_of_their_own() -> None:
    run_each(torch.ones, [4, 4])
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_in_child, args=(results,))
    child.start()
    assert results.get(timeout=60) == [[[1.0]] * 64, [[2.0]] * 64]
    child.join(60)
    assert child.exitcode == 0


LATE = """
import atexit, threading, time
import torch
from isthmus.inference import run_each
from isthmus.kernels import threads

def late():
    torch.set_num_threads(2)
    while threading.main_thread().is_alive() and threading.current_thread() is not threading.main_thread():
        time.sleep(0.01)
    time.sleep(0.2)
    assert threads.run(abs, range(9), 2) == run_each(abs, range(9)) == list(range(9))
    assert run_each(lambda _: (torch.get_num_threads(), torch.is_inference_mode_enabled()), [1]) == [(1, True)]
    assert torch.get_num_threads() == 2
    print("right")

threading.Thread(target=late).start()
atexit.register(late)
"""


def test_when_the_main_thread_has_ended_the_caller_computes_alone() -> None:
    """Pools take nothing more then; threads that are not daemons go on, and handlers of the exit are yet to come."""
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("right\nright\n", "")


def test_threads_that_cannot_begin(three_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, begun = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        begun.append(thread)
        if len(begun) > 2:
            raise RuntimeError("can't start new thread")
        begin(thread)

    torch.set_num_threads(4)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        assert run_each(lambda n: (n, torch.get_num_threads()), range(9)) == [(n, 1) for n in range(9)]
        assert threads.run(abs, range(99), 60) == list(range(99))
    assert torch.get_num_threads() == threads_of_another() == 4
    assert run_each(abs, range(9)) == list(range(9))


INTERRUPTED = """
import signal, threading, time
import torch
from isthmus import inference

alone, interrupted = inference._compute_alone, threading.Event()

def slowly():
    if not interrupted.is_set():
        interrupted.set()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    time.sleep(0.2)
    alone()

torch.set_num_threads(3)
inference._compute_alone = slowly
try:
    inference.run_each(abs, range(9))
except KeyboardInterrupt:
    print("interrupted")
inference._compute_alone = alone
seen = []
other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
other.start()
other.join()
print(torch.get_num_threads(), *seen, *inference.run_each(lambda _: torch.get_num_threads(), range(3)))
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads on this system")
def test_an_interrupt_while_threads_begin_leaves_none_of_others_alone() -> None:
    """In a process of its own: an interrupt that comes late would end the whole run of the tests."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("interrupted\n3 3 1 1 1\n", "")
