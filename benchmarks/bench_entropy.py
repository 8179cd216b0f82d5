# SPDX-License-Identifier: Apache-2.0
"""Speed of the entropy engine beside constriction, compressai, torchac and zstd, in one process.

    python benchmarks/bench_entropy.py [--symbols 10000000] [--repeats 9] [--peers DIRECTORY] [--output FILE.json]

Laplacian integers (int16 in the range of int8), memory to memory through the public functions, compilation and making
of tables excluded; million symbols a second, median of the repeats: of the thread's CPU time (others on the core then
count for little), but of wall time where two threads work. Sizes stand beside the entropy of the distribution drawn
from. Cases: one table; 64 tables (scale 0.25 to 8), another for each symbol; the same in 64 runs; independent chunks on
one and two threads; tables made from counts (`histogram.1`, `adaptive.1`); 256 latents of 12 x 28 x 28, each a payload.

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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from entropy_peers import (
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
from measurement import RESULTS, facts, write_json

from isthmus.entropy import RansDecoder, TableFamily, adaptive, chunks, decode, encode, encode_segments, histogram
from isthmus.entropy.factorized import FactorizedModel

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


def seconds_of(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of each of `repeats` calls, after one that does not count."""
    function()
    seconds = []
    for _ in range(repeats):
        start = clock()
        function()
        seconds.append(clock() - start)
    return seconds


def entropy_of(scales: np.ndarray) -> float:
    """Bits a symbol of the distributions that the symbols were drawn from."""
    values, counts = np.unique(scales, return_counts=True)
    rows = np.stack([laplacian(scale) for scale in values])
    bits = -(rows * np.log2(np.where(rows > 0, rows, 1))).sum(axis=1)
    return float((bits * counts).sum() / counts.sum())


def measure(coder: Coder, symbols: np.ndarray, entropy: float, repeats: int, clock: Callable[[], float]) -> Any:
    """Medians in million symbols a second, and the size; the round trip is checked."""
    encode_all, decode_all = coder
    data = encode_all()
    assert np.array_equal(np.asarray(decode_all(data)), symbols)
    size = sum(map(len, data)) if isinstance(data, list) else data.nbytes if isinstance(data, np.ndarray) else len(data)
    row = {
        "bits_per_symbol": round(8 * size / symbols.size, 4),
        "over_entropy": round(8 * size / symbols.size / entropy - 1, 5),
    }
    for name, function in (("encode", encode_all), ("decode", lambda: decode_all(data))):
        seconds = seconds_of(function, repeats, clock)
        row[f"{name}_msym_per_s"] = round(symbols.size / statistics.median(seconds) / 1e6, 1)
        row[f"{name}_best_msym_per_s"] = round(symbols.size / min(seconds) / 1e6, 1)
        if isinstance(data, list):
            row[f"{name}_items_per_s"] = round(len(data) / statistics.median(seconds))
    return row


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The issue's table: speed over a peer's, or of two threads over one, and the least that is asked for."""
    by = {(row["case"], row["coder"]): row for row in rows if "encode_msym_per_s" in row}
    wanted = [
        ("one table", "isthmus", "one table", "constriction", 2.0, 10.0),
        ("64 tables, random", "isthmus", "64 tables, random", "compressai", 10.0, 9.0),
        ("one table, 2 threads", "isthmus", "one table, 1 thread", "isthmus", 1.8, 1.8),
        ("64 tables, 2 threads", "isthmus", "64 tables, 1 thread", "isthmus", 1.8, 1.8),
    ]
    found = []
    for case, coder, other_case, other, encode_goal, decode_goal in wanted:
        ours, theirs = by.get((case, coder)), by.get((other_case, other))
        if ours and theirs:
            found.append({
                "case": case, "over": f"{other_case}, {other}",
                "encode": round(ours["encode_msym_per_s"] / theirs["encode_msym_per_s"], 2), "encode_goal": encode_goal,
                "decode": round(ours["decode_msym_per_s"] / theirs["decode_msym_per_s"], 2), "decode_goal": decode_goal,
            })  # fmt: skip
    return found


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--peers", type=Path, help="a directory with more packages, for the peers")
    parser.add_argument("--output", type=Path, default=RESULTS / "entropy.json")
    options = parser.parse_args()
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
    ours, peers = options.repeats, max(3, options.repeats // 3)
    of_one = partial(compressai_coder, single, zeros, [ONE_SCALE], options.peers)
    tiny = partial(torchac_coder, mixed[:few], each[:few])
    by_scale = partial(compressai_coder, mixed, indices, [*SCALES], options.peers)
    cases: list[tuple[str, str, Callable[[], Coder], np.ndarray, np.ndarray, int]] = [
        ("one table", "isthmus", partial(one_table, single), single, one, ours),
        ("one table", "constriction", partial(constriction_coder, single, None), single, one, peers),
        ("one table", "compressai", of_one, single, one, peers),
        ("one table", "torchac", partial(torchac_coder, single[:few], one[:few]), single[:few], one[:few], peers),
        ("one table", "zstd", partial(zstd_coder, single), single, one, peers),
        ("64 tables, random", "isthmus", partial(many_tables, mixed, indices), mixed, each, ours),
        ("64 tables, random", "constriction", partial(constriction_coder, mixed, each), mixed, each, peers),
        ("64 tables, random", "compressai", by_scale, mixed, each, peers),
        ("64 tables, random", "torchac", tiny, mixed[:few], each[:few], peers),
        ("64 tables, random", "zstd", partial(zstd_coder, mixed), mixed, each, peers),
        ("64 runs", "isthmus", partial(runs, running), running, in_runs, ours),
        ("one table, 1 thread", "isthmus", partial(chunked, single, None, 1), single, one, ours),
        ("one table, 2 threads", "isthmus", partial(chunked, single, None, 2), single, one, ours),
        ("64 tables, 1 thread", "isthmus", partial(chunked, mixed, indices, 1), mixed, each, ours),
        ("64 tables, 2 threads", "isthmus", partial(chunked, mixed, indices, 2), mixed, each, ours),
        ("histogram", "isthmus", lambda: own_table(histogram, single), single, one, ours),
        ("adaptive", "isthmus", lambda: own_table(adaptive, single), single, one, ours),
        ("256 latents", "isthmus", partial(latents, planes), planes, items, ours),
    ]  # fmt: skip
    rows: list[dict[str, Any]] = []
    for case, coder, make, symbols, scales, repeats in cases:
        row: dict[str, Any] = {"case": case, "coder": coder, "symbols": symbols.size}
        clock = time.perf_counter if "thread" in case else time.thread_time
        try:
            row |= measure(make(), symbols, entropy_of(scales), repeats, clock)
        except ImportError as error:
            row["missing"] = str(error)
            print(f"{case:20s} {coder:13s} not measured: {error}")
        else:
            speeds = f"encode {row['encode_msym_per_s']:6.1f}  decode {row['decode_msym_per_s']:6.1f} Msym/s"
            size = f"{row['bits_per_symbol']:.4f} bits, {100 * row['over_entropy']:+.2f} % of the entropy"
            print(f"{case:20s} {coder:13s} {symbols.size:9d}  {speeds}  {size}", flush=True)
        rows.append(row)
    table = ratios(rows)
    for line in table:
        figures = [f"{name} {line[name]:5.2f} (goal {line[name + '_goal']:g})" for name in ("encode", "decode")]
        print(f"{line['case']:20s} over {line['over']:32s} {'  '.join(figures)}")
    report = {"repeats": options.repeats, "peers": versions(), **facts(), "ratios": table, "rows": rows}
    write_json(options.output, report)


if __name__ == "__main__":
    main()
