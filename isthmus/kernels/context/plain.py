# SPDX-License-Identifier: Apache-2.0
"""The kernels of `passes` and `choice` in numpy, for `tier`: a pass of a plane at a time, with the same results.

The planes before are summed by matrix products, one for each phase that neighbours lie in. All sums are integers below
2**24 in float32, exact in any order. What the planes hold lies as `passes` leaves it.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus.kernels.context.choice import JUDGED_REACH, OFFSET_REACH, OFFSETS, SYMBOLS
from isthmus.kernels.context.passes import HIGHEST, LOWEST_CODE, PHASES, SCALES
from isthmus.kernels.context.rows import HIGHEST_SYMBOL, LOWEST_SYMBOL, MEAN_LIMIT, SCALE_LIMIT
from isthmus.kernels.context.sums import EARLIER, OWN, PASSES, neighbours
from isthmus.kernels.rans import plain as rans

POSITION = 2.5e-7  # seconds that a position takes, but for its symbol
CHOICE = 1e-7  # and one that an image offset is judged on, or given to

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]
Model: TypeAlias = tuple[NDArray[Any], ...]
Places: TypeAlias = list[tuple[int, int, int]]  # phase, row and column where neighbours begin

INNER = np.arange(OWN).reshape(5, 5)[1:4, 1:4].reshape(-1)  # the earlier planes' window within the own plane's


def _places(starts: NDArray[np.int64], rows: int, stride: int) -> Places:
    return [(start // stride // rows, start // stride % rows, start % stride) for start in starts.reshape(-1).tolist()]


@lru_cache(maxsize=16)
def _window(rows: int, stride: int) -> tuple[NDArray[np.int64], list[Places]]:
    """Which of the 4 * EARLIER weights meet each phase, [4, EARLIER], and each one's place in products by phase."""
    places = _places(neighbours(rows, stride)[:, INNER], rows, stride)
    order = np.argsort([phase for phase, _, _ in places], kind="stable").reshape(4, EARLIER)
    rank = np.argsort(order, axis=None)  # phase * EARLIER + place among those of the phase
    found = [(int(r), row, column) for r, (_, row, column) in zip(rank, places, strict=True)]
    return order, [found[EARLIER * s :][:EARLIER] for s in range(4)]


class _Sums:
    """The sums of one kind, means (0) or scales (1), of a tile."""

    def __init__(
        self, kind: int, model: Model, bias: Floats, starts: NDArray[np.int64], planes: Floats, rows: int, stride: int
    ) -> None:
        self.earlier, self.used, self.own = model[kind], model[2 + kind], model[4 + kind]
        self.places, self.bias = model[8][kind], bias
        self.planes = planes[kind, :, : 4 * rows * stride].reshape(-1, 4, rows, stride)
        self.order, self.window = _window(rows, stride)
        self.starts = [_places(of, rows, stride) for of in starts]
        self.products: Floats | None = None

    def begin(self, c: int) -> None:
        """Goes to plane c."""
        self.c, self.plane = c, self.planes[self.places[c]]
        first = c * (c - 1) // 2
        used = np.flatnonzero(self.used[first : first + c])
        self.products = None
        if used.size:
            count, (_, _, rows, stride) = int(self.places[used].max()) + 1, self.planes.shape
            weights = np.zeros((count, 4 * EARLIER), np.float32)
            weights[self.places[used]] = self.earlier[first + used].reshape(-1, 4 * EARLIER)
            planes = self.planes[:count].reshape(count, 4, rows * stride).transpose(1, 0, 2)
            products = weights.T[self.order] @ planes  # [4, EARLIER, rows * stride]
            self.products = products.reshape(-1, rows, stride)

    def total(self, s: int, rows: int, columns: int) -> Floats:
        """The sums of pass s of the plane, [rows, columns]."""
        total = np.full((rows, columns), self.bias[self.c, s], np.float32)
        if self.products is not None:
            for n, row, column in self.window[s]:
                total += self.products[n, row : row + rows, column : column + columns]
        for weight, (phase, row, column) in zip(self.own[self.c, s], self.starts[s], strict=True):
            if weight:
                total += weight * self.plane[phase, row : row + rows, column : column + columns]
        return total

    def keep(self, s: int, values: Ints) -> None:
        """What later sums see of pass s."""
        self.plane[s, 1 : 1 + values.shape[0], 1 : 1 + values.shape[1]] = values


def _predict(
    model: Model, offset: int, bounds: tuple[int, int, int], c: int, means: Floats, scales: Floats
) -> tuple[Ints, Ints]:
    """Rounded means and contexts, int32. bounds: an image offset, and the least and most that scales are clipped to."""
    shift, mean = int(model[6][c]), means.astype(np.int32)
    nearest = (mean + ((1 << shift) >> 1)) >> shift
    fraction = mean - (nearest << shift)
    image_offset, least, most = bounds
    scale_of = (((model[7] + offset) >> 4).clip(-SCALES, HIGHEST) + image_offset).clip(least, most)
    # The exponent and the first four mantissa bits of a float32 integer are its logarithm's place.
    code = np.maximum((scales.view(np.int32) >> 19) - LOWEST_CODE, 0)
    phase = np.minimum((np.abs(fraction) << 3) >> shift, PHASES - 1)
    return nearest, scale_of[code] << 3 | phase << 1 | (fraction < 0)


def _walk(
    model: Model, biases: Model, starts: NDArray[np.int64], planes: Floats, rows: int, stride: int,
    tile: NDArray[np.int16], bounds: list[tuple[int, int, int]],
) -> Iterator[tuple[NDArray[np.int16], Ints, Ints, _Sums, _Sums, int]]:  # fmt: skip
    """Each pass that is not empty: its view of the tile, rounded means, contexts, both sums, and its number."""
    means, scales = (_Sums(kind, model, biases[kind], starts, planes, rows, stride) for kind in range(2))
    for c, plane in enumerate(tile):
        means.begin(c)
        scales.begin(c)
        for s, (top, left) in enumerate(PASSES):
            view = plane[top::2, left::2]
            if view.size:
                totals = (sums.total(s, *view.shape) for sums in (means, scales))
                rounded, contexts = _predict(model, biases[2][c, s], bounds[c], c, *totals)
                yield view, rounded, contexts, means, scales, s


def encode_tile(
    model: Model, biases: Model, starts: NDArray[np.int64], tile: NDArray[np.int16], planes: Floats, rows: int,
    stride: int, symbols: NDArray[Any], contexts: NDArray[np.int16],
) -> bool:  # fmt: skip
    """As `passes.encode_tile`."""
    i = most = 0
    bounds = [(SCALES, 0, SCALES + HIGHEST)] * len(tile)
    for view, rounded, found, means, scales, s in _walk(model, biases, starts, planes, rows, stride, tile, bounds):
        residual = view - rounded
        magnitude = np.abs(residual)
        most = max(most, int(magnitude.max()))
        means.keep(s, view.clip(-MEAN_LIMIT, MEAN_LIMIT))
        scales.keep(s, np.minimum(magnitude, SCALE_LIMIT))
        symbols[i : i + view.size] = np.where(found & 1, -residual, residual).reshape(-1)
        contexts[i : i + view.size] = found.reshape(-1)
        i += view.size
    return most < 1 << 15


def decode_tile(
    first: int, lookups: Any, states: NDArray[np.uint32], words: NDArray[np.uint16], escapes: NDArray[np.uint8],
    at: int, escape_at: int, model: Model, biases: Model, starts: NDArray[np.int64], offsets: Ints, planes: Floats,
    rows: int, stride: int, tile: NDArray[np.int16],
) -> tuple[int, int, int, bool]:  # fmt: skip
    """As `passes.decode_tile`."""
    bounds = [(offset, 0, SCALES - 1) for offset in offsets.tolist()]
    for view, rounded, found, means, scales, s in _walk(model, biases, starts, planes, rows, stride, tile, bounds):
        d = np.empty(view.size, np.int32)
        tables = (found >> 1).reshape(-1).astype(np.uint16)
        at, escape_at = rans.decode(tables, 1, first, lookups, states, words, escapes, at, escape_at, d)
        if at < 0 or escape_at < 0:
            return first, at, escape_at, True
        first += view.size
        d = d.reshape(view.shape).clip(LOWEST_SYMBOL, HIGHEST_SYMBOL)
        values = rounded + np.where(found & 1, -d, d)
        if values.min() < -(1 << 15) or values.max() >= 1 << 15:
            return first, at, escape_at, False
        view[:] = values
        means.keep(s, values.clip(-MEAN_LIMIT, MEAN_LIMIT))
        scales.keep(s, np.minimum(np.abs(d), SCALE_LIMIT))
    return first, at, escape_at, True


def judge_offsets(
    symbols: NDArray[Any], contexts: NDArray[np.int16], step: int, arranged: Ints, out: NDArray[np.int64]
) -> None:
    """As `choice.judge_offsets`."""
    symbol = symbols[:, ::step].clip(-JUDGED_REACH, JUDGED_REACH).astype(np.int64) + JUDGED_REACH
    k = contexts[:, ::step].astype(np.int64)
    scale = ((k >> 3) - SCALES).clip(-OFFSET_REACH, SCALES + OFFSET_REACH - 1) + OFFSET_REACH
    places = ((k >> 1 & (PHASES - 1)) * SYMBOLS + symbol) * arranged.shape[2] + scale
    for o in range(OFFSETS):
        out[:, o] += arranged.reshape(-1)[places + o].sum(axis=1, dtype=np.int64)


def pick_offsets(costs: NDArray[np.int64], step: int, own_costs: Ints, offsets: NDArray[np.int16]) -> int:
    """As `choice.pick_offsets`."""
    every = costs * step + own_costs
    offsets[:] = every.argmin(axis=1) - OFFSET_REACH
    return int(every.min(axis=1).sum())


def tables_of(contexts: NDArray[np.int16], offsets: NDArray[np.int16], out: NDArray[np.uint16]) -> None:
    """As `choice.tables_of`."""
    scale = ((contexts >> 3) + (offsets[:, None] - SCALES)).clip(0, SCALES - 1)
    out[:] = scale * PHASES + (contexts >> 1 & (PHASES - 1))
