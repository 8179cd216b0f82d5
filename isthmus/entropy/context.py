# SPDX-License-Identifier: Apache-2.0
"""Context model of latents: already decoded neighbours name the table of each integer. Payload `context.1`.

Four passes over interleaved sub-grids of a plane, planes one after another, one resumable rANS stream: every pass is
decoded at once. Byte format: docs/format-context.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.context_predictor import ContextPredictor, TileContexts, TileLayout, tiles
from isthmus.entropy.rans import RansDecoder, encode_segments
from isthmus.entropy.tables import COST_ONE, TableFamily
from isthmus.errors import CorruptStreamError
from isthmus.kernels import numba_context as kernels

TABLES = kernels.SCALES * kernels.PHASES
ESCAPE_COST = 8 * COST_ONE
JUDGED = 2048  # positions of a plane on which its image offset is chosen, about

Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]


@dataclass(frozen=True)
class ContextChoices:
    """What the encoder was free to choose; kept with a latent so that packing it again gives the same bytes."""

    lanes: int
    offsets: tuple[int, ...]  # scales added to what the contexts say, one a channel


@dataclass(frozen=True, eq=False)
class ContextModel:
    """`predictor` and the tables that it names: 64 scales of 4 phases each, then one for image offsets."""

    predictor: ContextPredictor
    family: TableFamily
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.family) != TABLES + 1:
            raise CorruptStreamError(f"weights file: {len(self.family)} context tables, expected {TABLES + 1}")
        digest = sha256(bytes.fromhex(self.family.hash) + self.predictor.digest)
        object.__setattr__(self, "hash", digest.hexdigest()[:8])

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "ContextModel":
        """The inverse of `to_arrays`; raises CorruptStreamError for arrays that are no valid model."""
        try:
            predictor = ContextPredictor(**{f.name: arrays[f.name] for f in fields(ContextPredictor)})
        except KeyError as error:
            raise CorruptStreamError(f"weights file: the context model lacks {error}; fetch the file again") from error
        return cls(predictor, TableFamily.from_arrays(arrays))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Integer arrays that hold the whole model, for safetensors."""
        return self.family.to_arrays() | self.predictor.to_arrays()

    def encode(self, planes: Int16, quality: int, choices: ContextChoices | None = None) -> bytes:
        """int16 planes [C, h, w] to a payload; the choices are made here unless given.

        Raises ValueError for another number of planes.
        """
        if planes.ndim != 3 or planes.shape[0] != self.predictor.channels:
            raise ValueError(f"context: planes {planes.shape}, expected [{self.predictor.channels}, h, w]")
        found = list(self.predictor.contexts(planes, quality))
        offsets = self.choose(found) if choices is None else np.array(choices.offsets)
        segments: list[tuple[object, object]] = [(offsets.astype(np.int32), TABLES)]
        for tile in found:
            tables = np.empty(len(tile.symbols), np.uint16)
            for offset, k, j, part in zip(offsets, *_rows(len(planes), tile.scales, tile.phases, tables), strict=True):
                kernels.tables_of(k, j, offset, part)
            segments.append((tile.symbols, tables))
        return encode_segments(segments, self.family, lanes=choices.lanes if choices else None)

    def choose(self, found: Sequence[TileContexts]) -> NDArray[np.int64]:
        """The cheapest image offset of each channel, judged on about JUDGED positions of it."""
        channels = self.predictor.channels
        t = self.family
        costs = np.zeros((channels, 2 * kernels.OFFSET_REACH + 1), np.int64)
        step = max(1, sum(len(tile.symbols) for tile in found) // (channels * JUDGED))
        for tile in found:
            for d, k, j, row in zip(*_rows(channels, tile.symbols, tile.scales, tile.phases), costs, strict=True):
                kernels.offset_costs(d, k, j, step, t.low, t.size, t.starts, t.costs, ESCAPE_COST, row)
        offsets: NDArray[np.int64] = np.argmin(costs * step + self._offset_costs, axis=1) - kernels.OFFSET_REACH
        return offsets

    @property
    def _offset_costs(self) -> NDArray[np.int64]:
        """What each image offset costs to send, in 1/65536 bits."""
        t = self.family
        size = int(t.size[TABLES])
        entry = np.arange(-kernels.OFFSET_REACH, kernels.OFFSET_REACH + 1) - int(t.low[TABLES])
        escaped = (entry < 0) | (entry >= size)
        costs: NDArray[np.int64] = t.costs[t.starts[TABLES] + np.where(escaped, size, entry)] + escaped * ESCAPE_COST
        return costs

    def decode(
        self, payload: bytes | memoryview, shape: tuple[int, int, int], quality: int
    ) -> tuple[Int16, ContextChoices]:
        """The inverse of `encode` for planes of `shape`; also what the encoder had chosen.

        Raises CorruptStreamError for a payload that does not hold such planes, before memory is taken for them.
        """
        channels, height, width = shape
        decoder = RansDecoder(payload, self.family)
        offsets = decoder.decode(TABLES, channels)
        if (offsets < -kernels.OFFSET_REACH).any() or (offsets > kernels.OFFSET_REACH).any():
            raise CorruptStreamError("latent payload: an image offset is outside -6..6; fetch the stream again")
        least = int(self.family.least_costs[:TABLES].min()) * channels * height * width
        if least > 17 * COST_ONE * len(payload):  # 34 bits a word at most: see RansDecoder
            raise CorruptStreamError(
                f"latent payload: {len(payload)} bytes cannot hold {channels} x {height} x {width} latents; the header "
                "or the payload is damaged, fetch the stream again"
            )
        planes = np.empty(shape, np.int16)
        for top, left, rows, columns in tiles(height, width):
            self._decode_tile(decoder, planes[:, top : top + rows, left : left + columns], quality, offsets)
        decoder.finish()
        return planes, ContextChoices(decoder.lanes, tuple(offsets.tolist()))

    def _decode_tile(self, decoder: RansDecoder, tile: Int16, quality: int, offsets: Int32) -> None:
        height, width = tile.shape[1:]
        layout = TileLayout.of(height, width)
        model, biases = self.predictor.weights, self.predictor.biases(quality)
        planes = layout.empty(len(tile))
        room = layout.rows * layout.stride
        means, sums = np.empty(room, np.float32), np.empty(room, np.float32)
        rounded, flips = np.empty(room, np.int32), np.empty(room, np.bool_)
        scales, phases, tables = np.empty(room, np.int16), np.empty(room, np.uint8), np.empty(room, np.uint16)
        for c in range(len(tile)):
            for s, (row, column) in enumerate(kernels.PASSES):
                shape = ((height - row + 1) // 2, (width - column + 1) // 2, layout.stride)
                n = shape[0] * shape[1]
                if n == 0:
                    continue
                kernels.predict(
                    model, biases, layout.places, c, s, planes, shape, means, sums, rounded, flips, scales, phases
                )
                kernels.tables_of(scales, phases, offsets[c], tables[:n])
                symbols = decoder.decode(tables[:n])
                if not kernels.restore(symbols, rounded, flips, c, s, planes, shape, layout.rows, tile):
                    raise CorruptStreamError("latent payload: a value does not fit 16 bits; fetch the stream again")


def _rows(channels: int, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """Arrays of a tile cut by channel: views [C, positions]."""
    return [array.reshape(channels, -1) for array in arrays]
