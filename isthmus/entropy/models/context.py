# SPDX-License-Identifier: Apache-2.0
"""Context model of latents: already decoded neighbours name the table of each integer. Payload `context.1`.

Four passes over interleaved sub-grids of a plane, planes one after another, one resumable rANS stream: every pass is
decoded at once. Byte format: docs/format-context.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Int16, Int32
from isthmus.entropy.coders.rans import Part, encode_parts
from isthmus.entropy.coders.rans_decoder import RansDecoder
from isthmus.entropy.models.context_predictor import ContextPredictor, TileContexts, TileLayout, tiles
from isthmus.entropy.models.context_tables import TABLES, ContextChoices, TabledContexts
from isthmus.errors import CorruptStreamError
from isthmus.kernels import threads as pool
from isthmus.kernels import tier
from isthmus.kernels.context import choice, plain
from isthmus.kernels.context import passes as kernels
from isthmus.kernels.rans import plain as rans_plain


@dataclass(frozen=True, eq=False)
class ContextModel(TabledContexts[ContextPredictor]):
    """The contexts of a `ContextPredictor` and the tables that they name."""

    Predictor = ContextPredictor

    def encode(self, planes: Int16, row: int, choices: ContextChoices | None = None) -> bytes:
        """int16 planes [C, h, w] to a payload; the choices are made here unless given.

        Raises ValueError for another number of planes.
        """
        if planes.ndim != 3 or planes.shape[0] != self.predictor.channels:
            raise ValueError(f"context: planes {planes.shape}, expected [{self.predictor.channels}, h, w]")
        found = list(self.predictor.contexts(planes, row))
        if choices is None:
            choices = self.choose(found)
        offsets = np.array(choices.offsets, np.int16)  # of one dtype with most symbols: one kernel less
        parts: list[Part] = [(offsets, np.array([TABLES], np.uint16), 0)]
        name = tier.pick(choice.tables_of, plain.tables_of, planes.size * plain.CHOICE)
        for tile in found:
            tables = tile.contexts.view(np.uint16)  # in their place: they are not needed any more
            contexts, out = _rows(len(planes), tile.contexts, tables)
            name(contexts, offsets, out)
            parts.append((tile.symbols, tables, 1))
        return b"".join(encode_parts(parts, self.family, choices.lanes))

    def choose(self, found: Sequence[TileContexts]) -> ContextChoices:
        """What the encoder is free to choose, for the tiles of one payload."""
        return self.choose_offsets(self.predictor.channels, [(tile.symbols, tile.contexts) for tile in found])

    def decode(
        self, payload: bytes | memoryview, shape: tuple[int, int, int], row: int
    ) -> tuple[Int16, ContextChoices]:
        """The inverse of `encode` for planes of `shape`; also what the encoder had chosen.

        Raises CorruptStreamError for a payload that does not hold such planes, before memory is taken for them.
        """
        channels, height, width = shape
        decoder = RansDecoder(payload, self.family)
        offsets = self.read_offsets(decoder, channels)
        self.check_room(payload, shape)
        planes = np.empty(shape, np.int16)
        seconds = planes.size * (plain.POSITION + rans_plain.SYMBOL)
        kernel = tier.pick(kernels.decode_tile, plain.decode_tile, seconds)
        for top, left, rows, columns in tiles(height, width):
            self._decode_tile(decoder, kernel, planes[:, top : top + rows, left : left + columns], row, offsets)
        decoder.finish()
        return planes, ContextChoices(decoder.lanes, tuple(offsets.tolist()))

    def encode_batch(
        self,
        planes: Int16,
        rows: Sequence[int],
        choices: Sequence[ContextChoices] | None = None,
        *,
        threads: int = 1,
    ) -> list[bytes]:
        """One payload for each item of int16 planes [n, C, h, w], the same as `encode` makes, on several threads."""
        given: Sequence[ContextChoices | None] = choices or [None] * len(planes)

        def work(item: int) -> bytes:
            return self.encode(planes[item], rows[item], given[item])

        return pool.run(work, range(len(planes)), threads)

    def decode_batch(
        self,
        payloads: Sequence[bytes | memoryview],
        shape: tuple[int, int, int],
        rows: Sequence[int],
        *,
        threads: int = 1,
    ) -> tuple[Int16, list[ContextChoices]]:
        """The inverse of `encode_batch`: int16 [n, C, h, w] and what was chosen for each item. Raises as `decode`."""
        found = pool.run(lambda item: self.decode(payloads[item], shape, rows[item]), range(len(payloads)), threads)
        planes = np.stack([planes for planes, _ in found]) if found else np.empty((0, *shape), np.int16)
        return planes, [chosen for _, chosen in found]

    decode_columns = decode_batch  # as factorized models have it: here a list costs next to nothing

    def _decode_tile(self, decoder: RansDecoder, kernel: Any, tile: Int16, row: int, offsets: Int32) -> None:
        layout = TileLayout.of(*tile.shape[1:])
        values = tile if tile.flags.c_contiguous else np.empty(tile.shape, np.int16)
        fits = decoder.apply(
            kernel, self.predictor.weights, self.predictor.biases(row), layout.starts, offsets,
            layout.planes(self.predictor.places), layout.rows, layout.stride, values,
        )  # fmt: skip
        if not fits:
            raise CorruptStreamError("latent payload: a value does not fit 16 bits; fetch the stream again")
        if values is not tile:
            tile[:] = values


def _rows(channels: int, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """Arrays of a tile cut by channel: views [C, positions]."""
    return [array.reshape(channels, -1) for array in arrays]
