# SPDX-License-Identifier: Apache-2.0
"""Every checksum of a data set of latents, and whether what its parts say of each other is so."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from isthmus.bitstream.reader import read_chunks
from isthmus.datasets import shards
from isthmus.datasets.finish import steps_of
from isthmus.datasets.latents.reader import Reader
from isthmus.datasets.latents.stored.rows import StoredRows
from isthmus.datasets.manifest import NAME as MANIFEST
from isthmus.datasets.manifest import Listed, Manifest
from isthmus.datasets.plan import NAME as PLAN
from isthmus.datasets.plan import read_parts, widest
from isthmus.datasets.shards.info import PlaneSums, ShardInfo
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, IsthmusError, MissingExtraError

GROUP = 256  # streams that are decoded at once
MOST_PROBLEMS = 1000
KNOWN = ("codec", "kind")  # of the settings, what a summary says beside them


@dataclass
class Verified:
    """What `verify` found: shards, samples and bytes of payloads that were read, and what is wrong, a line each."""

    shards: int = 0
    samples: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    path: str | os.PathLike[str], *, decode: bool = False, progress: Callable[[int], Any] | None = None
) -> Verified:
    """Reads all of a data set of latents: SHA-256 of every shard, the checksums of every stream, counts, unique keys.

    decode: unpacks every stream too, and holds the sums of its integers against what its shard says. progress: told of
    bytes of shards as they are done. Raises UnreadableFileError where there is no data set, CorruptStreamError for a
    manifest that cannot be read; everything else is a problem of what it returns.
    """
    return _Check(Place(path), decode, progress or (lambda count: None)).run()


class _Check:
    def __init__(self, place: Place, decode: bool, progress: Callable[[int], Any]) -> None:
        self.place, self.decode, self.progress = place, decode, progress
        self.manifest = Manifest.read(place)
        self.reader = Reader(place, self.manifest)
        self.found = Verified()
        self.keys: set[int] = set()
        self.infos: list[ShardInfo] = []

    def say(self, problem: str) -> None:
        if len(self.found.problems) < MOST_PROBLEMS:
            self.found.problems.append(" ".join(problem.split()))

    def run(self) -> Verified:
        manifest = self.manifest
        there = manifest.shards if manifest.complete else StoredRows(self.place, partial=True).shards
        if not manifest.complete:
            told = f"not finished, {len(there)} shards are there: run its `isthmus transcode` again"
            self.say(f"{self.place.url}: {told}")
        for listed in there:
            try:
                self._shard(listed)
            except MissingExtraError:  # nothing is wrong with the data
                raise
            except IsthmusError as error:
                self.say(str(error))
            self.progress(listed.bytes)
        named = {shard.file for shard in manifest.shards}
        if manifest.complete:
            others = [f"data/{name}" for name in self.place.files("data") if f"data/{name}" not in named]
            for name in others:
                self.say(f"{self.place.name(name)}: the manifest does not name it: remove it, other readers find it")
            self._totals()
        return self.found

    def _shard(self, listed: Listed) -> None:
        name = self.place.name(listed.file)
        if self.place.size(listed.file) is None:
            raise CorruptStreamError(f"{name}: the manifest names it, and it is not there")
        sha256, size = self.place.sha256(listed.file)
        if size != listed.bytes:
            self.say(f"{name}: {size} bytes, the manifest says {listed.bytes}")
        elif listed.sha256 and sha256 != listed.sha256:
            again = "fetch it again, or make it again: `isthmus transcode` with --rebuild and its number"
            self.say(f"{name}: its SHA-256 is {sha256}, the manifest says {listed.sha256}: {again}")
        info = shards.read_info(self.place, listed.file)
        self.infos.append(info)
        if info.settings != self.manifest.settings_digest:
            self.say(f"{name}: of settings {info.settings}, the manifest's are {self.manifest.settings_digest}")
        count = size = 0
        sums: dict[str, PlaneSums] = {}
        waiting: list[tuple[str, bytes]] = []
        for row in shards.rows(self.place, listed.file):
            told = f"{name}, row {count} ({row.get('key')})"
            count, size = count + 1, size + len(row["payload"] or b"")
            if self._row(told, row) and self.decode:
                waiting.append((told, row["payload"]))
            if len(waiting) == GROUP:
                self._decode(waiting, sums)
                waiting = []
        self._decode(waiting, sums)
        for what, here, says in [("rows", count, listed.count), ("rows", count, info.count)]:
            if here != says:
                self.say(f"{name}: {here} {what}, expected {says}")
        if self.decode and sums != info.planes:
            self.say(f"{name}: the sums of its integers are not those that it says")
        self.found.shards += 1
        self.found.samples += count

    def _row(self, told: str, row: dict[str, Any]) -> bool:
        """Whether a row is right."""
        data, before = row["payload"], len(self.found.problems)
        key = hash((row.get("key"), row.get("view") or ""))
        if key in self.keys:
            self.say(f"{told}: its key comes a second time")
        self.keys.add(key)
        label, classes = row.get("label"), self.manifest.classes
        if label is not None and classes is not None and not 0 <= label < len(classes):
            self.say(f"{told}: label {label}, the manifest has {len(classes)} classes")
        if not isinstance(data, bytes):
            self.say(f"{told}: no payload")
            return False
        self.found.bytes += len(data)
        try:
            chunks = read_chunks(data)
            for _ in chunks:  # which verifies each
                pass
            header = next(iter(chunks.tracks.values()), None)
            if header is None:
                raise CorruptStreamError("a stream without a track")
        except IsthmusError as error:
            self.say(f"{told}: {error}")
            return False
        tables = self.manifest.codec.get("tables_hash") or {}
        if tables.get(header.codec_id) != header.tables_hash:
            self.say(f"{told}: needs tables {header.tables_hash} of {header.codec_id}, the manifest says {tables}")
        for name in ("height", "width", "samples", "sample_rate"):
            says = getattr(header.signal, name, None)
            if row.get(name) is not None and says is not None and row[name] != says:
                self.say(f"{told}: {name} {row[name]}, its stream says {says}")
        return len(self.found.problems) == before

    def _decode(self, waiting: Sequence[tuple[str, bytes]], sums: dict[str, PlaneSums]) -> None:
        if not waiting:
            return
        batch = self.reader.codec.unpack_batch([data for _, data in waiting], errors="return")
        for place, error in batch.errors.items():
            self.say(f"{waiting[place][0]}: {error}")
        for latent in batch.latents:
            for name, plane in latent.planes.items():
                sums[name] = PlaneSums.of(plane.numpy()[None]).merged(sums.get(name))

    def _totals(self) -> None:
        """The manifest against what the plan and the shards say."""
        manifest, planes = self.manifest, dict[str, PlaneSums]()
        if self.place.size(PLAN) is not None:  # without it a data set is read as well
            try:
                planned = widest(read_parts(self.place))
            except IsthmusError as error:
                self.say(str(error))
            else:
                if planned.classes != manifest.classes:
                    self._lies("its classes", "its plan says")
                if planned.columns != manifest.columns:
                    self._lies("its columns", "its plan says")
        if (manifest.kind, manifest.codec.get("name")) != tuple(manifest.settings.get(n) for n in ("kind", "codec")):
            self._lies("its kind and codec", "its settings say")
        for info in self.infos:
            for name, sums in info.planes.items():
                planes[name] = sums.merged(planes.get(name))
        if len(self.infos) != len(manifest.shards):
            return
        says = {name: sum(getattr(i, name) for i in self.infos) for name in ("count", "bytes_in", "bytes_out")}
        says["lost"] = sum(len(info.lost) for info in self.infos)
        for name, value in says.items():
            if getattr(manifest, name) != value:
                self.say(f"{self.place.url}: the manifest says {name} {getattr(manifest, name)}, its shards {value}")
        for name, sums in planes.items():
            told = {k: v for k, v in manifest.planes.get(name, {}).items() if k != "step"}
            if told != sums.describe():
                self._lies(f"plane {name}", "its shards say")
        with suppress(IsthmusError):  # tables that are missing, a payload that is damaged: said already
            for name, step in steps_of(self.place, manifest, self.infos).items():
                if manifest.planes.get(name, {}).get("step") != step:
                    self._lies(f"the step of plane {name}", "its codec has it")

    def _lies(self, what: str, of: str) -> None:
        self.say(f"{self.place.name(MANIFEST)}: {what}: not as {of}: it was changed; fetch the data set again")


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A data set of latents in short, as JSON values; nothing but its manifest is read.

    Keys: `kind`, `codec`, `settings`, `samples`, `lost`, `shards`, `bytes_in`, `bytes_out`, `ratio`, `complete`,
    `planes` (dtype, shape, low, high by name), `classes` (how many), `columns`, `missing` (what is not at hand to see
    samples, in words, or None). Raises as `verify` does.
    """
    place = Place(path)
    manifest = Manifest.read(place)
    planes = {
        name: {key: plane.get(key) for key in ("dtype", "shape", "low", "high")}
        for name, plane in manifest.planes.items()
    }
    return {
        "kind": manifest.kind,
        "codec": manifest.codec.get("name"),
        "settings": {
            k: v for k, v in manifest.settings.items() if v not in (None, [], {}) and k not in ("codec", "kind")
        },
        "complete": manifest.complete,
        "samples": manifest.count,
        "lost": manifest.lost,
        "shards": len(manifest.shards),
        "bytes_in": manifest.bytes_in,
        "bytes_out": manifest.bytes_out,
        "ratio": round(manifest.bytes_in / manifest.bytes_out, 2) if manifest.bytes_out else None,
        "planes": planes,
        "classes": None if manifest.classes is None else len(manifest.classes),
        "columns": manifest.columns,
        "sources": manifest.sources,
        "missing": Reader(place, manifest).missing(),
    }
