# SPDX-License-Identifier: Apache-2.0
"""What both context models share: the tables that contexts name, the arrays they ship as, and an encoder's choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Int32
from isthmus.entropy.coders.rans import lanes_for
from isthmus.entropy.coders.rans_decoder import RansDecoder
from isthmus.entropy.models.integer_arrays import IntegerArrays
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.fixed_log2 import COST_ONE
from isthmus.errors import CorruptStreamError
from isthmus.kernels import tier
from isthmus.kernels.context import choice, plain
from isthmus.kernels.context.passes import PHASES, SCALES
from isthmus.lazy import cached_property

TABLES = SCALES * PHASES
ESCAPE_COST = 8 * COST_ONE
JUDGED = 1024  # positions of a plane on which its image offset is chosen, at most


@dataclass(frozen=True)
class ContextChoices:
    """What the encoder was free to choose; kept with a latent so that packing it again gives the same bytes."""

    lanes: int
    offsets: tuple[int, ...]  # scales added to what the contexts say, one a channel


P = TypeVar("P", bound=IntegerArrays)
M = TypeVar("M", bound="TabledContexts[Any]")


@dataclass(frozen=True, eq=False)
class TabledContexts(Generic[P]):
    """`predictor` and the tables that it names: 64 scales of 4 phases each, then one for image offsets.

    Raises CorruptStreamError for another number of tables: they come from a weights file.
    """

    Predictor: ClassVar[type[Any]]

    predictor: P
    family: TableFamily
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.family) != TABLES + 1:
            raise CorruptStreamError(f"weights file: {len(self.family)} context tables, expected {TABLES + 1}")
        digest = sha256(bytes.fromhex(self.family.hash) + self.predictor.digest)
        object.__setattr__(self, "hash", digest.hexdigest()[:8])

    @classmethod
    def from_arrays(cls: type[M], arrays: Mapping[str, NDArray[Any]]) -> M:
        """The inverse of `to_arrays`; raises CorruptStreamError for arrays that are no valid model."""
        try:
            predictor = cls.Predictor(**{f.name: arrays[f.name] for f in fields(cls.Predictor)})
        except KeyError as error:
            raise CorruptStreamError(f"weights file: the context model lacks {error}; fetch the file again") from error
        return cls(predictor, TableFamily.from_arrays(arrays))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Integer arrays that hold the whole model, for safetensors."""
        return self.family.to_arrays() | self.predictor.to_arrays()

    def choose_offsets(self, channels: int, found: Sequence[tuple[NDArray[Any], NDArray[np.int16]]]) -> ContextChoices:
        """The cheapest image offset of each channel, judged on up to JUDGED positions of it, and lanes for that.

        found: symbols and contexts of parts of a payload, each [channels, n] or flat, channel after channel.
        """
        costs = np.zeros((channels, choice.OFFSETS), np.int64)
        step = max(1, -(-sum(symbols.size for symbols, _ in found) // (channels * JUDGED)))
        judge = tier.pick(choice.judge_offsets, plain.judge_offsets, channels * JUDGED * plain.CHOICE)
        pick = tier.pick(choice.pick_offsets, plain.pick_offsets, channels * plain.CHOICE)
        for symbols, contexts in found:
            judge(symbols.reshape(channels, -1), contexts.reshape(channels, -1), step, self._arranged, costs)
        offsets = np.empty(channels, np.int16)
        total = pick(costs, step, self._offset_costs, offsets)
        return ContextChoices(lanes_for(total), tuple(offsets.tolist()))

    def read_offsets(self, decoder: RansDecoder, channels: int) -> Int32:
        """The image offsets that begin a payload. Raises CorruptStreamError for those beyond +-6."""
        offsets = decoder.decode(TABLES, channels)
        if (offsets < -choice.OFFSET_REACH).any() or (offsets > choice.OFFSET_REACH).any():
            raise CorruptStreamError("latent payload: an image offset is outside -6..6; fetch the stream again")
        return offsets

    @cached_property
    def least_cost(self) -> int:
        """Of a position, in 1/65536 bits."""
        return int(self.family.least_costs[:TABLES].min())

    def check_room(self, payload: bytes | memoryview, shape: tuple[int, ...]) -> None:
        """Raises CorruptStreamError where a payload cannot hold planes of `shape`: 34 bits a word at most."""
        count = 1
        for side in shape:
            count *= side
        if self.least_cost * count > 17 * COST_ONE * len(payload):
            size = " x ".join(map(str, shape))
            raise CorruptStreamError(
                f"latent payload: {len(payload)} bytes cannot hold {size} latents; the header "
                "or the payload is damaged, fetch the stream again"
            )

    def costs_of(self, tables: NDArray[np.int64], reach: int) -> Int32:
        """What each symbol -reach..reach costs with each of the tables, in 1/65536 bits: [tables, 2 reach + 1]."""
        t = self.family
        entry = np.arange(-reach, reach + 1) - t.low[tables, None]
        size = t.size[tables, None]
        escaped = (entry < 0) | (entry >= size)
        costs = t.costs[t.starts[tables, None] + np.where(escaped, size, entry)]
        return np.ascontiguousarray(costs + escaped * ESCAPE_COST, np.int32)

    @cached_property
    def _arranged(self) -> Int32:
        return choice.arrange_costs(self.costs_of(np.arange(TABLES), choice.JUDGED_REACH))

    @cached_property
    def _offset_costs(self) -> Int32:
        return self.costs_of(np.array([TABLES]), choice.OFFSET_REACH)[0]
