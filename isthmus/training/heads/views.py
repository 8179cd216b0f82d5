# SPDX-License-Identifier: Apache-2.0
"""What is done to batches of latents while a head is trained; all of it drawn from torch's generator."""

import sys
from typing import Any

import torch
from torch import Tensor

from isthmus.datasets import transforms
from isthmus.training.heads.recipe import HeadRecipe

MIXUP_ALPHA, CUTMIX_ALPHA = 0.2, 1.0


class Views:
    """Crops, flips and mixtures of dequantized latents, as a recipe asks for.

    data: a `LatentDataset`, or what is like it; of samples of several sizes there are no flips and no mixtures, of
    codecs without flips no flips. Raises ValueError for crops of several sizes.
    """

    def __init__(self, recipe: HeadRecipe, data: Any, classes: int) -> None:
        axes, uniform = data.mean["y"].ndim - 1, is_uniform(data)
        if recipe.crop and not uniform:
            raise ValueError("crop: samples of several sizes are padded, which crops would cut; leave it at 0")
        self.crop = transforms.RandomCrop(recipe.crop if axes == 2 else (recipe.crop,)) if recipe.crop else None
        self.flip: transforms.RandomHorizontalFlip | None = None
        if recipe.flip and axes == 2 and uniform:
            try:
                self.flip = transforms.RandomHorizontalFlip(data.codec, p=recipe.flip)
            except ValueError as error:
                print(f"isthmus: samples are not flipped: {error}", file=sys.stderr, flush=True)
        kinds = {"none": (), "both": ("mixup", "cutmix")}.get(recipe.mixing, (recipe.mixing,)) if uniform else ()
        made = {"mixup": (transforms.MixUp, MIXUP_ALPHA), "cutmix": (transforms.CutMix, CUTMIX_ALPHA)}
        self.mixings = [made[kind][0](alpha=made[kind][1], num_classes=classes) for kind in kinds]

    def __call__(self, y: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [n, c, *grid] and labels [n] to others, labels perhaps as shares [n, classes]."""
        y = self.shown(y)
        if self.mixings:
            chosen = self.mixings[int(torch.randint(len(self.mixings), ()))]
            y, labels = chosen(y, labels)
        return y, labels

    def shown(self, y: Tensor) -> Tensor:
        """Without mixtures: for labels that are no classes."""
        y = self.crop(y) if self.crop is not None else y
        return self.flip(y) if self.flip is not None else y


def is_uniform(data: Any) -> bool:
    """Whether all samples of a data set of latents are of one size, and somebody knows."""
    return all(shape is not None for shape in data.shapes.values())
