# SPDX-License-Identifier: Apache-2.0
"""Latents of a whole data set in a stream: shards are read in turn, and shared out to the workers of all processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from isthmus.datasets.latents.batch import Sample, collate
from isthmus.datasets.latents.buckets import rank_and_world
from isthmus.datasets.latents.order import epoch_order, share, taken
from isthmus.datasets.latents.reader import Reader
from isthmus.datasets.latents.scale import Scaled
from isthmus.datasets.latents.sources import StoredSource
from isthmus.datasets.latents.stored.rows import StoredRows
from isthmus.datasets.shards.parquet import ROWS
from isthmus.datasets.storage import Place

GROUP = 256  # streams that are unpacked at once, at most
MOST_WORKERS = 1024
NOBODY = -1


class LatentIterableDataset(Scaled, IterableDataset[Sample]):
    """A data set of latents as a stream of the samples of `LatentDataset`: `DataLoader(data, batch_size=256)`.

    Every sample comes exactly once an epoch, whatever the number of processes (torch.distributed, or RANK and
    WORLD_SIZE) and of workers, and each reader has as many as the others, but for one. shuffle: the order of shards,
    and of samples within `buffer` of them, by `seed` and epoch; call `set_epoch` before each. group: how many streams
    are unpacked at once; None: 256, of long sounds fewer. path, codec, partial, columns, transform: as of
    `LatentDataset`; so are the errors. What lies on another machine is read by row groups, of which enough stay in
    memory for 2 * buffer rows.

    To go on after a stop: `state_dict`, `load_state_dict`.
    """

    _source: StoredSource

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shuffle: bool = True,
        buffer: int = 4096,
        seed: int = 0,
        codec: str | None = None,
        partial: bool = False,
        columns: Sequence[str] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        group: int | None = None,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        if buffer < 1 or (group is not None and group < 1):
            raise ValueError(f"buffer is {buffer}, group {group}: expected at least 1")
        place = Place(path)
        groups = (2 * buffer if shuffle else 0) // ROWS + 2 + (group or GROUP) // ROWS  # that are read from at a time
        rows = StoredRows(place, partial=partial, columns=columns, groups=groups)
        self._source = StoredSource(rows, Reader(place, rows.manifest, codec))
        self.path, self.transform, self.seed = os.fspath(path), transform, seed
        self.group = rows.at_once(GROUP) if group is None else group
        self.buffer = buffer if shuffle else None
        found = rank_and_world()
        self.rank, self.world = found[0] if rank is None else rank, found[1] if world is None else world
        # Shared with workers, which live on from epoch to epoch: epoch, workers of the state that was loaded (0: none),
        # then by worker whose part it reads first, and from which sample on.
        self._shared = torch.zeros(2 + 2 * MOST_WORKERS, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._shared[2:] = NOBODY
        self._reads, self._done = NOBODY, 0  # in this process

    def __len__(self) -> int:
        """Samples of this process in an epoch, of all its workers."""
        return sum(self._shares(1))

    def _shares(self, workers: int) -> list[int]:
        """Samples of each worker of this process."""
        spans = [share(len(self._source), self.rank * workers + w, self.world * workers) for w in range(workers)]
        return [last - first for first, last in spans]

    @property
    def epoch(self) -> int:
        return int(self._shared[0])

    def set_epoch(self, epoch: int) -> None:
        """Another order in each epoch, in workers that live on too; an epoch that is new begins at its beginning."""
        if epoch != self.epoch:
            self._shared[1], self._shared[2:] = 0, NOBODY
            self._done = 0
        self._shared[0] = epoch

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        reader, self._done = self._begin(worker, workers)
        self._reads, readers = reader, self.world * workers
        order = epoch_order(
            self._source.rows.starts, self.rank * workers + reader, readers, self.seed, self.epoch, self.buffer
        )
        for start in range(self._done, len(order), self.group):
            indices = order[start : start + self.group]
            batch = self._source.planes(indices)
            for planes, fact in zip(batch.each, self._source.facts(indices), strict=True):
                sample = {**planes, **fact}
                self._done += 1
                yield sample if self.transform is None else self.transform(sample)

    def _begin(self, worker: int, workers: int) -> tuple[int, int]:
        """Whose part a worker reads, and from which sample on: where the state that was loaded says so, once."""
        loaded = int(self._shared[1])
        if loaded and loaded != workers:
            raise ValueError(
                f"{self.path}: the state that was loaded is of {loaded} workers a process, now there are {workers}: go "
                "on with as many, or begin the epoch anew with set_epoch"
            )
        mine = self._shared[2 + 2 * worker : 4 + 2 * worker]
        reader, begin = mine.tolist()
        mine.fill_(NOBODY)
        return (worker, 0) if reader == NOBODY else (reader, begin)

    def state_dict(self, loader: DataLoader[Any] | None = None, batches: int = 0) -> dict[str, Any]:
        """Where it stands, as JSON values: `load_state_dict` of it in a new process goes on with the same rest.

        Of the loop itself, without workers: call it between two samples or batches. With a DataLoader, whose workers
        run ahead: give it and how many batches of this epoch, counted from its beginning, the training has taken.
        Within a worker (torchdata's StatefulDataLoader asks there): where that worker stands.
        """
        told = {"version": 1, "data": self._source.fingerprint, "epoch": self.epoch, "seed": self.seed,
                "buffer": self.buffer, "rank": self.rank, "world": self.world}  # fmt: skip
        info = get_worker_info()
        if loader is not None and info is None:
            workers = max(1, loader.num_workers)
            if loader.batch_size is None:
                given = taken(self._shares(workers), 1, batches, False)
            else:
                given = taken(self._shares(workers), loader.batch_size, batches, loader.drop_last)
            turn = batches % workers  # the worker that is asked next
            order = [(turn + w) % workers for w in range(workers)]
            return {**told, "workers": workers, "positions": {w: [r, given[r]] for w, r in enumerate(order)}}
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        reader = worker if self._reads == NOBODY else self._reads
        done = self._done
        if self._reads == NOBODY and int(self._shared[2 + 2 * worker]) != NOBODY:  # loaded, not begun
            reader, done = self._shared[2 + 2 * worker : 4 + 2 * worker].tolist()
        return {**told, "workers": workers, "positions": {worker: [reader, done]}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was asked: the next epoch that is iterated over is the rest of that one.

        With as many processes and workers as then, and the same data set, seed and buffer. Raises ValueError for a
        state of others.
        """
        if not isinstance(state, dict):
            raise TypeError(f"{self.path}: a state is a dict, got {type(state).__name__}")
        own = {"version": 1, "data": self._source.fingerprint, "seed": self.seed, "buffer": self.buffer,
               "rank": self.rank, "world": self.world}  # fmt: skip
        differing = [f"{k} {state.get(k)!r}, here {v!r}" for k, v in own.items() if state.get(k) != v]
        if differing:
            raise ValueError(f"{self.path}: a state of another reading: {'; '.join(differing)}")
        workers = state["workers"]
        if not 0 < workers <= MOST_WORKERS:
            raise ValueError(f"{self.path}: a state of {workers} workers, expected 1 to {MOST_WORKERS}")
        self._shared[0], self._shared[1] = state["epoch"], workers
        if get_worker_info() is None:  # a worker that is told its own state leaves those of others
            self._shared[2:] = NOBODY
        self._reads, self._done = NOBODY, 0
        for worker, (reader, done) in state["positions"].items():  # keys are text after JSON
            at = 2 + 2 * int(worker)
            self._shared[at], self._shared[at + 1] = reader, done

    collate = staticmethod(collate)
