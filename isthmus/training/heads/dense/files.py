# SPDX-License-Identifier: Apache-2.0
"""Which picture is the target of which sample: that of the same relative path, whatever its suffix."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from isthmus.errors import UnreadableFileError
from isthmus.media.image import SUFFIXES
from isthmus.media.kinds import list_files


def find_targets(folder: Path, keys: Sequence[str], data: str) -> list[Path]:
    """The target of each sample of a data set, by its key.

    Raises UnreadableFileError for a folder without pictures, ValueError where a sample has none, or several.
    """
    named: dict[str, list[Path]] = {}
    for path in list_files(folder, "image", recursive=True):
        named.setdefault(_stem(path.relative_to(folder).as_posix()), []).append(path)
    found, missing = [], []
    for key in keys:
        candidates = named.get(_stem(key), [])
        same = [path for path in candidates if path.relative_to(folder).as_posix() == key]
        if len(candidates) > 1 and len(same) != 1:
            names = " and ".join(str(path) for path in candidates[:2])
            raise ValueError(f"{data}: sample {key!r} has more than one target, {names}: leave one of them")
        if candidates:
            found.append(same[0] if len(candidates) > 1 else candidates[0])
        else:
            missing.append(key)
    if missing:
        raise ValueError(
            f"{folder}: {len(set(missing))} of {len(set(keys))} samples of {data} have no target, {missing[0]!r} "
            f"first: expected {folder / _stem(missing[0])} with the suffix of a picture"
        )
    return found


def digest_of(files: Sequence[Path], folder: Path) -> str:
    """16 hexadecimal digits, others when names, sizes or times of files are."""
    digest = hashlib.sha256()
    for path in files:
        try:
            told = path.stat()
        except OSError as error:
            raise UnreadableFileError(f"{path}: cannot be read: {error.strerror}") from error
        digest.update(f"{path.relative_to(folder).as_posix()}\0{told.st_size}\0{told.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _stem(name: str) -> str:
    """A path without the suffix of a picture; other dots stay."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else str(path)
