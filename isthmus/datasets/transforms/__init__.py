# SPDX-License-Identifier: Apache-2.0
"""What may be done to latents instead of images while one trains, and how far each is from the truth.

    from isthmus.datasets import transforms
    flip = transforms.RandomHorizontalFlip("walloc-image-f8c12", quality=50)
    flip.error                                                  # squared error over variance: 0.003
    latents = transforms.RandomCrop(28)(flip(latents))          # [c, h, w] or [n, c, h, w], in cells of 8x8 pixels
    latents, labels = transforms.MixUp(num_classes=1000)(dequantized, labels)

`LatentTensor` makes torchvision's v2 do the same. Figures: docs/transforms.md.
"""

from typing import TYPE_CHECKING

from isthmus.datasets.transforms.crops import CenterCrop, RandomCrop
from isthmus.datasets.transforms.flips import RandomHorizontalFlip, RandomVerticalFlip
from isthmus.datasets.transforms.mixing import CutMix, MixUp
from isthmus.datasets.transforms.resize import Resize
from isthmus.lazy import names_on_demand

if TYPE_CHECKING:
    from isthmus.datasets.transforms.tensors import LatentTensor
else:  # it needs torchvision
    __getattr__, __dir__ = names_on_demand(__name__, {"LatentTensor": "isthmus.datasets.transforms.tensors"})

__all__ = [
    "CenterCrop",
    "CutMix",
    "LatentTensor",
    "MixUp",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "Resize",
]
