# SPDX-License-Identifier: Apache-2.0
"""Threads of our own compute alone, and nobody else's settings change."""

import multiprocessing
import threading

import pytest
import torch

from isthmus.inference import run_each


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
