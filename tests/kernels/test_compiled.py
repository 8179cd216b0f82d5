# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels in numba's cache: damaged, missing, shared by processes that begin at once, or none at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALL = """
import numpy as np
from isthmus.kernels.compiled import is_cached
from isthmus.kernels import checksums
before = is_cached(checksums.check)
print(checksums.check(np.arange(1000, dtype=np.uint8) % 7), before, sum(checksums.check.stats.cache_hits.values()))
"""


def start(folder: Path, code: str = CALL) -> "subprocess.Popen[str]":
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder: Path, code: str = CALL) -> tuple[str, str]:
    out, err = start(folder, code).communicate()
    return out.strip(), err


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The sums that the kernel gives, and the cache that the first process left."""
    folder = tmp_path_factory.mktemp("cache")
    out, err = run(folder)
    assert out.endswith("False 0") and err == ""  # there is no terminal to tell
    return out.removesuffix(" False 0"), folder


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.nb?"))


def test_what_is_compiled_is_found_again(wanted: tuple[str, Path]) -> None:
    sums, folder = wanted
    assert len(files(folder)) >= 4 and run(folder) == (f"{sums} True 1", "")


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_files_are_made_again(suffix: str, damage: str, wanted: tuple[str, Path], tmp_path: Path) -> None:
    sums, _ = wanted
    run(tmp_path)
    for path in files(tmp_path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 8
        new = {"cut": data[: len(data) // 2], "empty": b"", "flipped": data}[damage]
        if path.suffix == suffix:
            path.write_bytes(new)
    out, err = run(tmp_path)
    assert out.startswith(sums) and out.endswith(" 0") and err == ""
    assert run(tmp_path) == (f"{sums} True 1", "")


def test_processes_that_begin_at_once(wanted: tuple[str, Path], tmp_path: Path) -> None:
    started = [start(tmp_path) for _ in range(3)]
    assert all(process.communicate()[0].startswith(wanted[0]) for process in started)
    assert run(tmp_path) == (f"{wanted[0]} True 1", "")


def test_without_a_place_for_the_cache(wanted: tuple[str, Path], tmp_path: Path) -> None:
    nowhere = """
from numba.core import caching
def refuse(self):
    raise OSError("read-only")
for name in dir(caching):
    if hasattr(getattr(caching, name), "ensure_cache_path"):
        getattr(caching, name).ensure_cache_path = refuse
"""
    out, err = run(tmp_path, nowhere + CALL)
    assert out == f"{wanted[0]} False 0" and files(tmp_path) == []
    assert err.count("\n") == 1 and "set NUMBA_CACHE_DIR to one that can" in err


def test_a_full_disk(wanted: tuple[str, Path], tmp_path: Path) -> None:
    full = """
from numba.core import caching
def refuse(self, *_):
    raise OSError(28, "No space left on device")
caching.IndexDataCacheFile._save_data = refuse
"""
    assert run(tmp_path, full + CALL)[0].startswith(wanted[0])


def test_any_changed_source_makes_all_out_of_date(wanted: tuple[str, Path], tmp_path: Path) -> None:
    other = "from isthmus.kernels import compiled\ncompiled._sources = lambda: 'other'\n"
    run(tmp_path)
    assert run(tmp_path, other + CALL)[0] == f"{wanted[0]} False 0"
