# SPDX-License-Identifier: Apache-2.0
"""A synthetic model from file to file: wall time on two threads and disk, and the memory that it takes."""

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from isthmus import weights

GOALS = {"compress_seconds": 3.0, "compress_added_mb": 512}  # for 1 GB


def bench_file(gigabytes: float, folder: Path | None) -> dict[str, Any]:
    """A synthetic model of bf16 weights as a file: seconds of wall time on two threads, and anonymous memory added."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        source, packed, back = (Path(name) / f"{n}.safetensors" for n in ("model", "model.df", "back"))
        generator = torch.Generator().manual_seed(0)
        count = int(gigabytes * 1e9 / 2)
        sizes = [count // 3, *[count // 24] * 16]  # an embedding, and layers
        tensors = {f"w{k}": (torch.randn(n, generator=generator) * 0.02).bfloat16() for k, n in enumerate(sizes)}
        save_file(tensors, source)
        tensors.clear()
        row: dict[str, Any] = {"bytes": source.stat().st_size}
        for way, work in (
            ("compress", lambda: weights.compress(source, packed, threads=2)),
            ("verify", lambda: weights.verify(packed, threads=2)),
            ("decompress", lambda: weights.decompress(packed, back, threads=2)),
        ):
            with PeakMemory() as peak:
                start = time.perf_counter()
                work()
                row[f"{way}_seconds"] = round(time.perf_counter() - start, 2)
            row[f"{way}_added_mb"] = peak.added_mb
        row["percent"] = round(100 * packed.stat().st_size / row["bytes"], 3)
    print(f"a file of {row['bytes'] / 1e9:.2f} GB: {row}")
    return row


class PeakMemory:
    """Megabytes of anonymous memory that the process took at most, above what it had; None where that is not told."""

    def __enter__(self) -> "PeakMemory":
        self.added_mb: float | None = None
        self._first, self._most, self._done = self._now(), 0.0, threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()
        if self._first is not None:
            self.added_mb = round(self._most - self._first, 1)

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._most = max(self._most, self._now() or 0.0)

    @staticmethod
    def _now() -> float | None:
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.is_file() else []
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), None)
