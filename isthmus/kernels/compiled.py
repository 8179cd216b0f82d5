# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="no-untyped-call"
"""The decorator of kernels: functions that numba compiles when they are first called, and keeps in its cache.

Differs from numba's own cache in two things: a damaged file is thrown away and made again, and what is compiled is out
of date as soon as any kernel's source changes, since kernels are compiled into each other. Where no folder can be
written, as in a read-only installation without a home, kernels live in memory alone.
"""

import hashlib
import io
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy.ma  # noqa: F401  # numba looks at it in a kernel's first call, when a fork would find its import half done
from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile

from isthmus.kernels.announcement import announce, uncached

DIGEST = hashlib.sha256().digest_size
PACKAGE = __name__.partition(".")[0]


class CheckedFiles(IndexDataCacheFile):  # type: ignore[misc]
    """An index and its files of machine code, each with a SHA-256 behind its pickles, which pickle does not read."""

    def _dump(self, found: Any) -> bytes:
        data: bytes = super()._dump(found)
        return data + hashlib.sha256(data).digest()

    def _load_index(self) -> Any:
        """Of a damaged file: nothing, as of one that is not there."""
        try:
            raw = io.BytesIO(Path(self._index_path).read_bytes())
            pickle.load(raw)  # numba's version
            return super()._load_index() if _is_whole(raw.read()) else {}
        except Exception:  # whatever unpickling a damaged file may raise
            return {}

    def _load_data(self, name: str) -> Any:
        """Raises OSError for a damaged file, as for one that is not there."""
        if not _is_whole(Path(self._data_path(name)).read_bytes()):
            raise OSError(f"{name}: damaged")
        return super()._load_data(name)


def _is_whole(data: bytes) -> bool:
    return hashlib.sha256(data[:-DIGEST]).digest() == data[-DIGEST:]


class _Compiling(event.Listener):  # type: ignore[misc]
    """Says so at the first kernel of ours."""

    def on_start(self, event: event.Event) -> None:
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith(f"{PACKAGE}."):
            announce(function)

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _Compiling())


@cache
def _sources() -> str:
    """What changes with every file of kernels."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return repr([(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files])


class KernelCache(FunctionCache):  # type: ignore[misc]
    """numba's cache with `CheckedFiles`; a disk that is full costs nothing but the next process's time."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = CheckedFiles(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=_sources(),
        )

    def save_overload(self, signature: Any, found: Any) -> None:
        try:
            super().save_overload(signature, found)
        except OSError:
            uncached.add(self._py_func)


def is_cached(made: Any) -> bool:
    """Whether the cache holds a kernel, for some types of arguments."""
    files = getattr(getattr(made, "_cache", None), "_cache_file", None)
    return files is not None and bool(files._load_index())


def kernel(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """A kernel without Python's lock; options: of `numba.njit`."""
    if function is None:
        return lambda function: kernel(function, **options)
    made = njit(nogil=True, **options)(function)
    if hasattr(made, "py_func"):  # NUMBA_DISABLE_JIT leaves the function as it is
        try:
            made._cache = KernelCache(function)
        except RuntimeError:  # no folder that can be written
            uncached.add(function)
    return made
