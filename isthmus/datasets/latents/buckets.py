# SPDX-License-Identifier: Apache-2.0
"""Batches of samples of like size, so that little is padded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler


class SizeBuckets(Sampler[list[int]]):
    """A batch sampler for latents of different sizes: `DataLoader(data, batch_sampler=SizeBuckets(data, 64))`.

    data: a `LatentDataset`, or sizes, [n, axes] or [n]. Images of one grid share batches, the last of each grid may be
    smaller; sounds of like length do, with exact=False, so that all batches but one are full. alike: sizes that differ
    by less share a grid, 8 pixels of the codecs that ship. Each epoch (`set_epoch`) has an order of its own.

    rank, world: of how many processes this is which; None: as torch.distributed says. All make as many batches: up to
    world - 1 come twice. Raises ValueError for a batch_size below 1.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        exact: bool | None = None,
        alike: int | None = None,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        sound = getattr(data, "kind", None) == "audio"
        sizes = np.asarray(data.sizes if hasattr(data, "sizes") else data, np.int64)
        sizes = sizes[:, None] if sizes.ndim == 1 else sizes
        self.exact = not sound if exact is None else exact
        self._grids = -(-sizes // (alike or (1 if sound or not hasattr(data, "sizes") else 8)))
        self.batch_size, self.shuffle, self.seed, self.drop_last = batch_size, shuffle, seed, drop_last
        found = rank_and_world()
        self.rank, self.world = found[0] if rank is None else rank, found[1] if world is None else world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another order in each epoch, the same in all processes."""
        self.epoch = epoch

    def _batches(self) -> list[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(len(self._grids)) if self.shuffle else np.arange(len(self._grids))
        order = order[np.lexsort(self._grids[order].T[::-1])]  # stable: within a grid as shuffled
        cuts: Sequence[int] = []
        if self.exact and len(order):
            cuts = (np.flatnonzero((np.diff(self._grids[order], axis=0) != 0).any(1)) + 1).tolist()
        made = []
        for group in np.split(order, cuts):
            made += [group[i : i + self.batch_size].tolist() for i in range(0, len(group), self.batch_size)]
        if self.drop_last:
            made = [batch for batch in made if len(batch) == self.batch_size]
        return [made[i] for i in random.permutation(len(made))] if self.shuffle else made

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._batches()
        if batches and len(batches) % self.world:
            missing = -len(batches) % self.world
            batches += (batches * (missing // len(batches) + 1))[:missing]
        yield from batches[self.rank :: self.world]

    def __len__(self) -> int:
        return -(-len(self._batches()) // self.world)


def rank_and_world() -> tuple[int, int]:
    """Which of how many processes of a training this is: as torch.distributed says, then RANK and WORLD_SIZE."""
    import torch.distributed as distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    try:
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    except ValueError as error:
        raise ValueError(f"RANK and WORLD_SIZE must be numbers: {error}") from error
    if not 0 <= rank < world:
        raise ValueError(f"RANK is {rank} of WORLD_SIZE {world}")
    return rank, world
