# SPDX-License-Identifier: Apache-2.0
"""What is in the target already: what this very command makes there is made again or kept; nothing else is replaced."""

import os
from pathlib import Path

from isthmus.errors import IsthmusError, UnwritableFileError
from isthmus.weights.base_checkpoint import sha256_of
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.config import CONFIG, INDEX, restore_config
from isthmus.weights.folders.index import read_index
from isthmus.weights.folders.names import MARK
from isthmus.weights.folders.placement import Placement
from isthmus.weights.safetensors_file import SafetensorsFile

PIECE = 1 << 24


class Originals:
    """SHA-256 of plain files; each is read once, unless it changes meanwhile."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], str] = {}

    def sha256(self, path: Path) -> str:
        """Of a plain file, or of the one that a compressed file was made from. Raises as `WeightFile`."""
        file = SafetensorsFile(path)
        if MARK in file.header.metadata:
            return str(WeightFile(path).source["sha256"])
        found = path.stat()
        key = (os.fspath(path), found.st_size, found.st_mtime_ns, found.st_ino)
        if key not in self._known:
            self._known[key] = sha256_of(file.bytes)
        return self._known[key]

    def is_plain(self, path: Path, sha256: str) -> bool:
        """Whether there is a plain file of that SHA-256; a link to one is none."""
        if path.is_symlink() or not path.is_file():
            return False
        try:
            return MARK not in SafetensorsFile(path).header.metadata and self.sha256(path) == sha256
        except IsthmusError:
            return False


def check_existing(placed: Placement, originals: Originals, *, replaces: bool = False) -> None:
    """Raises UnwritableFileError where a file would be replaced that is not what the same command makes.

    That are the same bytes, and for weights both forms of the same original. replaces: a compressed file may be of
    other weights.
    """
    for source, target in placed.shards.items():
        if _is_there(target, placed) and not _holds(target, originals.sha256(source), originals, replaces):
            raise _refusal(target, f"does not hold the weights of {source}", placed)
    for source, target in placed.others.items():
        if source.name != INDEX and _is_there(target, placed) and not _is_same(source, target):
            raise _refusal(target, f"is not the same as {source}", placed)


def check_existing_indexes(placed: Placement, shards: set[Path]) -> None:
    """Raises UnwritableFileError for an index of compressed weights in the target that names others than `shards`."""
    for folder in sorted({target.parent for target in placed.shards.values()}):
        index = folder / INDEX
        if index.is_file() and any(folder / name not in shards for name in read_index(index).values()):
            raise _refusal(index, "names other weights", placed)


def _refusal(target: Path, what: str, placed: Placement) -> UnwritableFileError:
    other = "folder" if placed.creates else "name"
    return UnwritableFileError(f"{target}: exists already and {what}; delete it or choose another {other}")


def _is_there(target: Path, placed: Placement) -> bool:
    """Whether something would be lost: not with a link to nowhere, an empty file, or a device that is only written to.

    Raises UnwritableFileError for a folder, and within one for what is no file.
    """
    if target.is_dir() or (placed.creates and target.exists() and not target.is_file()):
        raise UnwritableFileError(f"{target}: is no file, where one is to be written; choose another folder")
    return target.is_file() and target.stat().st_size > 0


def _holds(target: Path, sha256: str, originals: Originals, replaces: bool) -> bool:
    try:
        return (replaces and MARK in SafetensorsFile(target).header.metadata) or originals.sha256(target) == sha256
    except IsthmusError:
        return False


def _is_same(source: Path, target: Path) -> bool:
    if source.name == CONFIG:
        return restore_config(source.read_bytes()) == restore_config(target.read_bytes())
    if source.stat().st_size != target.stat().st_size:
        return False
    with source.open("rb") as one, target.open("rb") as other:
        while piece := one.read(PIECE):
            if other.read(PIECE) != piece:
                return False
    return True
