# SPDX-License-Identifier: Apache-2.0
"""The coders that the entropy engine is measured beside, each given what it reads fastest."""

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from isthmus.entropy import TableFamily

REACH = 127
ONE_SCALE = 3.0

Coder = tuple[Callable[[], Any], Callable[[Any], Any]]  # encode() and decode(what encode returned)


def laplacian(scale: float) -> np.ndarray:
    """Probabilities of -REACH .. REACH: a Laplacian rounded to integers."""
    edges = np.arange(-REACH, REACH + 2) - 0.5
    below = np.where(edges < 0, 0.5 * np.exp(-np.abs(edges) / scale), 1 - 0.5 * np.exp(-np.abs(edges) / scale))
    return np.diff(below) / (below[-1] - below[0])


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


def rans_extension(peers: Path | None) -> ModuleType:
    """compressai.ans, from its file where the package cannot be imported. Raises ImportError."""
    try:
        return importlib.import_module("compressai.ans")
    except ImportError:
        for folder in [*([peers] if peers else []), *map(Path, sys.path)]:
            for path in sorted((folder / "compressai").glob("ans.*.so")):
                spec = importlib.util.spec_from_file_location("ans", path)
                if spec is not None and spec.loader is not None:
                    module = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(module)
                    return module
        raise


def compressai_coder(symbols: np.ndarray, indices: np.ndarray, scales: list[float], peers: Path | None) -> Coder:
    """compressai's rANS coder with 16-bit tables; its lists are made here, outside the measurement."""
    ans = rans_extension(peers)
    tables = TableFamily.from_counts([laplacian(scale) for scale in scales], [-REACH] * len(scales), precision=15)
    rows = np.split(tables.frequencies, tables.starts[1:])
    cdfs = [[0, *(2 * np.cumsum(row)).tolist()] for row in rows]
    rest = (indices.tolist(), cdfs, [len(cdf) for cdf in cdfs], tables.low.tolist())
    values = symbols.tolist()
    return (
        lambda: ans.RansEncoder().encode_with_indexes(values, *rest),
        lambda data: ans.RansDecoder().decode_with_indexes(data, *rest),
    )


def torchac_coder(symbols: np.ndarray, scales: np.ndarray) -> Coder:
    """torchac, whose extension is built when it is first imported; a float CDF for each symbol."""
    import torch

    try:
        import torchac
    except RuntimeError as error:
        raise ImportError(f"torchac does not build: {error}") from error

    rows = {scale: np.append(0, np.cumsum(laplacian(scale))).clip(0, 1) for scale in np.unique(scales)}
    cdfs = torch.from_numpy(np.stack([rows[scale] for scale in scales]).astype(np.float32))
    values = torch.from_numpy(symbols + np.int16(REACH))
    return (
        lambda: torchac.encode_float_cdf(cdfs, values, check_input_bounds=False),
        lambda data: torchac.decode_float_cdf(cdfs, data).numpy() - REACH,
    )


def zstd_coder(symbols: np.ndarray) -> Coder:
    """zstd at level 3 on the symbols as int8."""
    import zstandard

    data = symbols.astype(np.int8).tobytes()
    return (
        lambda: zstandard.ZstdCompressor(level=3).compress(data),
        lambda packed: np.frombuffer(zstandard.ZstdDecompressor().decompress(packed), np.int8),
    )


def versions() -> dict[str, str]:
    """What is installed of each peer."""
    found = {}
    for package in ("constriction", "compressai", "torchac", "zstandard"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
