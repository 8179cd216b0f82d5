# SPDX-License-Identifier: Apache-2.0
"""What kind of samples a file holds, and the room that reads and writes that kind: `isthmus.media.<kind>`.

Such a room gives
    SUFFIXES        of the files that a folder is searched for
    ReadOptions     choices of reading, which the command offers beside those of the codec
    read            (path, options) -> samples, facts: keyword arguments of `encode` that the file tells; what it takes
                    from `options` to read, it removes there
    write           (path, samples, signal)
    check_writable  (path): before the work begins
and is imported when it is first asked for.
"""

import os
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from isthmus.errors import ForeignFileError, UnreadableFileError
from isthmus.forks import first_time
from isthmus.signatures import head_of, mpeg_sound, resembles

KINDS = ("image", "audio", "tensors")  # that have a room
USUAL_SUFFIX = {"image": ".png", "audio": ".wav", "tensors": ".safetensors"}  # where no name tells the format
READ = "a file of an image (PNG, JPEG, ...), of sound (WAV, FLAC, MP3, ...) or of tensors (safetensors)"
_VIDEO = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m")
_SUFFIXES = {".safetensors": "tensors", **dict.fromkeys(_VIDEO, "video")} | dict.fromkeys(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".mka", ".aiff", ".aif"), "audio"
)
_MAGIC = (  # offset, first bytes, kind; what is none of these is left to the suffix, then to the image reader
    (8, b"WAVE", "audio"), (0, b"fLaC", "audio"), (0, b"OggS", "audio"), (0, b"ID3", "audio"),
    (0, b"FORM", "audio"), (4, b"ftypM4A", "audio"),
    (0, b"\x1aE\xdf\xa3", "video"), (4, b"ftypisom", "video"), (4, b"ftypmp4", "video"), (4, b"ftypqt", "video"),
    (8, b'{"', "tensors"),
)  # fmt: skip


def kind_of(path: str | os.PathLike[str]) -> str:
    """ "image", "audio", "video" or "tensors", by the first bytes of a file, then by its suffix; else "image"."""
    return told_kind(path) or "image"  # whose reader knows most formats, and says what is wrong


def told_kind(path: str | os.PathLike[str]) -> str | None:
    """The same, None where neither bytes nor suffix tell."""
    by_head, suffix = kind_of_head(head_of(path)), Path(path).suffix.lower()
    by_name = _SUFFIXES.get(suffix)
    if not (by_head or by_name) and suffix in room("image").SUFFIXES:
        return "image"
    if by_head == "video" and by_name == "audio":  # containers of videos hold sound alone too
        return by_name
    return by_head or by_name


def kind_of_head(head: bytes) -> str | None:
    """The same by the first bytes of a file alone; None where they do not tell."""
    found = next((kind for offset, magic, kind in _MAGIC if head.startswith(magic, offset)), None)
    return found or ("audio" if mpeg_sound(head) else None)


def room(kind: str) -> Any:
    """The module of a kind. Raises UnreadableFileError for one that this version neither reads nor writes."""
    if kind not in KINDS:
        raise UnreadableFileError(f"{kind}: this version reads and writes no files of that kind; it has {KINDS}")
    return import_module(f"isthmus.media.{kind}")


def read(path: str | os.PathLike[str], kind: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Samples of a file, and what else a codec must know of them, as keyword arguments of its `encode`.

    What of `options` is about reading is removed from them. Raises `UnreadableFileError` for a bad file.
    """
    with first_time(f"read {kind}"):
        try:
            samples, facts = room(kind).read(path, options)
        except ForeignFileError as error:
            if told_kind(path):
                raise
            raise ForeignFileError(f"{path}: {_what(path)}; expected {READ}") from error
    return samples, facts


def _what(path: str | os.PathLike[str]) -> str:
    """What nobody reads, in words."""
    if Path(path).is_dir():
        return "is a folder"
    head = head_of(path)
    return f"of no kind that is read: {resembles(head)}" if head else "is empty (0 bytes)"


def write(path: str | os.PathLike[str], kind: str, samples: Any, signal: Any) -> None:
    """Samples, as `decode(..., output="numpy")` gives them, to a file. Raises `UnwritableFileError`, ValueError."""
    with first_time(f"write {kind}"):
        room(kind).write(path, samples, signal)


def check_writable(path: str | os.PathLike[str], kind: str) -> None:
    """Raises ValueError for a suffix that no writer knows: better before a long decode than after it."""
    room(kind).check_writable(path)


def list_files(
    path: str | os.PathLike[str], kind: str, *, recursive: bool = False, last: int | None = None
) -> list[Path]:
    """Files of a kind in a folder, sorted, hidden ones left out, or the one file `path`; the `last` so many.

    recursive: in folders below too. Raises `UnreadableFileError` if there is none.
    """
    place, suffixes = Path(path), room(kind).SUFFIXES
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UnreadableFileError(f"{path}: no such folder; expected a folder of {kind} files")
    files = sorted(f for f in _inside(place, recursive) if _is_meant(f, place, suffixes))
    if not files:
        below, known = " or below it" if recursive else "", ", ".join(sorted(suffixes))
        deeper = None if recursive else next((f for f in _inside(place, True) if _is_meant(f, place, suffixes)), None)
        if deeper is not None:
            raise UnreadableFileError(
                f"{path}: {kind} files are in folders below it alone: give one, as {deeper.parent}"
            )
        raise UnreadableFileError(f"{path}: no {kind} files in this folder{below}; expected some of {known}")
    return files if last is None else files[-last:]


def tell_left_out(path: str | os.PathLike[str], kind: str, *, recursive: bool = False) -> None:
    """Warns of how much of a folder `list_files` passes over.

    Hidden files and folders, files of other kinds, pipes and links to nothing; and, without `recursive`, folders.
    """
    place, suffixes = Path(path), room(kind).SUFFIXES
    others = [f for f in _inside(place, recursive) if not _is_meant(f, place, suffixes)] if place.is_dir() else []
    if others:
        names = ", ".join(sorted(f.name for f in others)[:3]) + (", ..." if len(others) > 3 else "")
        warnings.warn(f"{path}: {len(others)} are hidden or of another kind, and left out ({names})", stacklevel=2)


def _inside(folder: Path, recursive: bool) -> Iterator[Path]:
    """All but the folders that are searched."""
    return (path for path in folder.rglob("*") if not path.is_dir()) if recursive else folder.iterdir()


def _is_meant(path: Path, folder: Path, suffixes: frozenset[str]) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in suffixes and not hidden and path.is_file()
