# SPDX-License-Identifier: Apache-2.0
"""What is done to latents and targets alike while a dense head is trained, drawn from torch's generator."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.datasets import transforms
from isthmus.datasets.transforms.crops import cropped
from isthmus.training.heads.recipe import HeadRecipe
from isthmus.training.heads.views import is_uniform


class PairedViews:
    """Flips and crops of dequantized latents and of their targets, as a recipe asks for.

    widths: pixels of samples, None where nobody knows them. Flips need samples of one size and of whole cells; `note`
    says where they are left out. Raises ValueError for flips that the codec does not have, for crops of several sizes,
    and for mixtures.
    """

    def __init__(self, recipe: HeadRecipe, data: Any, cell: int, widths: Any) -> None:
        if recipe.mixing != "none":
            raise ValueError(f"mixing {recipe.mixing!r}: pictures are not mixed; a value for every pixel takes none")
        uniform, self.cell, self.size, self.share = is_uniform(data), cell, recipe.crop, recipe.flip
        if recipe.crop and not uniform:
            raise ValueError("crop: samples of several sizes are padded, which crops would cut; leave it at 0")
        if uniform and recipe.crop > min(data.shapes["y"][1:]):
            raise ValueError(
                f"crop: {recipe.crop} cells of latents {data.shapes['y']}; expected no more than they have"
            )
        self.note, self.flip = None, None  # type: str | None, transforms.RandomHorizontalFlip | None
        if recipe.flip and not uniform:
            self.note = "samples of several sizes: no flips"
        elif recipe.flip and (widths is None or np.any(np.asarray(widths) % cell)):
            self.note = f"widths are no multiples of {cell} pixels, by which flipped cells would be shifted: no flips"
        elif recipe.flip:
            self.flip = transforms.RandomHorizontalFlip(data.codec, p=1)

    def __call__(self, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [n, c, h, w] and int16 [n, channels, h * cell, w * cell] to others of one view each."""
        if self.flip is not None:
            place = (torch.rand(len(y)) < self.share).nonzero()[:, 0].to(y.device)
            if len(place):
                y = y.index_copy(0, place, self.flip(y[place]))
                target = target.index_copy(0, place, target[place].flip(-1))
        if not self.size:
            return y, target
        starts = [[int(torch.randint(n - self.size + 1, ())) for n in y.shape[2:]] for _ in y]
        return self._cut(y, starts, 1), self._cut(target, starts, self.cell)

    def _cut(self, x: Tensor, starts: list[list[int]], pixels: int) -> Tensor:
        """Squares of a batch, from cells `starts` on, where a cell is so many pixels of `x`."""
        size = (self.size * pixels,) * 2
        return torch.stack([cropped(one, [n * pixels for n in s], size) for one, s in zip(x, starts, strict=True)])
