# SPDX-License-Identifier: Apache-2.0
"""Codecs of trained files: the same object while the file is."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isthmus.codecs.base import Codec
from isthmus.forks import first_use

MOST = 8  # codecs that are kept
TICK = 100_000_000  # nanoseconds, longer than a file system's

_kept: dict[tuple[Path, str], tuple[Any, Codec]] = {}  # by path and device; what the file was, and its codec


def of_file(opened: Callable[[Path, str], Codec], path: Path, device: str) -> Codec:
    """The codec of a file, by its absolute path wherever the process works. `opened` opens it or says what is wrong."""
    try:
        found = path.stat()
    except OSError:
        opened(path, device)
        raise
    # The next training may replace it; what changed this very moment may change again within a tick of its clock.
    state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > TICK
    with first_use:
        kept = _kept.pop((path, device), None)
        if kept is None or kept[0] != state:
            kept = state, opened(path, device)
        if settled:
            _kept[path, device] = kept
        while len(_kept) > MOST:
            _kept.pop(next(iter(_kept)))
        return kept[1]
