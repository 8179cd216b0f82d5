# SPDX-License-Identifier: Apache-2.0
"""Processes that examine models one at a time and are replaced when one takes too long or crashes."""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

Row = dict[str, Any]


class Worker:
    """A process, and the name that it is busy with."""

    def __init__(self, dtype: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, dtype), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()  # that it is ready, as imports take longer than most models
        self.name, self.since, self.late = "", 0.0, False

    def give(self, name: str) -> None:
        self.name, self.since = name, time.monotonic()
        self.pipe.send(name)

    def stop(self) -> None:
        """Lets it end by itself, or kills it if that takes long."""
        with suppress(OSError):
            self.pipe.send("")
        self.process.join(0 if self.late else 5)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def examine_all(names: Sequence[str], dtype: str, *, workers: int, limit: float) -> Iterator[Row]:
    """A row of each, as they are done. limit: seconds that one may take."""
    left = list(reversed(names))
    busy: list[Worker] = []
    try:
        while left or busy:
            while left and len(busy) < workers:
                busy.append(Worker(dtype))
                busy[-1].give(left.pop())
            wait([worker.pipe for worker in busy], timeout=1)
            for worker in list(busy):
                row = _row_of(worker, limit)
                if row is None:
                    continue
                yield row
                if worker.process.is_alive() and not worker.late and left:
                    worker.give(left.pop())
                else:
                    worker.stop()
                    busy.remove(worker)
    finally:
        for worker in busy:
            worker.stop()


def _row_of(worker: Worker, limit: float) -> Row | None:
    """What a worker has found, if it is done or has to be stopped."""
    if worker.pipe.poll():
        try:
            return worker.pipe.recv()
        except EOFError:
            worker.process.join()
            return {"name": worker.name, "outcome": "crashed", "reason": f"exit code {worker.process.exitcode}"}
    if time.monotonic() - worker.since > limit:
        worker.late = True
        return {"name": worker.name, "outcome": "timed out", "reason": f"more than {limit:.0f} s"}
    return None


def _work(pipe: Connection, dtype: str) -> None:
    import os
    import warnings

    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.filterwarnings("ignore")
    import torch
    import transformers

    from .comparing import examine
    from .diffusion import available

    torch.set_num_threads(1)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    if available():
        import diffusers

        diffusers.logging.set_verbosity(diffusers.logging.CRITICAL)
    pipe.send("ready")
    while name := pipe.recv():
        try:
            row = examine(name, getattr(torch, dtype))
        except Exception as error:  # of a kind that `examine` does not expect
            row = {"name": name, "outcome": "failed", "reason": f"{type(error).__name__}: {error}"[:300]}
        pipe.send(row)
