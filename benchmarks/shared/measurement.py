# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks here share: timing, the photograph they run on, and the facts that go with every figure."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
from PIL import Image

from isthmus.bench.environment import describe_environment
from isthmus.kernels import tier
from isthmus.media.image import read_image
from isthmus.samples import ASTRONAUT

KERNELS = tier.kernels_only()  # kept, and never left: what twins take is the matter of first calls
KERNELS.__enter__()
RESULTS = Path(__file__).resolve().parents[1] / "results"
KEPT_MEMORY = {  # of glibc's malloc and of numpy, read when a process starts
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "NUMPY_MADVISE_HUGEPAGE": "0",
}


def keep_memory() -> None:
    """Starts the process again so that freed memory stays with it.

    Fresh pages, which the system clears, cost every coder the same and more than some of them.
    """
    if not KEPT_MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEPT_MEMORY})


def seconds_of(function: Callable[[], object], repeats: int) -> list[float]:
    """Wall seconds of `repeats` calls, after two that do not count."""
    for _ in range(2):
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure(function: Callable[[], object], repeats: int, pixels: int) -> dict[str, float]:
    """Minimum and median milliseconds of a call, and million pixels a second at each."""
    return summarize(seconds_of(function, repeats), pixels)


def measure_together(functions: dict[str, Callable[[], object]], repeats: int, pixels: int) -> dict[str, Any]:
    """`measure` of several functions by name, called in turn so that a busy moment falls on all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        seconds_of(function, 0)
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: summarize(found, pixels) for name, found in seconds.items()}


def summarize(seconds: list[float], pixels: int) -> dict[str, float]:
    """Minimum and median of some seconds over `pixels` pixels."""
    least, median = min(seconds), statistics.median(seconds)
    return {
        "min_ms": round(least * 1e3, 3),
        "median_ms": round(median * 1e3, 3),
        "mpix_per_s": round(pixels / median / 1e6, 2),
        "best_mpix_per_s": round(pixels / least / 1e6, 2),
    }


def photograph(path: Path | None, width: int, height: int) -> np.ndarray:
    """`path`, or the photograph that ships, enlarged where needed and cut to its middle: uint8 [height, width, 3]."""
    array = read_image(path or ASTRONAUT)
    image = Image.fromarray(array if array.shape[2] == 3 else np.repeat(array, 3, axis=2))
    scale = max(width / image.width, height / image.height, 1)
    if scale > 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.array(image.crop((left, top, left + width, top + height)))


def facts() -> dict[str, Any]:
    """Machine, versions, commit, time of day, and how busy the machine was (processes that ran or waited, 1 minute)."""
    return {
        **describe_environment(),
        "llvm_target": llvmlite.binding.get_host_cpu_name(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Writes a report and says where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {path}")
