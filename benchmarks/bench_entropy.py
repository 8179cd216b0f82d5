# SPDX-License-Identifier: Apache-2.0
"""Speed of the entropy engine on one thread, beside constriction and compressai.

    python benchmarks/bench_entropy.py [--symbols 1000000 10000000] [--repeats 15] [--output FILE.json]

Laplacian integers (int16), memory to memory through the public functions, compilation and making of tables excluded;
million symbols a second of the thread's CPU time (others on the core then count for little), median and best
of the repeats. Cases: one table for all symbols; 64 tables (scale 0.25 to 8), another for each
symbol; the same in 64 runs. The other two are measured in the same process where they can be imported: constriction
with a categorical model and with a Laplacian for each symbol, compressai from Python lists that are ready.
"""

import argparse
import importlib
import importlib.metadata
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measurement import RESULTS, facts, write_json

from isthmus.entropy import RansDecoder, TableFamily, decode, encode, encode_segments

REACH = 255
SCALES = np.geomspace(0.25, 8, 64)
ONE_SCALE = 3.0

Coder = tuple[Callable[[], Any], Callable[[Any], Any]]  # encode() and decode(what encode returned)


def laplacian(scale: float) -> np.ndarray:
    """Probabilities of -REACH .. REACH: a Laplacian rounded to integers."""
    edges = np.arange(-REACH, REACH + 2) - 0.5
    below = np.where(edges < 0, 0.5 * np.exp(-np.abs(edges) / scale), 1 - 0.5 * np.exp(-np.abs(edges) / scale))
    return np.diff(below) / (below[-1] - below[0])


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


def constriction_coder(symbols: np.ndarray, scales: np.ndarray | None) -> Coder:
    """constriction's ANS coder: one categorical model, or a quantised Laplacian with a scale for each symbol."""
    import constriction

    model, stack = constriction.stream.model, constriction.stream.stack
    if scales is None:
        arguments: tuple[Any, ...] = (model.Categorical(laplacian(ONE_SCALE), perfect=False),)
        values, shift = symbols.astype(np.int32) + REACH, REACH
    else:
        arguments = (model.QuantizedLaplace(-REACH, REACH), np.zeros(len(symbols)), scales)
        values, shift = symbols.astype(np.int32), 0

    def encode_all() -> np.ndarray:
        coder = stack.AnsCoder()
        coder.encode_reverse(values, *arguments)
        return coder.get_compressed()

    def decode_all(data: np.ndarray) -> np.ndarray:
        coder = stack.AnsCoder(data)
        found = coder.decode(arguments[0], len(values)) if scales is None else coder.decode(*arguments)
        return found - shift

    return encode_all, decode_all


def compressai_coder(symbols: np.ndarray, indices: np.ndarray, scales: list[float]) -> Coder:
    """compressai's rANS coder with 16-bit tables; its lists are made here, outside the measurement."""
    from compressai import ans

    tables = TableFamily.from_counts([laplacian(scale) for scale in scales], [-REACH] * len(scales), precision=15)
    rows = np.split(tables.frequencies, tables.starts[1:])
    cdfs = [[0, *(2 * np.cumsum(row)).tolist()] for row in rows]
    rest = (indices.tolist(), cdfs, [len(cdf) for cdf in cdfs], tables.low.tolist())
    values = symbols.tolist()
    return (
        lambda: ans.RansEncoder().encode_with_indexes(values, *rest),
        lambda data: ans.RansDecoder().decode_with_indexes(data, *rest),
    )


def cpu_seconds_of(function: Callable[[], object], repeats: int) -> list[float]:
    """CPU seconds of this thread for each of `repeats` calls, after one that does not count."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.thread_time()
        function()
        seconds.append(time.thread_time() - start)
    return seconds


def measure(coder: Coder, symbols: np.ndarray, repeats: int) -> dict[str, float]:
    """Medians in million symbols a second, and bits a symbol; the round trip is checked."""
    encode_all, decode_all = coder
    data = encode_all()
    assert np.array_equal(np.asarray(decode_all(data)), symbols)
    size = data.nbytes if isinstance(data, np.ndarray) else len(data)
    rows = {"bits_per_symbol": round(8 * size / len(symbols), 4)}
    for name, function in (("encode", encode_all), ("decode", lambda: decode_all(data))):
        seconds = cpu_seconds_of(function, repeats)
        rows[f"{name}_msym_per_s"] = round(len(symbols) / statistics.median(seconds) / 1e6, 1)
        rows[f"{name}_best_msym_per_s"] = round(len(symbols) / min(seconds) / 1e6, 1)
    return rows


def missing(package: str) -> str | None:
    """Why a package cannot be imported, or None."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        return str(error)
    return None


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS / "entropy.json")
    options = parser.parse_args()
    peers = {}
    for package, module in (("constriction", "constriction"), ("compressai", "compressai.ans")):
        reason = missing(module)
        peers[package] = f"not installed ({reason})" if reason else importlib.metadata.version(package)
        print(f"{package}: {peers[package]}")
    here = [package for package, version in peers.items() if not version.startswith("not installed")]

    rng = np.random.default_rng(0)
    rows = []
    for count in options.symbols:
        indices = rng.integers(0, len(SCALES), count).astype(np.uint16)
        single, mixed = draw(np.full(count, ONE_SCALE), rng), draw(SCALES[indices], rng)
        in_runs = draw(np.repeat(SCALES, [len(part) for part in np.array_split(single, len(SCALES))]), rng)
        zeros = np.zeros_like(indices)
        cases: list[tuple[str, str, Callable[[], Coder], np.ndarray]] = [
            ("one table", "isthmus", lambda s=single: one_table(s), single),
            ("64 tables, random", "isthmus", lambda s=mixed, i=indices: many_tables(s, i), mixed),
            ("64 runs", "isthmus", lambda s=in_runs: runs(s), in_runs),
            ("one table", "constriction", lambda s=single: constriction_coder(s, None), single),
            ("64 tables, random", "constriction", lambda s=mixed, i=indices: constriction_coder(s, SCALES[i]), mixed),
            ("one table", "compressai", lambda s=single, i=zeros: compressai_coder(s, i, [ONE_SCALE]), single),
            ("64 tables, random", "compressai", lambda s=mixed, i=indices: compressai_coder(s, i, [*SCALES]), mixed),
        ]
        for case, coder, make, symbols in cases:
            if coder not in ("isthmus", *here):
                continue
            repeats = options.repeats if coder == "isthmus" else max(3, options.repeats // 5)
            row = {"case": case, "coder": coder, "symbols": count, **measure(make(), symbols, repeats)}
            rows.append(row)
            figures = f"encode {row['encode_msym_per_s']:6.1f}  decode {row['decode_msym_per_s']:6.1f} Msym/s"
            print(f"{case:18s} {coder:13s} {count:9d}  {figures}  {row['bits_per_symbol']:.4f} bits")
    write_json(options.output, {"repeats": options.repeats, "peers": peers, **facts(), "rows": rows})


if __name__ == "__main__":
    main()
