# SPDX-License-Identifier: Apache-2.0
"""Context model of latents along time: the positions before name the table of each integer. Payload `context.2`.

Byte format: docs/format-context.md. With `choose`, the model also says which integers are worth their bits.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.arrays.types import Float32, Int16, Int32
from isthmus.entropy.coders.rans import Part, encode_parts
from isthmus.entropy.coders.rans_decoder import RansDecoder
from isthmus.entropy.models.causal_predictor import CausalPredictor
from isthmus.entropy.models.context_tables import TABLES, ContextChoices, TabledContexts
from isthmus.errors import CorruptStreamError
from isthmus.kernels.context import causal as kernels
from isthmus.kernels.context import choice
from isthmus.lazy import cached_property


@dataclass(frozen=True, eq=False)
class CausalModel(TabledContexts[CausalPredictor]):
    """The contexts of a `CausalPredictor` and the tables that they name."""

    Predictor = CausalPredictor

    def encode(self, planes: Int16, row: int, choices: ContextChoices | None = None) -> bytes:
        """int16 planes [C, T] to a payload; the choices are made here unless given.

        Raises ValueError for another number of planes.
        """
        if planes.ndim != 2 or planes.shape[0] != self.predictor.channels:
            raise ValueError(f"context: planes {planes.shape}, expected [{self.predictor.channels}, T]")
        symbols, contexts = self.predictor.contexts(planes, row)
        if choices is None:
            choices = self.choose_offsets(len(planes), [(symbols, contexts)])
        offsets = np.array(choices.offsets, np.int16)
        parts: list[Part] = [(offsets.astype(np.int32), np.array([TABLES], np.uint16), 0)]
        if planes.size:
            tables = np.empty(planes.shape, np.uint16)
            choice.tables_of(contexts, offsets, tables)
            parts.append((np.ascontiguousarray(symbols.T).reshape(-1), np.ascontiguousarray(tables.T).reshape(-1), 1))
        return b"".join(encode_parts(parts, self.family, choices.lanes))

    def decode(self, payload: bytes | memoryview, shape: tuple[int, int], row: int) -> tuple[Int16, ContextChoices]:
        """The inverse of `encode` for planes of `shape`; also what the encoder had chosen.

        Raises CorruptStreamError for a payload that does not hold such planes, before memory is taken for them.
        """
        channels, count = shape
        decoder = RansDecoder(payload, self.family)
        offsets = self.read_offsets(decoder, channels)
        self.check_room(payload, shape)
        frames = np.empty((count, channels), np.int16)
        weights, biases = self.predictor.weights, self.predictor.biases(row)
        if not decoder.apply(kernels.decode_frames, weights, biases, offsets, frames):
            raise CorruptStreamError("latent payload: a value does not fit 16 bits; fetch the stream again")
        decoder.finish()
        return np.ascontiguousarray(frames.T), ContextChoices(decoder.lanes, tuple(offsets.tolist()))

    def choose(self, values: Float32, centres: Float32, row: int, worth: float) -> Int16:
        """The integers int16 [C, T] that stand for values float32 [C, T] at the least error plus `worth` times bits.

        centres: float32 [C], what decoders multiply integers with, in the values' unit. worth: squared error of a bit.
        """
        frames = np.empty(values.shape[::-1], np.int16)
        kernels.choose_integers(
            self.predictor.weights, self.predictor.biases(row), np.ascontiguousarray(values.T), centres, self._costs,
            worth, frames,
        )  # fmt: skip
        return np.ascontiguousarray(frames.T)

    @cached_property
    def _costs(self) -> Int32:
        return self.costs_of(np.arange(TABLES), kernels.COST_REACH)
