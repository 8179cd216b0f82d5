# SPDX-License-Identifier: Apache-2.0
"""The order of samples in a training, known for any step: one that was stopped goes on with the same batches."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from isthmus.errors import IsthmusError


def read(loader: Iterable[Any]) -> Iterator[Any]:
    """What a loader gives, and errors of its workers as the process that reads would raise them, in one line."""
    try:
        yield from loader
    except (IsthmusError, ValueError, OSError) as error:
        text = str(error)
        if not text.startswith("Caught "):
            raise
        last = text.rstrip().splitlines()[-1]  # "isthmus.errors.UnreadableFileError: what was read"
        raise type(error)(last.partition(": ")[2] or last) from None


class Place(int):
    """The index of a sample, and its `number` in the training, from which what is random about it may be drawn."""

    number: int

    def __new__(cls, index: int, number: int) -> "Place":
        made = super().__new__(cls, index)
        made.number = number
        return made

    def __reduce__(self) -> tuple[type["Place"], tuple[int, int]]:
        return Place, (int(self), self.number)


class EndlessBatches(Sampler[list[int]]):
    """Batches of indices, each a `Place`, from step `first` on, for ever; each epoch has an order of its own.

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
            places = enumerate(self.step(step).tolist(), step * self.batch)
            whole: list[int] = [Place(index, number) for number, index in places]
            for part in range(self.parts):
                yield whole[part * share : (part + 1) * share][self.rank :: self.world]
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
