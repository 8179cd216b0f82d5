# SPDX-License-Identifier: Apache-2.0
"""Processes of this machine, spawned; one that dies is replaced, and what it worked at is done again.

Not concurrent.futures: its pool is lost with one process, and its processes outlive a parent that is killed.
"""

import contextlib
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from isthmus.datasets.engines.base import PATIENCE
from isthmus.datasets.engines.server import processes
from isthmus.datasets.work import Done, Job, Journal, Task, build_shard
from isthmus.errors import IsthmusError

GUARD = (
    'the processes end before they begin: call transcode within `if __name__ == "__main__":`, as Python\'s spawned '
    "processes need it, or with workers=0"
)


class Worker:
    """One process and the task it is at."""

    def __init__(self, job: Job, journal: Path) -> None:
        context = processes()
        self.journal, self.task, self.begun = journal, None, False
        for left in reversed(range(PATIENCE)):
            # One pipe a try: what a failed one has begun would take the next one's task with it when it ends.
            self.pipe, other = context.Pipe()
            self.process = context.Process(target=_work, args=(other, job, str(journal)), daemon=True)
            try:
                self.process.start()
                break
            except (EOFError, ConnectionError):  # the server that forks was killed just now; the next try begins one
                self.pipe.close()
                if not left:
                    raise RuntimeError("transcode: no process can be begun: what begins them is killed") from None
            finally:
                other.close()

    task: Task | None

    def give(self, task: Task, deadly: frozenset[int]) -> bool:
        """Whether the process still takes it."""
        self.journal.unlink(missing_ok=True)
        try:
            self.pipe.send((task, deadly))
        except OSError:
            return False
        self.task = task
        return True

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection, job: Job, journal: str) -> None:
    """What a process does until it is stopped, or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and says what to do
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # nobody is there any more
        pipe.send(None)
        while True:
            pipe.send(_answer(job, journal, *pipe.recv()))


def _answer(job: Job, journal: str, task: Task, deadly: frozenset[int]) -> Done | BaseException:
    try:
        return build_shard(job, task, journal, deadly)
    except (IsthmusError, ValueError, OSError) as error:
        return error
    except BaseException as error:  # which may not survive the way
        return RuntimeError(f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """workers: None takes as many as there are cores, 0 works in this process."""

    def __init__(self, workers: int | None) -> None:
        self.workers = cores() if workers is None else workers

    def run(self, job: Job, tasks: Iterable[Task]) -> Iterator[Done | tuple[Task, str]]:
        """See `Engine`."""
        if not self.workers or job.destination.of_this_process or job.source.of_this_process:
            for task in tasks:
                yield build_shard(job, task)
            return
        with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
            yield from Pool(job, Path(folder), self.workers).run(iter(tasks))


class Pool:
    """Workers, what they are at, and what they died of."""

    def __init__(self, job: Job, folder: Path, size: int) -> None:
        self.job, self.folder, self.size = job, folder, size
        self.workers: dict[Any, Worker] = {}  # by their pipes
        self.again: list[Task] = []
        self.died: Counter[tuple[int, int | None]] = Counter()  # by shard and item
        self.deadly: dict[int, set[int]] = {}
        self.still_born = 0
        self._made = 0

    def run(self, tasks: Iterator[Task]) -> Iterator[Done | tuple[Task, str]]:
        try:
            while True:
                self._hand_out(tasks)
                if not any(worker.task for worker in self.workers.values()):
                    return
                for pipe in connection.wait(list(self.workers)):
                    yield from self._heard(self.workers[pipe])
        finally:
            for worker in self.workers.values():
                worker.stop()

    def _hand_out(self, tasks: Iterator[Task]) -> None:
        """A task to everyone who has none; processes are begun as there are tasks for them."""
        while True:
            idle = next((w for w in self.workers.values() if w.task is None), None)
            if idle is None and len(self.workers) >= self.size:
                return
            task = self.again.pop() if self.again else next(tasks, None)
            if task is None:
                return
            worker = idle or self._begin()
            if not worker.give(task, frozenset(self.deadly.get(task.shard, ()))):
                self.again.append(task)
                self._bury(worker)

    def _begin(self) -> Worker:
        self._made += 1
        worker = Worker(self.job, self.folder / str(self._made))
        self.workers[worker.pipe] = worker
        return worker

    def _bury(self, worker: Worker) -> None:
        """Forgets one that died. Raises RuntimeError where several in a row died before they began."""
        del self.workers[worker.pipe]
        worker.stop()
        if not worker.begun:
            self.still_born += 1
            if self.still_born >= PATIENCE:
                raise RuntimeError(f"transcode: {GUARD}")

    def _heard(self, worker: Worker) -> Iterator[Done | tuple[Task, str]]:
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            if not worker.begun:
                self.again += [worker.task] if worker.task else []
            elif worker.task is not None:
                yield from self._died(worker.task, Journal.read(str(worker.journal)))
            return
        if answer is None:
            worker.begun, self.still_born = True, 0
            return
        worker.task = None
        if isinstance(answer, BaseException):
            raise answer
        yield answer

    def _died(self, task: Task, place: int | None) -> Iterator[tuple[Task, str]]:
        """A process that died at an item may have been killed for other reasons: three times at one item is none."""
        self.died[task.shard, place] += 1
        if self.died[task.shard, place] < PATIENCE:
            self.again.append(task)
        elif place is not None and place >= 0 and place not in self.deadly.get(task.shard, ()):
            self.deadly.setdefault(task.shard, set()).add(place)
            self.again.append(task)
        else:
            yield task, f"its process died {PATIENCE} times"
