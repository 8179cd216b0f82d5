# SPDX-License-Identifier: Apache-2.0
"""Batches: of one key, full or late enough, with an error for each that has one."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from isthmus.split.server.stage import Stage


def test_batches_are_of_one_key_and_at_most_so_many() -> None:
    seen: list[list[int]] = []

    def work(items: list[int]) -> Sequence[int | Exception]:
        seen.append(items)
        return [ValueError("odd one") if item == 13 else item * 2 for item in items]

    async def run() -> list[int | BaseException]:
        stage = Stage("test", work, workers=1, most=4, wait=0.02, key=lambda item: item % 2)
        found = await asyncio.gather(*(stage.do(item) for item in range(14)), return_exceptions=True)
        stage.close()
        return found

    found = asyncio.run(run())
    assert found[:13] == [2 * item for item in range(13)] and isinstance(found[13], ValueError)
    assert all(len(items) <= 4 and len({item % 2 for item in items}) == 1 for items in seen)
    assert seen[:2] == [[0, 2, 4, 6], [1, 3, 5, 7]] and len(seen) == 4


def test_the_first_waits_no_longer_than_it_should() -> None:
    async def run() -> tuple[float, float]:
        stage = Stage("test", lambda items: items, workers=2, most=2, wait=0.1)
        begin = time.perf_counter()
        await stage.do(1)
        alone = time.perf_counter() - begin
        await asyncio.gather(stage.do(1), stage.do(2))
        stage.close()
        return alone, time.perf_counter() - begin - alone

    alone, full = asyncio.run(run())
    assert full < 0.09 < alone


def test_what_comes_while_threads_work_makes_one_batch(caplog: pytest.LogCaptureFixture) -> None:
    go, seen = threading.Event(), []

    def work(items: list[str]) -> list[str]:
        go.wait(5)
        seen.append(len(items))
        if "bad" in items:
            raise RuntimeError("no such layer")
        return items

    async def run() -> None:
        stage = Stage("test", work, workers=1, most=8)
        first = stage.do("first")
        await asyncio.sleep(0.02)
        rest = [stage.do("x") for _ in range(5)]
        rest[2].cancel()
        go.set()
        assert await first == "first"
        assert await asyncio.gather(*rest[:2]) == ["x", "x"]
        with pytest.raises(RuntimeError, match="no such layer"):
            await stage.do("bad")
        stage.close()

    asyncio.run(run())
    assert seen == [1, 5, 1] and "a batch of 1 failed" in caplog.text
