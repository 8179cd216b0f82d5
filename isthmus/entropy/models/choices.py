# SPDX-License-Identifier: Apache-2.0
"""What the encoder of a factorized payload was free to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Choices:
    """What the encoder was free to choose; kept with a latent so that packing it again gives the same bytes."""

    lanes: int
    tables: tuple[int, ...]  # one a channel, 0..K-1
    offsets: tuple[int, ...]  # integer subtracted from the channel before coding


class ChoiceColumns(Sequence[Choices]):
    """The choices of many items, each made when it is asked for. lanes: [n]; tables, offsets: [n, c]."""

    def __init__(self, lanes: NDArray[np.int64], tables: NDArray[np.int32], offsets: NDArray[np.int32]) -> None:
        self.lanes, self.tables, self.offsets = lanes, tables, offsets

    def __len__(self) -> int:
        return len(self.lanes)

    @overload
    def __getitem__(self, item: int) -> Choices: ...
    @overload
    def __getitem__(self, item: slice) -> list[Choices]: ...
    def __getitem__(self, item: int | slice) -> Choices | list[Choices]:
        if isinstance(item, slice):
            return [self[i] for i in range(*item.indices(len(self)))]
        tables, offsets = tuple(self.tables[item].tolist()), tuple(self.offsets[item].tolist())
        return Choices(int(self.lanes[item]), tables, offsets)
