# SPDX-License-Identifier: Apache-2.0
"""The shards of a file or folder as they are found: compressed or plain, whole as far as their headers tell."""

import json
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import CorruptStreamError
from isthmus.weights.dfloat_file import WeightFile, refuse_upstream
from isthmus.weights.folders.names import MARK, PACKED
from isthmus.weights.folders.tree import Tree, read_tree, require_shards
from isthmus.weights.safetensors_file import SafetensorsFile


@dataclass(frozen=True)
class Shards:
    """tree: all files. packed: compressed shards; plain: the others."""

    tree: Tree
    packed: frozenset[Path]
    plain: tuple[Path, ...]


def open_shards(tree: Tree) -> Shards:
    """Reads the headers of all. Raises UnreadableFileError and CorruptStreamError for the first that is damaged."""
    packed = set()
    for path in tree.shards:  # first, as a checkpoint of that layout also has files without compressed weights
        file = SafetensorsFile(path)
        refuse_upstream(file)
        if MARK in file.header.metadata:
            packed.add(path)
        elif tree.is_folder and path.suffix == PACKED:
            raise CorruptStreamError(f"{path}: no compressed weights, in spite of its name; call it .safetensors")
    for path in packed:
        WeightFile(path)
    return Shards(tree, frozenset(packed), tuple(path for path in tree.shards if path not in packed))


def open_packed(src: Path) -> Shards:
    """The shards of what `compress` made. Raises as `open_shards`, and where none is compressed."""
    found = open_shards(require_shards(read_tree(src)))
    if not found.packed:
        raise CorruptStreamError(f"{src}: no compressed weights; make them with `isthmus weights compress`")
    return found


def plain_bytes(path: Path) -> int:
    """Bytes of the tensors of a shard, decompressed; of a compressed one, of the whole file."""
    file = SafetensorsFile(path)
    if MARK not in file.header.metadata:
        return file.header.data_bytes
    try:
        return int(json.loads(file.header.metadata[MARK])["bytes"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CorruptStreamError(f"{path}: the metadata entry {MARK!r} is damaged") from None
