# SPDX-License-Identifier: Apache-2.0
"""Integer weights that predict mean and scale of latents along time from those before (`context.2`)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Int16, Int32
from isthmus.entropy.models.context_predictor import EXACT, MAX_CHANNELS, ROWS
from isthmus.entropy.models.integer_arrays import Expected, IntegerArrays
from isthmus.errors import CorruptStreamError
from isthmus.kernels.context import causal
from isthmus.kernels.context.causal import LAGS
from isthmus.kernels.context.rows import MEAN_LIMIT, SCALE_LIMIT
from isthmus.kernels.context.sums import LEVELS
from isthmus.lazy import cached_property

MAX_TAPS = 1 << 20


@dataclass(frozen=True, eq=False)
class CausalPredictor(IntegerArrays):
    """The arrays of the page's model table, C channels and N taps.

    tap_counts: int32 [2, C]; tap_planes, tap_lags, tap_weights: int16 [N]; mean_shift: int32 [C], 0..14; mean_bias,
    scale_bias, scale_offset: int32 [100, C]; scale_levels: int32 [384].

    Raises CorruptStreamError for other shapes and values: they come from weights files.
    """

    tap_counts: Int32
    tap_planes: Int16
    tap_lags: Int16
    tap_weights: Int16
    mean_shift: Int32
    mean_bias: Int32
    scale_bias: Int32
    scale_offset: Int32
    scale_levels: Int32

    def __post_init__(self) -> None:
        shape = self.tap_counts.shape
        c = shape[1] if len(shape) == 2 and shape[0] == 2 else 0
        if not 1 <= c <= MAX_CHANNELS:
            raise CorruptStreamError(f"weights file: context taps {shape}, expected int32 [2, channels]")
        taps = self.tap_planes.shape
        expected: Expected = {
            "tap_counts": (np.int32, (2, c)), "tap_planes": (np.int16, taps), "tap_lags": (np.int16, taps),
            "tap_weights": (np.int16, taps), "mean_shift": (np.int32, (c,)), "mean_bias": (np.int32, (ROWS, c)),
            "scale_bias": (np.int32, (ROWS, c)), "scale_offset": (np.int32, (ROWS, c)),
            "scale_levels": (np.int32, (LEVELS,)),
        }  # fmt: skip
        self.check_arrays(expected)
        if len(taps) != 1 or taps[0] > MAX_TAPS:
            raise CorruptStreamError(f"weights file: context taps {taps}, expected at most {MAX_TAPS}")
        self._check_values()

    def _check_values(self) -> None:
        counts = self.tap_counts.astype(np.int64)
        if counts.min() < 0 or counts.sum() != len(self.tap_planes):
            raise CorruptStreamError(f"weights file: {len(self.tap_planes)} context taps, their counts say otherwise")
        planes, lags = self.tap_planes, self.tap_lags
        known = (planes >= 0) & (planes < self.channels) & (lags >= 0) & (lags <= LAGS)
        if not (known & ((lags > 0) | (planes < self._of))).all():
            raise CorruptStreamError("weights file: a context tap looks at a position that is not decoded yet")
        self.check_ranges(self.mean_shift)
        largest = int(self.reach().max())
        if largest >= EXACT:
            raise CorruptStreamError(f"weights file: context sums reach {largest}, the limit is 2**24")

    @property
    def channels(self) -> int:
        """Number of planes, C."""
        return self.tap_counts.shape[1]

    @property
    def _of(self) -> NDArray[np.int64]:
        """The plane that each tap belongs to."""
        return np.repeat(np.tile(np.arange(self.channels), 2), self.tap_counts.reshape(-1))

    def reach(self) -> NDArray[np.int64]:
        """The largest sum of absolute terms of each mean and each scale: [2, C]."""
        sums = np.zeros(2 * self.channels, np.int64)
        of = np.repeat(np.arange(2 * self.channels), self.tap_counts.reshape(-1))
        np.add.at(sums, of, np.abs(self.tap_weights.astype(np.int64)))
        biases = [np.abs(b.astype(np.int64)).max(0) for b in (self.mean_bias, self.scale_bias)]
        reach: NDArray[np.int64] = sums.reshape(2, -1) * np.array([[MEAN_LIMIT], [SCALE_LIMIT]]) + np.stack(biases)
        return reach

    @cached_property
    def weights(self) -> tuple[NDArray[Any], ...]:
        """What the kernels take: begins int64 [2, C + 1], how far back and weights int32 [2, N], shift, levels."""
        begins = np.zeros((2, self.channels + 1), np.int64)
        np.cumsum(self.tap_counts, axis=1, out=begins[:, 1:])
        longest = int(begins[:, -1].max())
        backs, weights = np.zeros((2, longest), np.int32), np.zeros((2, longest), np.int32)
        back = self.tap_lags.astype(np.int64) * self.channels + self._of - self.tap_planes
        split = int(begins[0, -1])
        for kind, part in enumerate((slice(0, split), slice(split, None))):
            backs[kind, : len(back[part])] = back[part]
            weights[kind, : len(back[part])] = self.tap_weights[part]
        return begins, backs, weights, self.mean_shift, self.scale_levels

    def contexts(self, planes: Int16, row: int) -> tuple[Int32, Int16]:
        """Symbols int32 and contexts int16, as `kernels.context.passes` packs them, of int16 planes [C, T]: [C, T]."""
        frames = np.ascontiguousarray(planes.T)
        symbols, contexts = np.empty(planes.size, np.int32), np.empty(planes.size, np.int16)
        causal.encode_frames(self.weights, self.biases(row), frames, symbols, contexts)
        shape = frames.shape
        return np.ascontiguousarray(symbols.reshape(shape).T), np.ascontiguousarray(contexts.reshape(shape).T)

    def biases(self, row: int) -> tuple[Int32, Int32, Int32]:
        """What the kernels take of one row of the model, 1..100."""
        return self.mean_bias[row - 1], self.scale_bias[row - 1], self.scale_offset[row - 1]
