# SPDX-License-Identifier: Apache-2.0
"""What the encoder of a factorized payload was free to choose."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.lazy import LazySequence


@dataclass(frozen=True)
class Choices:
    """What the encoder was free to choose; kept with a latent so that packing it again gives the same bytes."""

    lanes: int
    tables: tuple[int, ...]  # one a channel, 0..K-1
    offsets: tuple[int, ...]  # integer subtracted from the channel before coding


class ChoiceColumns(LazySequence[Choices]):
    """The choices of many items, each made when it is asked for. lanes: [n]; tables, offsets: [n, c]."""

    def __init__(self, lanes: NDArray[np.int64], tables: NDArray[np.int32], offsets: NDArray[np.int32]) -> None:
        self.lanes, self.tables, self.offsets = lanes, tables, offsets

    def __len__(self) -> int:
        return len(self.lanes)

    def item(self, place: int) -> Choices:
        tables, offsets = tuple(self.tables[place].tolist()), tuple(self.offsets[place].tolist())
        return Choices(int(self.lanes[place]), tables, offsets)
