# SPDX-License-Identifier: Apache-2.0
"""Items from many requests in batches through threads."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger("isthmus.split")


class Waiting(NamedTuple):
    """An item, who waits for its result, and since when, in seconds of the loop's clock."""

    item: Any
    future: "asyncio.Future[Any]"
    since: float


class Stage(Generic[Item, Result]):
    """What `work` makes of items: of one key in a batch, at most `most`, in `workers` threads. Of one event loop.

    A batch begins once a thread is free and it is full, or its first item has waited for `wait` seconds; what comes
    while all threads work thus makes larger batches. The oldest comes first. work: gives a result for each item, or an
    exception that is raised for that one; what it raises is raised for all. told: called with the size of each batch
    and the seconds that it took.
    """

    def __init__(
        self, name: str, work: Callable[[list[Item]], Sequence[Result | Exception]], *, workers: int, most: int,
        wait: float = 0.0, key: Callable[[Item], Hashable] = lambda item: None,
        told: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:  # fmt: skip
        self._work, self._most, self._wait, self._key, self._told = work, most, wait, key, told
        self._name, self._free = name, workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"isthmus-{name}")
        self._groups: dict[Hashable, deque[Waiting]] = {}
        self._timer: asyncio.Handle | None = None

    def do(self, item: Item) -> "asyncio.Future[Result]":
        """The result of an item, once it is there."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(item, loop.create_future(), loop.time())
        group = self._groups.setdefault(self._key(item), deque())
        group.append(waiting)
        if self._free and (self._timer is None or len(group) == self._most):
            self._look_at(loop.call_soon(self._begin))  # after all that has come in this round of the loop
        return waiting.future

    def close(self) -> None:
        """Ends the threads once they have done what they are at."""
        self._pool.shutdown(wait=True)

    def _look_at(self, timer: asyncio.Handle | None) -> None:
        """At the batches again, at one time only."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer

    def _begin(self) -> None:
        """Begins the batches for which there are threads, and sees to it that the others are looked at in time."""
        self._look_at(None)
        loop = asyncio.get_running_loop()
        while self._free and self._groups:
            ready = loop.time() - self._wait
            due = [k for k, group in self._groups.items() if len(group) >= self._most or group[0].since <= ready]
            if not due:
                first = min(group[0].since for group in self._groups.values())
                self._look_at(loop.call_at(first + self._wait, self._begin))
                return
            key = min(due, key=lambda k: self._groups[k][0].since)
            group = self._groups[key]
            batch = [group.popleft() for _ in range(min(self._most, len(group)))]
            if not group:
                del self._groups[key]
            self._free -= 1
            running = loop.run_in_executor(self._pool, self._timed, [one.item for one in batch])
            running.add_done_callback(lambda done, batch=batch: self._end(batch, done))  # type: ignore[misc]

    def _timed(self, items: list[Item]) -> tuple[Sequence[Result | Exception], float]:
        begin = time.perf_counter()
        return self._work(items), time.perf_counter() - begin

    def _end(self, batch: list[Waiting], done: "asyncio.Future[tuple[Sequence[Result | Exception], float]]") -> None:
        self._free += 1
        results: Sequence[Result | Exception]
        try:
            results, seconds = done.result()
            self._told(len(batch), seconds)
        except Exception as error:
            if not isinstance(error, MemoryError):  # of which the answers tell
                log.exception("%s: a batch of %d failed", self._name, len(batch))
            results = [error] * len(batch)
        for one, result in zip(batch, results, strict=True):
            if one.future.done():  # nobody waits any more
                continue
            if isinstance(result, Exception):
                one.future.set_exception(result)
            else:
                one.future.set_result(result)
        self._begin()
