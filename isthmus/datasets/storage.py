# SPDX-License-Identifier: Apache-2.0
"""A folder that data sets are read from and written to: of this machine, or whatever URL fsspec knows."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from isthmus.errors import MissingExtraError, UnreadableFileError, UnwritableFileError
from isthmus.files import atomic_file, check_folder, remove_leftovers_in

BLOCK = 1 << 22  # bytes that are read at once
LOCAL = ("file", "local")


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether it is a URL such as s3://bucket/photos or memory://photos, not a path."""
    return "://" in os.fspath(place)


class Place:
    """A folder, by path or URL; names within it have slashes. It may be pickled, and need not be there yet."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        text = os.fspath(url)
        scheme, _, rest = text.partition("://")
        if is_url(text) and scheme not in LOCAL:
            self.url, self.path = text.rstrip("/"), None
        else:
            self.path = Path(os.path.abspath(rest if is_url(text) else text))
            self.url = str(self.path)

    def __repr__(self) -> str:
        return f"Place({self.url!r})"

    @property
    def of_this_process(self) -> bool:
        """Whether no other process sees it."""
        return self.url.startswith("memory://")

    def name(self, name: str) -> str:
        """What lies there, for messages."""
        return f"{self.url}/{name}" if name else self.url

    def remote(self, name: str = "") -> tuple[Any, str]:
        """The file system of a URL, and the path of a name there. Raises MissingExtraError."""
        import fsspec

        try:
            filesystem, root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:  # a package for that kind of URL is missing, or there is none
            raise MissingExtraError(f"{self.url}: {error}") from error
        return filesystem, f"{root.rstrip('/')}/{name}" if name else root

    def is_within(self, other: "Place") -> bool:
        """Whether it is that folder or lies below it, also by way of links."""
        mine, theirs = (p.url.rstrip("/") if p.path is None else os.path.realpath(p.path) for p in (self, other))
        return f"{mine}/".startswith(f"{theirs.rstrip('/')}/")

    def is_folder(self, name: str = "") -> bool:
        if self.path is not None:
            return (self.path / name).is_dir()
        filesystem, path = self.remote(name)
        return bool(filesystem.isdir(path))

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""
        if self.path is not None:
            found = self.path / name
            return found.stat().st_size if found.is_file() else None
        filesystem, path = self.remote(name)
        return int(filesystem.size(path)) if filesystem.isfile(path) else None

    def stamp(self, name: str) -> str:
        """Changes when a file does: its size, and its time or what else is known of it; empty where there is none."""
        size = self.size(name)
        if size is None:
            return ""
        if self.path is not None:
            return f"{size} {(self.path / name).stat().st_mtime_ns}"
        filesystem, path = self.remote(name)
        return f"{size} {stamp_of(filesystem.info(path))}"

    def read(self, name: str) -> bytes:
        """A whole file. Raises UnreadableFileError."""
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> BinaryIO:
        """A file for reading and seeking. Raises UnreadableFileError."""
        try:
            if self.path is not None:
                return open(self.path / name, "rb")
            filesystem, path = self.remote(name)
            return cast(BinaryIO, filesystem.open(path, "rb"))
        except OSError as error:
            raise UnreadableFileError(f"{self.name(name)}: cannot be read: {error.strerror or error}") from error

    def sha256(self, name: str) -> tuple[str, int]:
        """SHA-256 of a file in hexadecimal, and its bytes. Raises UnreadableFileError."""
        found, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while part := file.read(BLOCK):
                found.update(part)
                size += len(part)
        return found.hexdigest(), size

    def files(self, folder: str = "") -> list[str]:
        """Names of the files directly in a folder, sorted; hidden ones are left out. None where there is no folder."""
        if self.path is not None:
            found = self.path / folder
            names = [entry.name for entry in os.scandir(found) if entry.is_file()] if found.is_dir() else []
        else:
            filesystem, path = self.remote(folder)
            found = filesystem.ls(path, detail=True) if filesystem.isdir(path) else []
            names = [entry["name"].rsplit("/", 1)[-1] for entry in found if entry["type"] == "file"]
        return sorted(name for name in names if not name.startswith("."))

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file, one at a time."""
        with self.open(name) as file:
            yield from file

    def check_writable(self) -> None:
        """Raises UnwritableFileError where files cannot be written there, as far as that is known beforehand."""
        if self.path is not None:
            check_folder(self.path, parents=True)

    def write(self, name: str, data: bytes | BinaryIO) -> None:
        """A file, all of it or nothing, on the disk before it has its name. Raises UnwritableFileError.

        data: bytes, or a file that is read from where it stands.
        """
        source = BytesIO(data) if isinstance(data, bytes) else data
        if self.path is not None:
            self._write_here(self.path / name, source, replace=True)
            return
        filesystem, path = self.remote(name)
        try:
            filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            filesystem.pipe_file(path, source.read())  # objects appear whole or not at all
        except OSError as error:
            raise UnwritableFileError(f"{self.name(name)}: cannot be written: {error}") from error

    def create(self, name: str, data: bytes | BinaryIO) -> bool:
        """As `write`, unless there is such a file already; says whether. Of two processes at once one is told so.

        At a URL that is as sure as its file system is quick.
        """
        if self.size(name) is not None:
            return False
        if self.path is None:
            self.write(name, data)
            return True
        try:
            self._write_here(self.path / name, BytesIO(data) if isinstance(data, bytes) else data, replace=False)
        except FileExistsError:
            return False
        return True

    def _write_here(self, target: Path, source: BinaryIO, *, replace: bool) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableFileError(f"{target.parent}: cannot be made: {error.strerror or error}") from error
        with atomic_file(target, durable=True, replace=replace) as file:
            shutil.copyfileobj(source, file, 1 << 20)
        _flush_folder(target.parent)

    def clean(self, folder: str) -> None:
        """Removes what killed processes left of files that they were writing in a folder."""
        if self.path is not None and (self.path / folder).is_dir():
            remove_leftovers_in(self.path / folder)

    def remove(self, name: str) -> None:
        """Removes a file that is there."""
        if self.path is not None:
            (self.path / name).unlink(missing_ok=True)
        elif self.size(name) is not None:
            filesystem, path = self.remote(name)
            filesystem.rm_file(path)


def stamp_of(about: dict[str, Any]) -> str:
    """Whatever a file system tells of a file that changes when it does."""
    for name in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "updated", "created"):
        if about.get(name):
            return str(about[name])
    return ""


def _flush_folder(folder: Path) -> None:
    """So that the new name is on the disk too, where the system can do that."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(number)
    except OSError:
        pass
    finally:
        os.close(number)
