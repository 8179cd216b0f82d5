# SPDX-License-Identifier: Apache-2.0
"""The unit of work: the items of one shard to that shard, in whatever process."""

import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from isthmus.codecs.base import Codec, Latent
from isthmus.codecs.registry import load
from isthmus.datasets.settings import Settings
from isthmus.datasets.shards import of_format, shard_name
from isthmus.datasets.shards.info import PlaneSums, ShardInfo
from isthmus.datasets.sources import Found, Item, Source
from isthmus.datasets.storage import Place
from isthmus.datasets.views import views_of
from isthmus.errors import IsthmusError, UnwritableFileError
from isthmus.media import kinds
from isthmus.signals import AudioSignal, ImageSignal

GROUP = 64  # samples that are packed at once
NUMBERS = 1 << 24  # of latents that wait for that
WHOLE = 1 << 24  # samples of a sound beyond which it is encoded block by block
KINDS_COLUMNS = {
    "image": {"height": "int32", "width": "int32"},
    "audio": {"samples": "int64", "sample_rate": "int32"},
}


@dataclass(frozen=True)
class Job:
    """What all shards of a run share; it is sent to other processes. codec: what `load` takes there."""

    source: Source
    destination: Place
    settings: Settings
    codec: str
    columns: dict[str, str]
    device: str = "cpu"


@dataclass(frozen=True)
class Task:
    """One shard: its number, its items, and the digest of its line of the plan."""

    shard: int
    items: list[list[Any]]
    digest: str


@dataclass
class Done:
    """What became of a task."""

    shard: int
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
    start = time.perf_counter()
    torch.set_num_threads(1)  # processes are many; threads of each would wait for each other
    shard, noted = ShardBuilder(job, task), Journal(journal)
    try:
        for place, values in enumerate(task.items):
            noted.at(place)
            item = Item.unpack(values)
            if place in deadly:
                shard.lose(item, "the process that read it died, three times: damaged beyond what its reader bears?")
            else:
                shard.add(item)
        return shard.finish(time.perf_counter() - start)
    finally:
        noted.close()
        shard.close()


class ShardBuilder:
    """Rows of a shard as they come."""

    def __init__(self, job: Job, task: Task) -> None:
        self.job, self.task = job, task
        self.codec = _codec(job.codec, job.device)
        self.rows: list[dict[str, Any]] = []
        self.info = ShardInfo(task.shard, job.settings.codec, job.settings.digest, task.digest)
        self.warned: list[str] = []
        self._waiting: list[tuple[int, Latent]] = []  # row and latent
        self._numbers = 0
        self._scratch = tempfile.TemporaryDirectory(prefix="isthmus-")

    def close(self) -> None:
        self._scratch.cleanup()

    def lose(self, item: Item, why: str) -> None:
        self.info.lost.append((item.key, why))

    def add(self, item: Item) -> None:
        """Whatever an item is: rows, or a loss with its reason."""
        if item.broken:
            self.lose(item, item.broken)
            return
        before = len(self.rows), len(self._waiting)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self._encode(item)
            self.warned += [
                f"{item.key}: {w.message}" for w in caught if not issubclass(w.category, DeprecationWarning)
            ]
        except (UnwritableFileError, KeyboardInterrupt):
            raise
        except Exception as error:  # readers raise nearly any class for damaged files; the rest goes on
            del self.rows[before[0] :], self._waiting[before[1] :]
            told = str(error) if isinstance(error, (IsthmusError, ValueError)) else f"{type(error).__name__}: {error}"
            self.lose(item, " ".join(told.split()))
        if len(self._waiting) >= GROUP or self._numbers > NUMBERS:
            self._pack()

    def _encode(self, item: Item) -> None:
        found, settings = self.job.source.find(item), self.job.settings
        path = self._path(found)
        size = path.stat().st_size
        options = dict(settings.options)
        try:
            if self.codec.in_blocks:
                self._encode_sound(item, path, options)
            else:
                samples, facts = kinds.read(path, self.codec.kind, options)
                for view, image in views_of(samples, settings, item.key):
                    latent = self.codec.analyze(image, **facts, **options)
                    self._row(item, latent.spec.header.signal, view)
                    self._wait(latent)
        except IsthmusError as error:
            if path.parent == Path(self._scratch.name):
                raise type(error)(str(error).replace(str(path), item.key)) from error
            raise
        self.info.bytes_in += size

    def _path(self, found: Found) -> Path:
        if not isinstance(found.data, bytes):
            return Path(found.data)
        path = Path(self._scratch.name) / f"sample{found.suffix}"
        path.write_bytes(found.data)
        return path

    def _encode_sound(self, item: Item, path: Path, options: dict[str, Any]) -> None:
        """Short sounds at once, longer ones block by block: there is no limit to their length."""
        from isthmus.media.audio import open_sound

        sound = open_sound(path)
        if sound.samples is not None and sound.samples * sound.channels <= WHOLE:
            samples, facts = kinds.read(path, self.codec.kind, options)
            latent = self.codec.analyze(samples, **facts, **options)
            self._row(item, latent.spec.header.signal)
            self._wait(latent)
            return
        made, codec = BytesIO(), self.codec
        from isthmus.arrays.audio import to_audio
        from isthmus.codecs.walloc.audio.scale import Loudness

        loudness = Loudness(sound.channels)
        for block in sound.blocks():
            loudness.add(to_audio(block))
        codec.write(  # type: ignore[attr-defined]
            open_sound(path).blocks(), made, samples=loudness.samples, scale=loudness.scale(),
            sample_rate=sound.sample_rate, **options,
        )  # fmt: skip
        self._row(item, AudioSignal(sound.sample_rate, sound.channels, loudness.samples))
        self.rows[-1]["payload"] = made.getvalue()
        sums = dict(self.info.planes)
        frames: dict[str, int] = {}
        for latent in codec.open(made.getvalue()):
            for name, plane in latent.planes.items():
                sums[name] = PlaneSums.of(plane[None].numpy()).merged(sums.get(name))
                frames[name] = frames.get(name, 0) + plane.shape[-1]
        for name, length in frames.items():  # units have shapes of their own, which are not that of the whole
            whole, before = sums[name], self.info.planes.get(name)
            shape = [whole.channels, length]
            whole.shape = shape if before is None or before.shape == shape else None
        self.info.planes = sums

    def _row(self, item: Item, signal: Any, view: str = "") -> None:
        row: dict[str, Any] = {**item.columns, "key": item.key, "view": view, "label": item.label}
        if isinstance(signal, ImageSignal):
            row |= {"height": signal.height, "width": signal.width}
        elif isinstance(signal, AudioSignal):
            row |= {"samples": signal.samples, "sample_rate": signal.sample_rate}
        self.rows.append(row)

    def _wait(self, latent: Latent) -> None:
        self._waiting.append((len(self.rows) - 1, latent))
        self._numbers += sum(plane.numel() for plane in latent.planes.values())

    def _pack(self) -> None:
        if not self._waiting:
            return
        for (row, _), payload in zip(
            self._waiting, self.codec.pack_batch([latent for _, latent in self._waiting]), strict=True
        ):
            self.rows[row]["payload"] = payload
        for planes in _alike([latent for _, latent in self._waiting]):
            for name, stacked in planes.items():
                self.info.planes[name] = PlaneSums.of(stacked).merged(self.info.planes.get(name))
        self._waiting, self._numbers = [], 0

    def finish(self, seconds: float) -> Done:
        """Writes the shard."""
        self._pack()
        info, job = self.info, self.job
        info.count, info.bytes_out = len(self.rows), sum(len(row["payload"]) for row in self.rows)
        made = of_format(job.settings.format).write(self.rows, job.columns, info)
        job.destination.write(shard_name(info.shard, job.settings.format), made)
        return Done(info.shard, info.count, info.lost, info.bytes_in, info.bytes_out, seconds, self.warned)


def _alike(latents: list[Latent]) -> Iterator[dict[str, Any]]:
    """Planes of latents of one shape, stacked."""
    groups: dict[Any, list[Latent]] = {}
    for latent in latents:
        groups.setdefault(tuple(plane.shape for plane in latent.planes.values()), []).append(latent)
    for group in groups.values():
        yield {name: torch.stack([latent.planes[name] for latent in group]).numpy() for name in group[0].planes}
