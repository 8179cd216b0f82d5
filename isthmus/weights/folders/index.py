# SPDX-License-Identifier: Apache-2.0
"""Indexes of sharded checkpoints, `*.index*.json`: which file holds which tensor. Names are not taken on trust."""

import json
import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from isthmus.errors import CorruptStreamError
from isthmus.weights.folders.names import PACKED, PLAIN, packed_name

LIMIT = 1 << 28  # bytes of an index
INDEXED = ".safetensors.index.json"  # behind the name of the single file that it stands for
_ANY, _OURS = re.compile(r".*\.index(\..*)?\.json"), re.compile(r".*\.safetensors\.index(\..*)?\.json")


def read_index(index: Path) -> dict[str, str]:
    """File names by the names of tensors. Raises CorruptStreamError for damage, and names that leave the folder."""
    found = _weight_map(index)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise CorruptStreamError(f"{index}: no index: expected a JSON object with a weight_map; fetch it again")
    for name in set(found.values()):
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or re.search(r"[\\:\0]", name):
            raise CorruptStreamError(
                f"{index}: shard {name!r} is no file name within the folder; fetch the index again"
            )
    return found


def _weight_map(index: Path) -> Any:
    try:
        if index.stat().st_size > LIMIT:
            raise CorruptStreamError(f"{index}: longer than {LIMIT} bytes, so no index of a checkpoint")
        return json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptStreamError(f"{index}: no index: {error}; fetch it again") from None
    except (TypeError, KeyError):
        return None


def shard_of(folder: Path, name: str) -> Path | None:
    """The file of a folder that an index calls `name`, or its compressed form; None where neither is there."""
    return next((path for path in (folder / name, packed_name(folder / name)) if path.is_file()), None)


def check_indexes(files: Iterable[Path], also: dict[Path, Path]) -> None:
    """Raises CorruptStreamError for an index among the files that is damaged or names shards that are not there.

    Indexes of pickles are no concern. also: by folder, another that may have its shards.
    """
    for index, names in _shards_named(files):
        folders = [index.parent, also.get(index.parent, index.parent)]
        for name in names:
            if not any(shard_of(folder, name) for folder in folders):
                raise CorruptStreamError(f"{index}: shard {name} is not there; fetch it first")


def check_all_packed(files: Iterable[Path], packed: Container[Path]) -> None:
    """Raises CorruptStreamError for an index of which some shards are compressed and others not."""
    for index, names in _shards_named(files):
        shards = {shard_of(index.parent, name) for name in names}
        plain = sorted(path for path in shards if path and path not in packed)
        if plain and len(plain) < len(shards):
            raise CorruptStreamError(
                f"{index}: half of it is compressed: {plain[0].name} is plain, so that nothing tells whether it is "
                f"whole; `isthmus weights compress {index.parent} --in-place` goes on, or compress it to another folder"
            )


def _shards_named(files: Iterable[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Indexes among the files, and what they name in order. Raises as `read_index`."""
    for index in files:
        if _ANY.fullmatch(index.name) and (_OURS.fullmatch(index.name) or _has_shards(index)):
            yield index, [name for name in sorted(set(read_index(index).values())) if name.endswith((PLAIN, PACKED))]


def _has_shards(index: Path) -> bool:
    try:
        found = _weight_map(index)
    except CorruptStreamError:
        return False
    return isinstance(found, dict) and any(isinstance(n, str) and n.endswith((PLAIN, PACKED)) for n in found.values())
