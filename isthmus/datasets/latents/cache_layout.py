# SPDX-License-Identifier: Apache-2.0
"""What a cache file is made of: its header, its entries, and how one comes to be."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from isthmus.errors import CorruptStreamError, UnreadableFileError, UnwritableFileError

MAGIC, HEADER, STATE = b"isthmus cache 1\n", 4096, 16
CHECKSUM = 8  # where it stands in the entry of a latent of a size of its own
DTYPES = ("int8", "int16", "int32", "int64")
ADVICE = "delete it and it is made again"
Layout: TypeAlias = dict[str, dict[str, Any]]  # by plane: dtype, shape or None, rank


def read_layout(path: Path, head: bytes, source: str, count: int) -> Layout:
    """The planes in the header of a cache. Raises UnreadableFileError for a stale one, CorruptStreamError."""
    try:
        if not head.startswith(MAGIC):
            raise ValueError("it does not begin as one")
        told = json.loads(head[len(MAGIC) :].rstrip(b"\n"))
        layout = dict(told["planes"])
        for plane in layout.values():
            axes = plane["rank"] if plane["shape"] is None else len(plane["shape"])
            if plane["dtype"] not in DTYPES or not 1 <= axes <= 4 or axes != plane["rank"]:
                raise ValueError(f"a plane {plane}")
        found = told["source"], told["count"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptStreamError(f"{path}: not a cache of latents ({error}): {ADVICE}") from error
    if found != (source, count):
        raise UnreadableFileError(
            f"{path}: a cache of {found[1]} samples of data set {found[0]}, this one is {source} with {count}: other "
            "files, files that changed since, another codec or other options: delete it, or name another file"
        )
    return layout


def dtype_of(plane: dict[str, Any]) -> np.dtype[Any]:
    """As stored."""
    return np.dtype(plane["dtype"]).newbyteorder("<")


def entry_of(layout: Layout) -> np.dtype[Any]:
    """What there is for each sample."""
    if all(plane["shape"] is not None for plane in layout.values()):
        return np.dtype([("crc", "<u4")])
    return np.dtype([("offset", "<u8"), ("crc", "<u4"), ("dims", "<u4", (sum(p["rank"] for p in layout.values()),))])


def stride_of(layout: Layout) -> int:
    """Bytes of a sample, where all shapes agree."""
    return sum(np.dtype(plane["dtype"]).itemsize * prod(plane["shape"]) for plane in layout.values())


def data_begin(count: int, layout: Layout) -> int:
    """Where the integers begin."""
    return -(-(HEADER + STATE + count * entry_of(layout).itemsize) // 4096) * 4096


def _head(source: str, count: int, layout: Layout) -> bytes:
    told = json.dumps({"source": source, "count": count, "planes": layout}).encode()
    if len(MAGIC) + len(told) > HEADER:
        raise ValueError(f"a cache of {len(layout)} planes: its header is {len(told)} bytes, at most {HEADER} fit")
    return (MAGIC + told).ljust(HEADER, b"\n")


def make(path: Path, source: str, count: int, layout: Layout) -> None:
    """An empty cache. Of several processes that make it, one does, and all use that."""
    uniform = all(plane["shape"] is not None for plane in layout.values())
    size = data_begin(count, layout) + (count * stride_of(layout) if uniform else 0)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(_head(source, count, layout))
            file.truncate(size)  # a hole: it takes no room before it is filled
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(temporary, path)
    except OSError as error:
        raise UnwritableFileError(f"{path}: cannot be made: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write(number: int, data: bytes, offset: int) -> None:
    """All of it."""
    while data:
        written = os.pwrite(number, data, offset)
        data, offset = data[written:], offset + written


@contextmanager
def locked(number: int) -> Iterator[None]:
    """Alone among the processes that have a descriptor of their own."""
    import fcntl

    fcntl.flock(number, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(number, fcntl.LOCK_UN)
