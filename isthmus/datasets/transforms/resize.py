# SPDX-License-Identifier: Apache-2.0
"""Fewer or more cells: means or copies of whole cells, which are not the latents of a resized image.

A cell says how 8x8 pixels differ within; of an image half as large other pixels would share a cell, and what is detail
here would be none there. The mean over cells keeps brightness and colours and blurs the rest; models that look at one
thing of each place may learn from it, a decoder shows a mosaic. `isthmus transcode --resize` has no such error.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.datasets.transforms.checks import check_latents, check_size

Mode = Literal["average", "nearest"]


class Resize:
    """A grid of `size` cells, each the mean of the cells it covers or a copy of the nearest one.

    size: an int for a square, (height, width), or (frames,) for sound. mode: "average" takes dequantized latents,
    floats; "nearest" integers too. Takes [c, h, w] or [n, c, h, w], for sound [c, frames] or [n, c, frames].
    Raises ValueError for other sizes, TypeError for means of integers.
    """

    def __init__(self, size: int | Sequence[int], mode: Mode = "average") -> None:
        self.size, self.mode = check_size(size, type(self).__name__), mode
        if mode not in get_args(Mode):
            raise ValueError(f"Resize: mode {mode!r}, expected 'average' or 'nearest'")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size}, mode={self.mode!r})"

    def __call__(self, latents: Tensor) -> Tensor:
        axes = len(self.size)
        y = check_latents(latents, axes, type(self).__name__)
        if self.mode == "nearest":
            for axis, count in enumerate(self.size, y.ndim - axes):
                y = y.index_select(axis, nearest(y.shape[axis], count, y))
            return y
        if not y.dtype.is_floating_point:
            raise TypeError("Resize: means of integers are none; dequantize the latents first, or take mode='nearest'")
        batch = y if y.ndim == axes + 2 else y[None]
        out = F.interpolate(batch, self.size, mode="area")
        return out if y.ndim == axes + 2 else out[0]


def nearest(have: int, want: int, like: Tensor) -> Tensor:
    """For each of `want` cells that of `have` in which its middle lies, int64 on the device of `like`."""
    return ((torch.arange(want, device=like.device) * 2 + 1) * have).div(2 * want, rounding_mode="floor")
