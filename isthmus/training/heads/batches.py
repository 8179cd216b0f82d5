# SPDX-License-Identifier: Apache-2.0
"""The order of samples in a training, known for any step: one that was stopped goes on with the same batches."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class EndlessBatches(Sampler[list[int]]):
    """Batches of indices from step `first` on, for ever: epochs follow each other, each in an order of its own.

    indices: of what is trained on. Of several processes each takes its part of every batch: rank, world. parts: into
    how many each step is cut, one batch each.
    """

    def __init__(
        self, indices: Sequence[int] | NDArray[np.int64], batch: int, seed: int, *, first: int = 0, parts: int = 1,
        rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self.indices = np.asarray(indices, np.int64)
        if not len(self.indices):
            raise ValueError("no samples to train on")
        if batch % (parts * world):
            raise ValueError(f"batch {batch} is no multiple of {parts} parts times {world} processes")
        self.batch, self.seed, self.first, self.parts, self.rank, self.world = batch, seed, first, parts, rank, world
        self._epoch: tuple[int, NDArray[np.int64]] | None = None

    def __iter__(self) -> Iterator[list[int]]:
        step, share = self.first, self.batch // self.parts
        while True:
            whole = self.step(step)
            for part in range(self.parts):
                yield whole[part * share : (part + 1) * share][self.rank :: self.world].tolist()
            step += 1

    def step(self, number: int) -> NDArray[np.int64]:
        """The samples of a step of all processes together."""
        count = len(self.indices)
        places = np.arange(number * self.batch, (number + 1) * self.batch)
        return np.array([self._order(place // count)[place % count] for place in places.tolist()], np.int64)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._epoch is None or self._epoch[0] != epoch:
            shuffled = np.random.default_rng([self.seed, epoch]).permutation(self.indices)
            self._epoch = epoch, shuffled
        return self._epoch[1]
