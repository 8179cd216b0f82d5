# SPDX-License-Identifier: Apache-2.0
"""Crops on the grid of cells: those of a WaLLoC image are 8x8 pixels, of its sound 256 samples.

They are latents of the cropped samples but for cells near new borders, where the analysis would have seen a mirrored
image instead of its surroundings: 4 cells at the left and the top, 3 at the right and the bottom (docs/transforms.md).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from isthmus.datasets.transforms.checks import check_latents, check_size


def cropped(latents: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """A view of cells start .. start + size of the last axes. Raises ValueError beyond the grid."""
    for axis, (first, count) in enumerate(zip(start, size, strict=True), latents.ndim - len(size)):
        if first < 0 or first + count > latents.shape[axis]:
            raise ValueError(f"crop: cells {first} to {first + count} of {latents.shape[axis]}; latents are not padded")
        latents = latents.narrow(axis, first, count)
    return latents


class CenterCrop:
    """The middle cells, a view.

    size: cells, an int for a square, (height, width), or (frames,) for sound. Takes [c, h, w] or [n, c, h, w], for
    sound [c, frames] or [n, c, frames]. Raises ValueError for a grid that is smaller.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = check_size(size, type(self).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"

    def __call__(self, latents: Tensor) -> Tensor:
        y = check_latents(latents, len(self.size), type(self).__name__)
        return cropped(y, center(y.shape[-len(self.size) :], self.size), self.size)


def center(grid: Sequence[int], size: Sequence[int]) -> list[int]:
    """Where a centred crop begins, as torchvision rounds it."""
    return [round((have - want) / 2.0) for have, want in zip(grid, size, strict=True)]


class RandomCrop(CenterCrop):
    """Cells from anywhere, for each of a batch on its own (a copy), else a view. Takes what `CenterCrop` takes."""

    def __call__(self, latents: Tensor) -> Tensor:
        axes = len(self.size)
        y = check_latents(latents, axes, type(self).__name__)
        room = [have - want for have, want in zip(y.shape[-axes:], self.size, strict=True)]
        if min(room) < 0:
            return cropped(y, [0] * axes, self.size)  # raises
        if y.ndim == axes + 1:
            return cropped(y, self._start(room), self.size)
        return torch.stack([cropped(one, self._start(room), self.size) for one in y])

    @staticmethod
    def _start(room: Sequence[int]) -> list[int]:
        return [int(torch.randint(most + 1, (), device="cpu")) for most in room]
