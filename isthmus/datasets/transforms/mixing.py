# SPDX-License-Identifier: Apache-2.0
"""MixUp and CutMix of batches of latents, as torchvision.transforms.v2 has them for images.

The analysis is affine, so mixed latents are those of mixed images but for what was rounded; boxes of CutMix lie on the
grid, and only cells near their edges differ from those of a pasted image. Zhang et al., "mixup: Beyond Empirical Risk
Minimization" (arXiv 1710.09412); Yun et al., "CutMix" (arXiv 1905.04899). Pairs are neighbours of the batch, so batches
should be shuffled; with the same seed they are what torchvision 0.29 makes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.datasets.transforms.checks import check_latents


class _Mixing(ABC):
    """alpha: of the Beta distribution. num_classes: needed where labels are indices."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None) -> None:
        if not (alpha > 0 and math.isfinite(alpha)):
            raise ValueError(f"{type(self).__name__}: alpha = {alpha!r}, expected a number above 0")
        self.alpha, self.num_classes = float(alpha), num_classes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(alpha={self.alpha}, num_classes={self.num_classes})"

    def __call__(self, latents: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [n, c, h, w] or [n, c, frames] and labels, integers [n] or floats [n, classes], to mixed ones.

        Labels become [n, classes] of floats. Raises TypeError or ValueError for others.
        """
        what = type(self).__name__
        y = check_latents(latents, 1 if isinstance(latents, Tensor) and latents.ndim == 3 else 2, what)
        if labels.ndim not in (1, 2) or len(labels) != len(y):
            raise ValueError(
                f"{what}: got labels {tuple(labels.shape)} for {len(y)} latents, expected [n] or [n, classes]"
            )
        if labels.ndim == 1:
            if self.num_classes is None:
                raise ValueError(f"{what}: labels that are indices need num_classes")
            low, high = (int(value) for value in labels.long().aminmax())
            if low < 0 or high >= self.num_classes:
                told = f"{what}: labels {low} to {high}, expected 0 to {self.num_classes - 1}"
                raise ValueError(told + (f": {low} is a sample without one, leave it out" if low < 0 else ""))
            labels = F.one_hot(labels.long(), self.num_classes)
        elif self.num_classes not in (None, labels.shape[1]):
            raise ValueError(f"{what}: labels of {labels.shape[1]} classes, num_classes is {self.num_classes}")
        labels = labels if labels.dtype.is_floating_point else labels.float()
        share = float(torch.distributions.Beta(torch.tensor([self.alpha]), torch.tensor([self.alpha])).sample(()))
        mixed, share = self._mix(y, share)
        return mixed, labels.roll(1, 0).mul_(1.0 - share).add_(labels.mul(share))

    @abstractmethod
    def _mix(self, latents: Tensor, share: float) -> tuple[Tensor, float]:
        """The mixed batch, and what share of each item is its own."""


class MixUp(_Mixing):
    """Means of two dequantized latents, floats, and of their labels, weighted at random."""

    def _mix(self, latents: Tensor, share: float) -> tuple[Tensor, float]:
        if not latents.dtype.is_floating_point:
            raise TypeError(f"MixUp: got {latents.dtype}; dequantize the latents first: means of integers are none")
        return latents.roll(1, 0).mul_(1.0 - share).add_(latents.mul(share)), share


class CutMix(_Mixing):
    """A box of cells from the batch's neighbour, of sound a stretch of frames; labels by the share of cells.

    Integers may be mixed too where all were made at one quality.
    """

    def _mix(self, latents: Tensor, share: float) -> tuple[Tensor, float]:
        grid = latents.shape[2:]
        middles = [int(torch.randint(n, size=(1,))) for n in reversed(grid)][::-1]  # x first, as torchvision draws
        half = 0.5 * (math.sqrt(1.0 - share) if len(grid) == 2 else 1.0 - share)
        box: list[Any] = [
            slice(max(m - int(half * n), 0), min(m + int(half * n), n)) for m, n in zip(middles, grid, strict=True)
        ]
        out = latents.clone()
        out[(..., *box)] = latents.roll(1, 0)[(..., *box)]
        return out, 1.0 - math.prod(s.stop - s.start for s in box) / math.prod(grid)
