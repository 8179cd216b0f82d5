# SPDX-License-Identifier: Apache-2.0
"""Speed of the entropy engine beside constriction, compressai, torchac and zstd, in one process.

    python benchmarks/bench_entropy.py [--symbols 10000000] [--repeats 9] [--peers DIRECTORY] [--output FILE.json]

Laplacian integers (int16 in the range of int8), memory to memory through the public functions, compilation and making
of tables excluded; million symbols a second, median of the repeats: of the thread's CPU time (others on the core then
count for little), but of wall time where two threads work. What is compared takes turns, call by call, and a ratio is
the median of those of neighbouring calls: so a busy moment falls on all alike. Freed memory stays with the process.
Sizes stand beside the entropy of the distribution drawn from. Cases: one table; 64 tables (scale 0.25 to 8), another
for each symbol; the same in 64 runs; independent chunks on one and two threads; tables made from counts
(`histogram.1`, `adaptive.1`); 256 latents of 12 x 28 x 28, each a payload.

The peers are imported from the environment or from DIRECTORY; compressai's rANS extension is loaded by its path where
the package itself cannot be imported. They get what they read fastest, made outside the measurement: constriction a
categorical model, or a Laplacian for each symbol; compressai ready lists; torchac float CDFs, of at most 1e6 symbols;
zstd bytes at level 3. A peer that is missing has a row that says why.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from shared.entropy_peers import (
    ONE_SCALE,
    REACH,
    Coder,
    compressai_coder,
    constriction_coder,
    laplacian,
    torchac_coder,
    versions,
    zstd_coder,
)
from shared.measurement import RESULTS, facts, keep_memory, write_json

from isthmus.entropy import RansDecoder, TableFamily, decode, encode, encode_segments
from isthmus.entropy.coders import adaptive, chunks, histogram
from isthmus.entropy.models.factorized import FactorizedModel

SCALES = np.geomspace(0.25, 8, 64)
TORCHAC_MOST = 1_000_000  # its CDFs take 4 bytes for each symbol and integer
LATENTS = (256, 12, 28, 28)


def draw(scales: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rounded Laplacian samples, int16 within +-REACH, one for each scale."""
    return np.clip(np.round(rng.laplace(0, scales)), -REACH, REACH).astype(np.int16)


def one_table(symbols: np.ndarray) -> Coder:
    """Our engine with one table."""
    tables = TableFamily.from_counts([laplacian(ONE_SCALE)], [-REACH])
    return lambda: encode(symbols, 0, tables), lambda data: decode(data, 0, tables, len(symbols))


def many_tables(symbols: np.ndarray, indices: np.ndarray) -> Coder:
    """Our engine with a table for each symbol."""
    tables = TableFamily.from_counts([laplacian(scale) for scale in SCALES], [-REACH] * len(SCALES))
    return lambda: encode(symbols, indices, tables), lambda data: decode(data, indices, tables)


def runs(symbols: np.ndarray) -> Coder:
    """Our engine with one table for each of 64 runs, in order."""
    tables = TableFamily.from_counts([laplacian(scale) for scale in SCALES], [-REACH] * len(SCALES))
    segments = [(part, k) for k, part in enumerate(np.array_split(symbols, len(SCALES)))]

    def decode_runs(data: bytes) -> np.ndarray:
        decoder = RansDecoder(data, tables)
        parts = [decoder.decode(k, len(part)) for part, k in segments]
        decoder.finish()
        return np.concatenate(parts)

    return lambda: encode_segments(segments, tables), decode_runs


def chunked(symbols: np.ndarray, indices: np.ndarray | None, threads: int) -> Coder:
    """Our engine with independent chunks on threads; one table, or one for each symbol."""
    scales = [ONE_SCALE] if indices is None else [*SCALES]
    tables = TableFamily.from_counts([laplacian(scale) for scale in scales], [-REACH] * len(scales))
    index, count = (0, len(symbols)) if indices is None else (indices, None)
    return (
        lambda: chunks.encode(symbols, index, tables, threads=threads),
        lambda data: chunks.decode(data, index, tables, count, threads=threads),
    )


def own_table(payload: Any, symbols: np.ndarray) -> Coder:
    """Our engine with tables made from the symbols: `histogram` or `adaptive`."""
    return lambda: payload.encode(symbols), lambda data: payload.decode(data, len(symbols))


def latents(planes: np.ndarray) -> Coder:
    """256 small latents with factorized tables, one call for all."""
    rows = [laplacian(scale) for scale in np.geomspace(0.15, 40, 64)]
    rows += [laplacian(3.0), laplacian(2.0)]
    family = TableFamily.from_counts(rows, [-REACH] * len(rows))
    model = FactorizedModel(family, np.full((100, planes.shape[1]), 40, np.uint8))
    return lambda: model.encode_batch(planes, 50), lambda data: model.decode_batch(data, planes.shape[1:], 50)[0]


def entropy_of(scales: np.ndarray) -> float:
    """Bits a symbol of the distributions that the symbols were drawn from."""
    values, counts = np.unique(scales, return_counts=True)
    rows = np.stack([laplacian(scale) for scale in values])
    bits = -(rows * np.log2(np.where(rows > 0, rows, 1))).sum(axis=1)
    return float((bits * counts).sum() / counts.sum())


def check(coder: Coder, symbols: np.ndarray, entropy: float) -> tuple[Any, dict[str, Any]]:
    """What the coder makes of the symbols, and its size; the round trip is checked, which also warms up."""
    encode_all, decode_all = coder
    data = encode_all()
    assert np.array_equal(np.asarray(decode_all(data)), symbols)
    size = sum(map(len, data)) if isinstance(data, list) else data.nbytes if isinstance(data, np.ndarray) else len(data)
    bits = 8 * size / symbols.size
    return data, {"bits_per_symbol": round(bits, 4), "over_entropy": round(bits / entropy - 1, 5)}


def speeds(seconds: list[float], count: int, items: int | None) -> dict[str, float]:
    """Median and best of some seconds for `count` symbols, in `items` payloads where there are several."""
    middle = statistics.median(seconds)
    found = {"msym_per_s": round(count / middle / 1e6, 1), "best_msym_per_s": round(count / min(seconds) / 1e6, 1)}
    return found if items is None else found | {"items_per_s": round(items / middle)}


def measure(group: "Group", repeats: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each coder of a group, measured in turns, and the seconds of its calls by (coder, direction)."""
    rows, ready = [], {}
    for coder, make in group.coders.items():
        symbols = group.symbols[: TORCHAC_MOST if coder == "torchac" else None]
        row: dict[str, Any] = {"case": group.case, "coder": coder, "symbols": symbols.size}
        rows.append(row)
        try:
            made = make()
            data, size = check(made, symbols, group.entropy)
        except ImportError as error:
            row["missing"] = str(error)
            continue
        row |= size
        ready[coder] = (made, data)
    seconds: dict[tuple[str, str], list[float]] = {(c, d): [] for c in ready for d in ("encode", "decode")}
    for _ in range(repeats):
        for coder, ((encode_all, decode_all), data) in ready.items():
            for direction, call in (("encode", encode_all), ("decode", partial(decode_all, data))):
                start = group.clock()
                call()
                seconds[coder, direction].append(group.clock() - start)
    for row in rows:
        for direction in ("encode", "decode"):
            found = seconds.get((row["coder"], direction))
            if found:
                data = ready[row["coder"]][1]
                items = len(data) if isinstance(data, list) else None
                row |= {f"{direction}_{k}": v for k, v in speeds(found, row["symbols"], items).items()}
    return rows, seconds


def ratio(group: "Group", seconds: dict[tuple[str, str], list[float]]) -> dict[str, Any] | None:
    """The first coder's speed over the second's, medians over neighbouring calls, and the least that is asked for."""
    if group.goals is None:
        return None
    ours, theirs = list(group.coders)[:2]
    line: dict[str, Any] = {"case": group.case, "of": ours, "over": theirs}
    for direction, goal in zip(("encode", "decode"), group.goals, strict=True):
        if (theirs, direction) not in seconds:
            return None
        pairs = zip(seconds[ours, direction], seconds[theirs, direction], strict=True)
        line |= {direction: round(statistics.median(b / a for a, b in pairs), 2), f"{direction}_goal": goal}
    return line


@dataclass(frozen=True)
class Group:
    """Coders of the same symbols, by name; goals: what the first is to be faster than the second by."""

    case: str
    coders: dict[str, Callable[[], Coder]]
    symbols: np.ndarray
    entropy: float
    goals: tuple[float, float] | None = None
    clock: Callable[[], float] = time.thread_time


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--peers", type=Path, help="a directory with more packages, for the peers")
    parser.add_argument("--output", type=Path, default=RESULTS / "entropy.json")
    options = parser.parse_args()
    keep_memory()
    if options.peers:
        sys.path.append(str(options.peers))

    rng = np.random.default_rng(0)
    count = options.symbols
    few = min(count, TORCHAC_MOST)
    one = np.full(count, ONE_SCALE)
    indices = rng.integers(0, len(SCALES), count).astype(np.uint16)
    zeros = np.zeros_like(indices)
    each = SCALES[indices]
    in_runs = np.repeat(SCALES, [len(part) for part in np.array_split(one, len(SCALES))])
    single, mixed, running = draw(one, rng), draw(each, rng), draw(in_runs, rng)
    items = np.broadcast_to(np.geomspace(0.5, 12, LATENTS[1])[:, None, None], LATENTS)
    planes = draw(items, rng)
    of_one, of_each = entropy_of(one), entropy_of(each)
    wall = time.perf_counter
    groups = [
        Group("one table", {
            "isthmus": partial(one_table, single),
            "constriction": partial(constriction_coder, single, None),
            "compressai": partial(compressai_coder, single, zeros, [ONE_SCALE], options.peers),
            "torchac": partial(torchac_coder, single[:few], one[:few]),
            "zstd": partial(zstd_coder, single),
        }, single, of_one, (2.0, 10.0)),
        Group("64 tables, random", {
            "isthmus": partial(many_tables, mixed, indices),
            "compressai": partial(compressai_coder, mixed, indices, [*SCALES], options.peers),
            "constriction": partial(constriction_coder, mixed, each),
            "torchac": partial(torchac_coder, mixed[:few], each[:few]),
            "zstd": partial(zstd_coder, mixed),
        }, mixed, of_each, (10.0, 9.0)),
        Group("one table, chunks", {
            "2 threads": partial(chunked, single, None, 2), "1 thread": partial(chunked, single, None, 1),
        }, single, of_one, (1.8, 1.8), wall),
        Group("64 tables, chunks", {
            "2 threads": partial(chunked, mixed, indices, 2), "1 thread": partial(chunked, mixed, indices, 1),
        }, mixed, of_each, (1.8, 1.8), wall),
        Group("64 runs", {"isthmus": partial(runs, running)}, running, entropy_of(in_runs)),
        Group("histogram", {"isthmus": lambda: own_table(histogram, single)}, single, of_one),
        Group("adaptive", {"isthmus": lambda: own_table(adaptive, single)}, single, of_one),
        Group("256 latents", {"isthmus": partial(latents, planes)}, planes, entropy_of(items)),
    ]  # fmt: skip
    rows: list[dict[str, Any]] = []
    table = []
    for group in groups:
        found, seconds = measure(group, options.repeats)
        rows += found
        for row in found:
            name = f"{row['case']:20s} {row['coder']:13s}"
            if "missing" in row:
                print(f"{name} not measured: {row['missing']}")
                continue
            size = f"{row['bits_per_symbol']:.4f} bits, {100 * row['over_entropy']:+.2f} % of the entropy"
            fast = f"encode {row['encode_msym_per_s']:6.1f}  decode {row['decode_msym_per_s']:6.1f} Msym/s"
            print(f"{name} {row['symbols']:9d}  {fast}  {size}", flush=True)
        line = ratio(group, seconds)
        if line:
            table.append(line)
            figures = [f"{name} {line[name]:5.2f} (goal {line[name + '_goal']:g})" for name in ("encode", "decode")]
            print(f"{line['case']:20s} {line['of']} over {line['over']}: {'  '.join(figures)}")
    report = {"repeats": options.repeats, "peers": versions(), **facts(), "ratios": table, "rows": rows}
    write_json(options.output, report)


if __name__ == "__main__":
    main()
