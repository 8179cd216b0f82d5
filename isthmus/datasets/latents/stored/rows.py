# SPDX-License-Identifier: Apache-2.0
"""All rows of a data set of latents by one index, whatever the shards they lie in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.datasets.latents.stored.shard import MOST_GROUPS, Opened, Shard, open_shard
from isthmus.datasets.manifest import Listed, Manifest
from isthmus.datasets.shards import of_format, read_info
from isthmus.datasets.shards.info import PlaneSums
from isthmus.datasets.storage import Place
from isthmus.errors import IsthmusError, UnreadableFileError

USUAL = ("key", "view", "label")  # columns that samples come with, where there are such
NUMBERS = 1 << 24  # of latents that are unpacked at once


class StoredRows:
    """Rows of a finished data set, or, with `partial`, of the shards that are done so far.

    columns: those besides payloads that are wanted; None: key, view and label. Shards are opened when their first row
    is asked for, in each process anew; what is pickled is the path. Raises UnreadableFileError where there is no data
    set or it is not finished, CorruptStreamError for a manifest or shard that is damaged.
    """

    def __init__(
        self,
        place: Place,
        *,
        partial: bool = False,
        columns: Sequence[str] | None = None,
        groups: int = MOST_GROUPS,
    ) -> None:
        self.place, self.partial = place, partial
        self.manifest = Manifest.read(place)
        if not (self.manifest.complete or partial):
            raise UnreadableFileError(
                f"{place.url}: not finished: run its `isthmus transcode` again, which makes what is missing, or read "
                "what is there with partial=True"
            )
        self.settings = self.manifest.settings_digest
        self.sums: dict[str, PlaneSums] = {}
        self.shards = self._done() if partial else list(self.manifest.shards)
        self.starts = np.cumsum([0, *(shard.count for shard in self.shards)])
        listed = repr([(s.file, s.count, s.bytes, s.sha256) for s in self.shards])
        self.fingerprint = hashlib.sha256(f"{self.settings}{listed}".encode()).hexdigest()[:16]
        there = list(self.manifest.columns) or self._columns_of_first()
        wanted = [name for name in USUAL if name in there] if columns is None else list(columns)
        unknown = [name for name in wanted if name not in there]
        if unknown:
            raise ValueError(f"{place.url}: no column {unknown[0]!r}; it has {', '.join(there)}")
        self.columns = [name for name in wanted if name != "payload"]
        self._groups = groups
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._opened, self._shards = Opened(self._groups), {}  # type: ignore[var-annotated]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_opened", "_shards", "_process")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _done(self) -> list[Listed]:
        """Shards that are there, of these settings, in order; their sums are kept."""
        format_ = self.manifest.settings["format"]
        found = []
        for file in self.place.files("data"):
            if not file.endswith(f".{format_}"):
                continue
            name = f"data/{file}"
            info = of_format(format_).read_info(self.place, name)
            if info.settings == self.settings:
                found.append(Listed(name, info.count, self.place.size(name) or 0, ""))
                for plane, sums in info.planes.items():
                    self.sums[plane] = sums.merged(self.sums.get(plane))
        return found

    def _columns_of_first(self) -> list[str]:
        if not self.shards:
            return list(USUAL)
        first: dict[str, Any] = next(
            of_format(self.manifest.settings["format"]).rows(self.place, self.shards[0].file), {}
        )
        return list(first)

    def plane_sums(self) -> dict[str, PlaneSums]:
        """Sums over the planes of all shards, from what they say of themselves."""
        if not self.sums:
            for listed in self.shards:
                for plane, sums in read_info(self.place, listed.file).planes.items():
                    self.sums[plane] = sums.merged(self.sums.get(plane))
        return self.sums

    def at_once(self, most: int) -> int:
        """How many samples to unpack at once, at least 1: so that images are many, and minutes of sound few."""
        first = next((shard for shard in self.shards if shard.count), None)  # others know no planes
        planes = read_info(self.place, first.file).planes if first else {}
        count = first.count if first else 1
        numbers = sum(plane.numbers * plane.channels for plane in planes.values()) // count
        return max(1, min(most, NUMBERS // max(1, numbers)))

    def shard(self, number: int) -> Shard:
        """Shard `number`, opened in this process."""
        if self._process != os.getpid():  # forked: what is open belongs to the parent
            self._begin()
        found = self._shards.get(number)
        if found is None:
            found = open_shard(self.place, self.shards[number], self.settings, self.columns, self._opened)
            self._shards[number] = found
        return found

    def locate(self, indices: Sequence[int] | NDArray[np.int64]) -> list[tuple[Shard, int]]:
        """Shard and row of each index, 0 to len - 1."""
        wanted = np.asarray(indices, np.int64)
        numbers = np.searchsorted(self.starts, wanted, "right") - 1
        rows = wanted - self.starts[numbers]
        return [(self.shard(n), row) for n, row in zip(numbers.tolist(), rows.tolist(), strict=True)]

    def payloads(self, indices: Sequence[int] | NDArray[np.int64]) -> list[bytes]:
        """The streams of rows, in the order of `indices`; they are read in the order of the files."""
        located = self.locate(indices)
        found: list[bytes] = [b""] * len(located)
        for place in np.argsort(np.asarray(indices, np.int64), kind="stable").tolist():
            shard, row = located[place]
            found[place] = shard.payload(row)
        return found

    def facts(self, indices: Sequence[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """The wanted columns of rows; a label that is missing is -100."""
        return [shard.facts(row) for shard, row in self.locate(indices)]

    def column(self, name: str) -> list[Any]:
        """A column of all rows. Raises ValueError for one that is not there."""
        if name == "payload":
            raise ValueError(f"{self.place.url}: payload is a stream, not a column of values")
        other = StoredRows(self.place, partial=self.partial, columns=[name])
        return [fact[name] for fact in other.facts(range(len(self)))]

    def named(self, index: int, error: IsthmusError) -> IsthmusError:
        """The error of a stream, with the shard and row that it lies in."""
        shard, row = self.locate([index])[0]
        told = str(error).split(": ", 1)[-1] if str(error).startswith("stream ") else str(error)
        return type(error)(f"{shard.name}, row {row}: {told}")


def check_index(index: int, count: int) -> int:
    """An index from 0 on, of one that may count from the end. Raises IndexError."""
    if not -count <= index < count:
        raise IndexError(f"sample {index} of {count}")
    return index + count if index < 0 else index
