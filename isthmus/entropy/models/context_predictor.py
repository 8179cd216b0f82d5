# SPDX-License-Identifier: Apache-2.0
"""Integer weights that predict each latent's mean and scale from decoded neighbours (docs/format-context.md).

The nearest ancestors are the context models of lossless image coders: a weighted sum of neighbouring residuals names
the coder's table (Wu and Memon, "Context-based, adaptive, lossless image coding", IEEE Trans. Communications 1997).
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Int16, Int32
from isthmus.entropy.models.integer_arrays import Expected, IntegerArrays
from isthmus.errors import CorruptStreamError
from isthmus.kernels import tier
from isthmus.kernels.context import passes as kernels
from isthmus.kernels.context import plain
from isthmus.kernels.context.rows import MEAN_LIMIT, SCALE_LIMIT
from isthmus.kernels.context.sums import EARLIER, LEVELS, OWN, OWN_MOST, available, neighbours, plane_size
from isthmus.lazy import cached_property

ROWS = 100
TILE = 128  # latent positions a side; no context crosses a tile
EXACT = 1 << 24  # float32 holds all integers below it
MAX_CHANNELS = 512


@dataclass(frozen=True)
class TileContexts:
    """A tile's positions in the order of the stream, all [n]."""

    symbols: Int16 | Int32
    contexts: Int16  # as `isthmus.kernels.context.passes` packs them

    @property
    def scales(self) -> Int16:
        """Before the image offset and the clip to 0..63."""
        return (self.contexts >> 3) - np.int16(kernels.SCALES)

    @property
    def phases(self) -> Int16:
        """0..3."""
        return self.contexts >> 1 & 3


@dataclass(frozen=True, eq=False)
class ContextPredictor(IntegerArrays):
    """The arrays of the page's model table, C channels and P = C (C - 1) / 2 pairs of them.

    mean_own, scale_own: int16 [C, 4, 25]; mean_earlier, scale_earlier: int16 [4, P, 9]; mean_shift: int32 [C], 0..14;
    mean_bias, scale_bias, scale_offset: int32 [100, C, 4]; scale_levels: int32 [384].

    Raises CorruptStreamError for other shapes and values: they come from weights files.
    """

    mean_own: Int16
    mean_earlier: Int16
    mean_shift: Int32
    mean_bias: Int32
    scale_own: Int16
    scale_earlier: Int16
    scale_bias: Int32
    scale_offset: Int32
    scale_levels: Int32

    def __post_init__(self) -> None:
        shape = self.mean_own.shape
        c = shape[0] if len(shape) == 3 else 0
        if not 1 <= c <= MAX_CHANNELS:
            raise CorruptStreamError(f"weights file: context weights {shape}, expected int16 [channels, 4, 25]")
        pairs, levels = (4, c * (c - 1) // 2, EARLIER), (ROWS, c, 4)
        expected: Expected = {
            "mean_own": (np.int16, (c, 4, OWN)), "mean_earlier": (np.int16, pairs),
            "scale_own": (np.int16, (c, 4, OWN)), "scale_earlier": (np.int16, pairs),
            "mean_shift": (np.int32, (c,)), "mean_bias": (np.int32, levels), "scale_bias": (np.int32, levels),
            "scale_offset": (np.int32, levels), "scale_levels": (np.int32, (LEVELS,)),
        }  # fmt: skip
        self.check_arrays(expected)
        self._check_values()

    def _check_values(self) -> None:
        hidden = ~available()
        if self.mean_own[:, hidden].any() or self.scale_own[:, hidden].any():
            raise CorruptStreamError("weights file: a context weight looks at a position that is not decoded yet")
        self.check_ranges(self.mean_shift)
        for name, limit in (("mean", MEAN_LIMIT), ("scale", SCALE_LIMIT)):
            largest = int(self.reach(name, limit).max())
            if largest >= EXACT:
                raise CorruptStreamError(
                    f"weights file: the sums of a {name} reach {largest}, the limit is 2**24: they would not be exact"
                )

    def reach(self, name: str, limit: int) -> NDArray[np.int64]:
        """The largest sum of absolute terms of each channel and pass [C, 4]."""
        own = np.abs(getattr(self, f"{name}_own").astype(np.int64)).sum(2)  # [C, 4]
        pairs = np.abs(getattr(self, f"{name}_earlier").astype(np.int64)).sum(2)  # [4, P]
        begins = np.zeros((4, pairs.shape[1] + 1), np.int64)
        np.cumsum(pairs, axis=1, out=begins[:, 1:])
        c = np.arange(self.channels)
        earlier = (begins[:, c * (c + 1) // 2] - begins[:, c * (c - 1) // 2]).T
        bias = np.abs(getattr(self, f"{name}_bias").astype(np.int64)).max(0)
        reach: NDArray[np.int64] = (own + earlier) * limit + bias
        return reach

    @property
    def channels(self) -> int:
        """Number of planes, C."""
        return self.mean_own.shape[0]

    @cached_property
    def weights(self) -> tuple[NDArray[Any], ...]:
        """What the kernels take."""
        earlier = [w.transpose(1, 0, 2).astype(np.float32, order="C") for w in (self.mean_earlier, self.scale_earlier)]
        used = [np.asarray(w.any(axis=(1, 2))) for w in earlier]
        own = [np.zeros((self.channels, 4, OWN_MOST), np.float32) for _ in range(2)]
        for packed, weights in zip(own, (self.mean_own, self.scale_own), strict=True):
            for s, seen in enumerate(available()):
                packed[:, s, : seen.sum()] = weights[:, s, seen]
        kinds: list[NDArray[Any]] = [*earlier, *used, *own]
        return (*kinds, self.mean_shift, self.scale_levels, self.places)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where the neighbours of each plane are kept for means and for scales, int64 [2, C].

        Planes that no later one looks at share the last place, which leaves a core's cache to the others.
        """
        pairs = np.tri(self.channels, k=-1, dtype=bool)  # [C, C]: of a plane and an earlier one
        looked_at = np.zeros((2, *pairs.shape), bool)
        for kind, weights in enumerate((self.mean_earlier, self.scale_earlier)):
            looked_at[kind, pairs] = weights.any(axis=(0, 2))
        kept = looked_at.any(axis=1)
        places: NDArray[np.int64] = np.where(kept, kept.cumsum(axis=1) - 1, kept.sum(axis=1).max())
        return places

    def biases(self, row: int) -> tuple[NDArray[Any], ...]:
        """What the kernels take of one row of the model, 1..100."""
        mean, scale = (b[row - 1].astype(np.float32) for b in (self.mean_bias, self.scale_bias))
        return mean, scale, self.scale_offset[row - 1]

    def contexts(self, planes: Int16, row: int) -> Iterator[TileContexts]:
        """Symbols and contexts of all tiles of int16 planes [C, h, w], in the order of the stream."""
        biases = self.biases(row)
        encode = tier.pick(kernels.encode_tile, plain.encode_tile, planes.size * plain.POSITION)
        for top, left, height, width in tiles(*planes.shape[1:]):
            tile = np.ascontiguousarray(planes[:, top : top + height, left : left + width])
            layout, contexts = TileLayout.of(height, width), np.empty(tile.size, np.int16)
            for kind in (np.int16, np.int32):  # hardly any tile needs the wide one, which takes a cache twice the room
                symbols: NDArray[Any] = np.empty(tile.size, kind)
                fit = encode(
                    self.weights, biases, layout.starts, tile, layout.planes(self.places), layout.rows, layout.stride,
                    symbols, contexts,
                )  # fmt: skip
                if fit:
                    break
            yield TileContexts(symbols, contexts)


@dataclass(frozen=True)
class TileLayout:
    """Where the four phases of a tile's plane lie, and the neighbours within the plane."""

    height: int
    width: int
    rows: int  # of a phase, margins included
    stride: int
    starts: NDArray[np.int64]  # [4, OWN_MOST]: where each decoded neighbour of a pass begins

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, height: int, width: int) -> "TileLayout":
        rows, stride = (height + 1) // 2 + 2, (width + 1) // 2 + 2
        starts = np.zeros((4, OWN_MOST), np.int64)
        for packed, seen, places in zip(starts, available(), neighbours(rows, stride), strict=True):
            packed[: seen.sum()] = places[seen]
        return cls(height, width, rows, stride, starts)

    def planes(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Room for the neighbours of means and of scales at `places` [2, C], its margins zeros.

        A thread gets the same again for tiles of the same size: what is left from the last is never read.
        """
        use = self.height, self.width, int(places.max()) + 1
        if getattr(_kept, "use", None) != use:
            _kept.planes = np.zeros((2, use[2], plane_size(self.rows, self.stride)), np.float32)
            _kept.use = use
        planes: NDArray[np.float32] = _kept.planes
        return planes


_kept = threading.local()


def tiles(height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Top, left, height and width of each tile, row by row."""
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield top, left, min(TILE, height - top), min(TILE, width - left)
