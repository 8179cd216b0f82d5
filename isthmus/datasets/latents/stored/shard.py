# SPDX-License-Identifier: Apache-2.0
"""One shard for reading: any row's payload alone, and its other columns, which are few bytes and stay in memory."""

from __future__ import annotations

import json
import tarfile
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.datasets.latents.stored.pages import Chunk, plain, value_places
from isthmus.datasets.latents.stored.ranges import Ranges, Recent
from isthmus.datasets.manifest import Listed
from isthmus.datasets.shards import read_info
from isthmus.datasets.shards.info import ShardInfo
from isthmus.datasets.shards.parquet import info_of, open_parquet, pyarrow
from isthmus.datasets.shards.tar import INFO
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError
from isthmus.forks import ForkLock

MOST_OPEN, MOST_GROUPS = 256, 8  # files, of which systems allow a thousand; row groups
NO_LABEL = -100  # of a sample without one, as any number below 0 is: what torch's losses pass over
AGAIN = "fetch it again, or make it again: `isthmus transcode` with the same source and destination"


class Opened:
    """What is kept open for the shards of a data set, in one process."""

    def __init__(self, groups: int = MOST_GROUPS) -> None:
        self.files: Recent[Ranges] = Recent(MOST_OPEN)
        self.groups: Recent[list[bytes]] = Recent(groups)
        self.parquets: Recent[Any] = Recent(MOST_GROUPS)
        self.lock = ForkLock()  # of what pyarrow reads, which is no matter for several threads


class Shard:
    """Rows of one shard; `columns` those besides payloads that are wanted, others are not read.

    Raises CorruptStreamError where it is not what `listed` says, was cut, or does not have the columns;
    UnreadableFileError where it is not there.
    """

    def __init__(self, place: Place, listed: Listed, settings: str, columns: Sequence[str], opened: Opened) -> None:
        self.place, self.file, self.name, self._opened = place, listed.file, place.name(listed.file), opened
        size = place.size(listed.file)
        if size is None:
            raise CorruptStreamError(f"{self.name}: the manifest names it, and it is not there: {AGAIN}")
        if size != listed.bytes:
            raise CorruptStreamError(
                f"{self.name}: {size} bytes, the manifest says {listed.bytes}: it was cut or changed; {AGAIN}"
            )
        self.columns: list[tuple[str, Callable[[int], Any]]] = []  # each with what gives its value in a row
        info = self._read_layout(list(columns))
        if (info.count, info.settings) != (listed.count, settings):
            raise CorruptStreamError(
                f"{self.name}: {info.count} rows of settings {info.settings}, the manifest says {listed.count} of "
                f"{settings}: one of them was changed; {AGAIN}"
            )
        self.count = info.count

    def __len__(self) -> int:
        return self.count

    def payload(self, row: int) -> bytes:
        """The stream of a row."""
        raise NotImplementedError

    def facts(self, row: int) -> dict[str, Any]:
        """The columns of a row, as Python has them."""
        return {name: value_at(row) for name, value_at in self.columns}

    def _read_layout(self, columns: list[str]) -> ShardInfo:
        """Reads columns and where payloads lie; gives what the shard says of itself."""
        raise NotImplementedError

    def _file(self) -> Ranges:
        return self._opened.files.get(self.file, Ranges, self.place, self.file)

    def _check_columns(self, wanted: Sequence[str], there: Sequence[str]) -> None:
        missing = [name for name in ("payload", *wanted) if name not in there]
        if missing:
            raise CorruptStreamError(f"{self.name}: no column {missing[0]!r}, it has {', '.join(there)}")


class ParquetShard(Shard):
    """Payloads are read where they lie; of Parquet that other tools wrote, or of another machine, by row groups."""

    def _read_layout(self, columns: list[str]) -> ShardInfo:
        pa = pyarrow()
        with open_parquet(self.place, self.file) as file:
            info, names = info_of(file, self.name), file.schema_arrow.names
            self._check_columns(columns, names)
            try:
                table = file.read(columns, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise CorruptStreamError(f"{self.name}: damaged ({error}): {AGAIN}") from error
            for name in columns:
                self.columns.append((name, _values(table[name].combine_chunks(), name)))
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            self._starts = np.cumsum([0, *(group.num_rows for group in groups)])
            number = names.index("payload")
            leaf = file.schema.column(number) if len(file.schema) == len(names) else None
            required = leaf is not None and leaf.path == "payload" and leaf.max_definition_level == 0
            chunks = [group.column(number) for group in groups] if required else []
            direct = self.place.path is not None and required and all(map(plain, chunks))
            self._chunks = [Chunk.of(chunk) for chunk in chunks] if direct else []
        self._places: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        return info

    def payload(self, row: int) -> bytes:
        group = int(np.searchsorted(self._starts, row, "right")) - 1
        within = row - int(self._starts[group])
        if self._chunks:
            places = self._places.get(group) or self._find(group)
            if places is not None:
                return self._file().read(int(places[0][within]), int(places[1][within]))
        return self._opened.groups.get((self.file, group), self._read_group, group)[within]

    def _find(self, group: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        try:
            places = value_places(self._file().read, self._chunks[group])
        except CorruptStreamError as error:
            told = str(error)
            raise CorruptStreamError(told if told.startswith(self.name) else f"{self.name}: {told}; {AGAIN}") from error
        if places is None:
            self._chunks = []
        else:
            self._places[group] = places
        return places

    def _read_group(self, group: int) -> list[bytes]:
        with self._opened.lock:
            file = self._opened.parquets.get(self.file, self._open)
            try:
                values = file.read_row_group(group, ["payload"], use_threads=False)["payload"].to_pylist()
            except (pyarrow().ArrowException, OSError) as error:
                raise CorruptStreamError(f"{self.name}: damaged ({error}): {AGAIN}") from error
        if not all(isinstance(value, bytes) for value in values):
            raise CorruptStreamError(f"{self.name}: a payload of row group {group} is missing: {AGAIN}")
        return values  # type: ignore[no-any-return]

    def _open(self) -> Any:
        """Kept open, as each opening of a file of another machine asks for its end again."""
        file = open_parquet(self.place, self.file)
        weakref.finalize(file, file.reader.close)
        return file


class TarShard(Shard):
    """Payloads are read where they lie; where that is, the headers of all members tell, which are read when opened."""

    def _read_layout(self, columns: list[str]) -> ShardInfo:
        places: list[tuple[int, int]] = []
        rows: list[dict[str, Any]] = []
        info = read_info(self.place, self.file)
        with self.place.open(self.file) as file:
            try:
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    for entry in tar:
                        if entry.name.endswith(".ist"):
                            places.append((entry.offset_data, entry.size))
                        elif entry.name.endswith(".json") and entry.name != INFO:
                            rows.append(dict(json.loads((tar.extractfile(entry) or file).read())))
            except (tarfile.TarError, EOFError, TypeError, ValueError) as error:
                raise CorruptStreamError(f"{self.name}: not a whole tar ({error}): {AGAIN}") from error
        if not len(places) == len(rows) == info.count:
            raise CorruptStreamError(f"{self.name}: {len(places)} payloads, it says {info.count}: {AGAIN}")
        self._places = places
        for name in columns:
            if not all(name in row for row in rows):
                raise CorruptStreamError(f"{self.name}: samples without {name!r}: {AGAIN}")
            values = [row[name] for row in rows]
            if name == "label":
                values = [NO_LABEL if value is None or value < 0 else value for value in values]
            self.columns.append((name, values.__getitem__))
        return info

    def payload(self, row: int) -> bytes:
        return self._file().read(*self._places[row])


def _values(array: Any, name: str) -> Callable[[int], Any]:
    """What gives the value in a row: of integers without nulls those of numpy, which are read faster."""
    if name == "label":
        array = array.fill_null(NO_LABEL)
        if pyarrow().types.is_signed_integer(array.type):
            values = array.to_numpy()
            return np.where(values < 0, NO_LABEL, values).item  # type: ignore[return-value]
    if pyarrow().types.is_integer(array.type) and not array.null_count:
        return array.to_numpy().item  # type: ignore[no-any-return]
    return lambda row: array[row].as_py()


def open_shard(place: Place, listed: Listed, settings: str, columns: Sequence[str], opened: Opened) -> Shard:
    """A shard of either format; see `Shard`."""
    kind = TarShard if listed.file.endswith(".tar") else ParquetShard
    return kind(place, listed, settings, columns, opened)
