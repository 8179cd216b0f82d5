# SPDX-License-Identifier: Apache-2.0
"""A folder of files; folders within it are classes where every file lies in one."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG
from typing import Any

from isthmus.datasets.sources.base import Found, Item, PlacedSource
from isthmus.datasets.storage import Place, stamp_of
from isthmus.errors import UnreadableFileError
from isthmus.media.kinds import room

MOST_TOLD = 5  # suffixes of files that are passed over


class FolderSource(PlacedSource):
    """Files of one kind in a folder and below it, by path, hidden ones left out.

    checksums: a change is seen by SHA-256 of all bytes instead of size and time. passed_over: files of other kinds by
    suffix, as they were last seen.
    """

    def __init__(self, place: Place, kind: str, *, checksums: bool = False) -> None:
        self.place, self.kind, self.checksums = place, kind, checksums
        self.suffixes = room(kind).SUFFIXES
        self.description: Any = {"folder": place.url, "kind": kind}
        self.columns = {}
        self.passed_over: Counter[str] = Counter()

    def items(self) -> Iterator[Item]:
        found, loose = False, self._beside_classes()
        self.passed_over.clear()
        for item in self._inside():
            found = True
            yield replace(item, label=item.key.split("/", 1)[0]) if loose is None else item
        if not found:
            raise UnreadableFileError(
                f"{self.place.url}: no {self.kind} files in this folder or below it; expected some of "
                f"{', '.join(sorted(self.suffixes))}"
            )
        told = [f"no labels, as {loose} lies in no folder of a class"] if loose else []
        if self.passed_over:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in self.passed_over.most_common(MOST_TOLD))
            told.append(f"{self.passed_over.total()} files of other kinds are passed over ({kinds})")
        self.note = "; ".join(told) or None

    def count(self) -> int:
        """How many files there are, broken ones too."""
        self.passed_over.clear()
        return sum(1 for _ in self._inside(stat=False))

    def _beside_classes(self) -> str | None:
        """A file that lies in no folder of a class; None where all do. "" where there are no folders either."""
        loose, nested = None, False
        for item in self._inside(stat=False):
            if "/" in item.key or item.broken:  # broken: such a folder
                nested = True
            else:
                loose = loose or item.key
            if loose and nested:
                return loose
        return None if loose is None else ""

    def _inside(self, *, stat: bool = True) -> Iterator[Item]:
        return self._walk("", stat) if self.place.path is not None else self._remote()

    def _is_meant(self, name: str) -> bool:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in self.suffixes:
            self.passed_over[suffix or "without a suffix"] += 1
        return suffix in self.suffixes

    def _walk(self, folder: str, stat: bool, above: tuple[str, ...] = ()) -> Iterator[Item]:
        """Folders one at a time, so that there may be any number of files. Links to folders are followed once.

        above: the folders whose links led here, as they are really called.
        """
        assert self.place.path is not None
        try:
            entries = sorted(os.scandir(self.place.path / folder), key=lambda entry: entry.name)
        except OSError as error:
            yield Item(folder, 0, 0, broken=f"cannot be listed: {error.strerror}")
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(key, stat, above)
            elif entry.is_symlink() and self._leads_below(key, above):
                yield from self._walk(key, stat, (*above, os.path.realpath(self.place.path / folder)))
            elif self._is_meant(entry.name):
                yield self._item(key) if stat else Item(key, 0, 0)

    def _leads_below(self, key: str, above: tuple[str, ...]) -> bool:
        """Whether a link leads to a folder that holds neither the link itself nor another that led to it."""
        assert self.place.path is not None
        path = self.place.path / key
        real = os.path.join(os.path.realpath(path), "")
        holders = (*above, os.path.realpath(path.parent))
        return os.path.isdir(path) and not any(os.path.join(holder, "").startswith(real) for holder in holders)

    def _item(self, key: str) -> Item:
        assert self.place.path is not None
        path = self.place.path / key
        if not key.isprintable():
            try:
                key.encode()
            except UnicodeEncodeError:
                return Item(key.encode(errors="backslashreplace").decode(), 0, 0, broken="its name is not UTF-8")
        try:
            found = os.stat(path)
        except OSError as error:
            linked = path.is_symlink()
            return Item(key, 0, 0, broken="a link to nothing" if linked else f"cannot be read: {error.strerror}")
        if not S_ISREG(found.st_mode):
            what = "a folder" if S_ISDIR(found.st_mode) else "a pipe or a device"
            return Item(key, 0, 0, broken=f"{what}, not a file")
        if self.checksums:
            try:
                return Item(key, found.st_size, _checksum(path))
            except OSError as error:
                return Item(key, found.st_size, 0, broken=f"cannot be read: {error.strerror}")
        return Item(key, found.st_size, found.st_mtime_ns)

    def _remote(self) -> Iterator[Item]:
        filesystem, root = self.place.remote()
        if not filesystem.isdir(root):
            raise UnreadableFileError(f"{self.place.url}: no such folder")
        for path, about in sorted(filesystem.find(root, detail=True).items()):
            key = path.removeprefix(root).lstrip("/")
            if not any(part.startswith(".") for part in key.split("/")) and self._is_meant(key):
                yield Item(key, int(about.get("size") or 0), stamp_of(about))

    def find(self, item: Item) -> Found:
        suffix = PurePosixPath(item.key).suffix
        if self.place.path is not None:
            return Found(self.place.path / item.key, suffix)
        return Found(self.place.read(item.key), suffix)


def _checksum(path: Path) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()
