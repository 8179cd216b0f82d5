# SPDX-License-Identifier: Apache-2.0
"""Families of tables, chunks of random symbols, and their payloads from the CPU."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from isthmus.entropy import TableFamily, encode
from isthmus.entropy.tables.family import quantize_pmf


def random_family(rng: np.random.Generator, precision: int, count: int) -> TableFamily:
    """`count` tables of 1 to 40 symbols, from flat to almost free of cost."""
    size = rng.integers(1, 41, count)
    rows = [quantize_pmf(rng.random(n + 1) ** rng.integers(0, 40), precision) for n in size]
    return TableFamily(precision, rng.integers(-50, 50, count), size, np.concatenate(rows))


@dataclass(frozen=True)
class Chunked:
    """Chunks behind each other: symbols int32 [n], their table indices int16 [n], bounds [chunks + 1]."""

    family: TableFamily
    symbols: np.ndarray
    indices: np.ndarray
    bounds: np.ndarray

    @classmethod
    def random(cls, seed: int, family: TableFamily, sizes: list[int], escapes: float = 0.02) -> "Chunked":
        rng = np.random.default_rng(seed)
        n = sum(sizes)
        indices = rng.integers(0, len(family), n)
        inside = family.low[indices] + rng.integers(0, 1 << 30, n) % family.size[indices]
        anywhere = rng.integers(-(2**31), 2**31, n) >> rng.integers(0, 32, n)
        symbols = np.where(rng.random(n) < escapes, anywhere, inside).astype(np.int32)
        return cls(family, symbols, indices.astype(np.int16), np.cumsum([0, *sizes]))

    def payloads(self, lanes: int | None = None) -> list[bytes]:
        parts = [slice(a, b) for a, b in pairwise(self.bounds.tolist())]
        return [encode(self.symbols[part], self.indices[part], self.family, lanes=lanes) for part in parts]


def on_device(payloads: list[bytes], device: torch.device) -> tuple[torch.Tensor, list[int]]:
    """The bytes of all payloads on a device, and their bounds."""
    joined = np.frombuffer(b"".join(payloads), np.uint8).copy()
    return torch.from_numpy(joined).to(device), np.cumsum([0, *map(len, payloads)]).tolist()


def to_payloads(data: torch.Tensor, bounds: torch.Tensor) -> list[bytes]:
    """What `encode` gave, as bytes."""
    joined, ends = data.cpu().numpy().tobytes(), bounds.tolist()
    return [joined[a:b] for a, b in pairwise(ends)]
