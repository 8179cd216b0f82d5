# SPDX-License-Identifier: Apache-2.0
"""Pictures as what a loss is of: integers for every pixel of the grid, and nothing where nobody knows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from isthmus.datasets.latents.batch import Samples
from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.training.heads.dense.pictures import Pictures

NOTHING = -1  # in targets: padding to whole cells and to the largest of a batch, and what masks leave out
IGNORED = 255  # in masks
UNKNOWN = -2  # in tables of classes: what a head does not have


class Paired(Dataset[dict[str, Any]]):
    """Samples of a data set of latents with their targets: "target", int16 [outputs or 1, h * cell, w * cell].

    table: of masks, from a number of the file to a class of the head; None for values, 0 to 255, of `channels`. Raises
    what `Pictures` raises, and ValueError for classes that the head does not have.
    """

    def __init__(
        self, latents: LatentDataset, pictures: Pictures, cell: int, *, table: Sequence[int] | None = None,
        channels: int = 1,
    ) -> None:  # fmt: skip
        self.latents, self.pictures, self.cell, self.channels = latents, pictures, cell, channels
        self.table = None if table is None else np.asarray(table, np.int16)
        self.collate = latents.collate

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> Samples:
        samples = self.latents.__getitems__(places)
        for place, sample in zip(places, samples, strict=True):
            sample["target"] = self.target(place, sample["y"].shape[1:])
        return samples

    def target(self, place: int, grid: Sequence[int]) -> Tensor:
        """Of one sample, whose latents have the grid [h, w]."""
        shown, cell = self.pictures[place], self.cell
        if (-(-shown.shape[0] // cell), -(-shown.shape[1] // cell)) != tuple(grid):
            self.pictures.check_size(place, shown, [n * cell for n in grid])
        values = shown.astype(np.int16)
        if self.table is not None:
            values = self.table[shown]
            if (values == UNKNOWN).any():
                number = int(shown[values == UNKNOWN].min())
                raise ValueError(f"{self.pictures.files[place]}: class {number}, which no target of the training has")
        elif values.shape[2] > self.channels:
            raise ValueError(f"{self.pictures.files[place]}: colours, where the targets of the training are grey")
        whole = np.full((self.channels, grid[0] * cell, grid[1] * cell), NOTHING, np.int16)
        whole[:, : values.shape[0], : values.shape[1]] = values.transpose(2, 0, 1)
        return torch.from_numpy(whole)


def target_of(part: dict[str, Any], device: torch.device) -> Tensor:
    """The targets of a batch that `collate` made, int16, `NOTHING` where it filled in."""
    target = part["target"].to(device, non_blocking=True)
    mask = part["target_mask"]
    return target if bool(mask.all()) else target.masked_fill(~mask[:, None].to(device), NOTHING)
