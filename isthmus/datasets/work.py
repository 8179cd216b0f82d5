# SPDX-License-Identifier: Apache-2.0
"""The unit of work: the items of one shard to that shard, in whatever process."""

import os
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from isthmus.codecs.base import Codec
from isthmus.codecs.registry import load
from isthmus.datasets.rows import RowBuilder
from isthmus.datasets.settings import Settings
from isthmus.datasets.shards import shard_name
from isthmus.datasets.shards.info import ShardInfo
from isthmus.datasets.sources import Item, Source
from isthmus.datasets.storage import Place


@dataclass(frozen=True)
class Job:
    """What all shards of a run share; it is sent to other processes. codec: what `load` takes there."""

    source: Source
    destination: Place
    settings: Settings
    codec: str
    columns: dict[str, str]
    classes: list[str] | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Task:
    """One shard: its number, its items, and the digest of its line of the plan."""

    shard: int
    items: list[list[Any]]
    digest: str


@dataclass
class Done:
    """What became of a task: of its `items`, `count` rows (more than one of each, where there are views) and `lost`."""

    shard: int
    items: int
    count: int
    lost: list[tuple[str, str]]
    bytes_in: int
    bytes_out: int
    seconds: float
    warned: list[str] = field(default_factory=list)


class Journal:
    """Which item of a task its process is at, on the disk, so that one of which processes die can be named."""

    def __init__(self, path: str | None) -> None:
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def at(self, place: int) -> None:
        if self._file is not None:
            os.pwrite(self._file, b"%20d" % place, 0)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)

    @staticmethod
    def read(path: str) -> int | None:
        """The place that was noted last."""
        try:
            return int(Path(path).read_bytes() or b"-1")
        except (OSError, ValueError):
            return None


@lru_cache(maxsize=4)
def _codec(name: str, device: str) -> Codec:
    return load(name, device)


def build_shard(job: Job, task: Task, journal: str | None = None, deadly: frozenset[int] = frozenset()) -> Done:
    """Makes one shard and puts it in its place. deadly: items that processes have died of.

    Raises UnwritableFileError where the destination takes nothing, and what `load` raises.
    """
    start, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)  # processes are many; threads of each would wait for each other
    settings, noted = job.settings, Journal(journal)
    info = ShardInfo(task.shard, settings.codec, settings.digest, task.digest)
    rows = RowBuilder(job.source, settings, _codec(job.codec, job.device), info, job.classes)
    try:
        for place, values in enumerate(task.items):
            noted.at(place)
            item = Item.unpack(values)
            if place in deadly:
                rows.lose(item, "the process that read it died, three times: damaged beyond what its reader bears?")
            else:
                rows.add(item)
        job.destination.write(shard_name(info.shard, settings.format), rows.finish(job.columns))
    finally:
        noted.close()
        torch.set_num_threads(threads)
    spent = time.perf_counter() - start
    return Done(info.shard, len(task.items), info.count, info.lost, info.bytes_in, info.bytes_out, spent, rows.warned)
