# SPDX-License-Identifier: Apache-2.0
"""What a data set may be made of: folders, tables of paths, Parquet, tars, data sets of Hugging Face."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

from isthmus.datasets.manifest import NAME as MANIFEST
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.sources.base import Found, Item, Source
from isthmus.datasets.sources.hub import HubSource, is_dataset
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.media.kinds import room

__all__ = ["Found", "Item", "Source", "open_source", "usual_kind"]
TABLES = (".csv", ".jsonl")


def open_source(given: Any, kind: str | None = None, *, checksums: bool = False) -> Source:
    """The source that a path, a URL or a data set means; of a folder without `kind`, that of most of its files.

    Raises UnreadableFileError where there is none, MissingExtraError where a package is missing.
    """
    if is_dataset(given):
        return HubSource(given)
    text = os.fspath(given)
    suffix = PurePosixPath(text).suffix.lower()
    if suffix in TABLES:
        from isthmus.datasets.sources.table import TableSource

        return TableSource(Path(text))
    is_file = suffix in (".parquet", ".tar") and not Place(text).is_folder()  # Spark names folders so
    folder, name = _split(text) if is_file else (text, "")
    place = Place(folder)
    if not name and place.path is not None and place.path.is_file():
        raise UnreadableFileError(f"{text}: one file; that is for `isthmus encode`, expected a folder, CSV, JSONL, ...")
    if not name and not place.is_folder():
        raise UnreadableFileError(
            f"{text}: no such folder; expected a folder, CSV, JSONL, Parquet or tar files, or a URL"
        )
    names = [name] if name else [n for n in place.files() if n.endswith((".parquet", ".tar"))]
    if name and place.size(name) is None:
        raise UnreadableFileError(f"{text}: no such file")
    if not name and place.size(MANIFEST) is not None and _is_manifest(place):
        raise UnreadableFileError(f"{text}: a data set of latents already; expected images or sound")
    if names and all(n.endswith(".parquet") for n in names):
        from isthmus.datasets.sources.parquet import ParquetSource

        return ParquetSource(place, names)
    if names and all(n.endswith(".tar") for n in names):
        from isthmus.datasets.sources.tar import TarSource

        return TarSource(place, names, kind or "image")
    from isthmus.datasets.sources.folder import FolderSource

    return FolderSource(place, kind or usual_kind(place), checksums=checksums)


def _is_manifest(place: Place) -> bool:
    try:
        Manifest.read(place)
    except CorruptStreamError:
        return False
    return True


def _split(text: str) -> tuple[str, str]:
    folder, slash, name = text.rpartition("/")
    return (folder or (slash or ".")), name


def usual_kind(place: Place) -> str:
    """The kind of most files in a folder or below it: "image" or "audio"; of as many of both, "image"."""
    from isthmus.datasets.sources.folder import FolderSource

    images = FolderSource(place, "image")
    counts = {"image": images.count()}
    counts["audio"] = sum(images.passed_over[suffix] for suffix in room("audio").SUFFIXES)
    kind = max(counts, key=lambda kind: counts[kind])
    if not counts[kind]:
        raise UnreadableFileError(f"{place.url}: no files of images or sound in this folder or below it")
    return kind
