# SPDX-License-Identifier: Apache-2.0
"""What a reader of sound gives: the facts at once, the samples block by block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

BLOCK = 1 << 20  # samples of each channel that are read at once


class RefusedError(ValueError):
    """A sound that a format does not take; whoever knows the file's name says that before it."""


@dataclass(frozen=True)
class Sound:
    """samples: of each channel, None where the file does not tell. tags: title, artist and such.

    blocks: float32 [C, n], full scale 1, from the beginning each time; from a pipe once. At least one, of no samples
    where there are none, so that the channels are known. Raises UnreadableFileError where the file turns out to be
    damaged.
    """

    sample_rate: int
    channels: int
    samples: int | None
    blocks: Callable[[], Iterator[np.ndarray]]
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", partial(_at_least_one, self.blocks, self.channels))


def _at_least_one(blocks: Callable[[], Iterator[np.ndarray]], channels: int) -> Iterator[np.ndarray]:
    empty = True
    for block in blocks():
        empty = False
        yield block
    if empty:
        yield np.zeros((channels, 0), np.float32)
