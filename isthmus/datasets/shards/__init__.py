# SPDX-License-Identifier: Apache-2.0
"""Shards of a data set: rows to bytes and what they say of themselves (docs/format-dataset.md, "Shards")."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from isthmus.datasets.shards.info import ShardInfo
from isthmus.datasets.storage import Place

SUFFIXES = {"parquet": ".parquet", "tar": ".tar"}


def shard_name(number: int, format: str) -> str:
    """Within the data set."""
    return f"data/shard-{number:05d}{SUFFIXES[format]}"


def of_format(format: str) -> ModuleType:
    """The module that reads and writes shards of a format: `write`, `read_info`, `rows`."""
    if format == "parquet":
        from isthmus.datasets.shards import parquet

        return parquet
    from isthmus.datasets.shards import tar

    return tar


def read_info(place: Place, name: str) -> ShardInfo:
    """What a shard says of itself. Raises UnreadableFileError, CorruptStreamError."""
    return of_format("tar" if name.endswith(".tar") else "parquet").read_info(place, name)


def rows(place: Place, name: str) -> Iterator[dict[str, Any]]:
    """Its rows in order, as dicts of columns. Raises UnreadableFileError, CorruptStreamError."""
    yield from of_format("tar" if name.endswith(".tar") else "parquet").rows(place, name)
