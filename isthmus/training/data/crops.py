# SPDX-License-Identifier: Apache-2.0
"""A folder of images as one tensor on the training device, and random crops gathered there without a Python loop."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isthmus.lazy import LazySequence
from isthmus.media.image import read_image
from isthmus.training.data.reading import read_each


def load_rgb(path: Path) -> Tensor:
    """One image as uint8 [3, H, W]; grey is repeated to three channels. Raises UnreadableFileError, as for alpha."""
    array = read_image(path)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).expand(3, -1, -1)


def read_all(files: Sequence[Path]) -> Iterator[Tensor]:
    """`load_rgb` of files, as `read_each` says."""
    return read_each(load_rgb, files, "images")


class ImageBank(LazySequence[Tensor]):
    """Images of any size, decoded once, their pixels one after another on a device.

    As a sequence: uint8 [3, H, W] each, on the CPU. pixels: uint8 [P, 3]; image i begins at starts[i] and is heights[i]
    x widths[i]. least_side: `sample` leaves out images with a shorter side. Raises ValueError if it leaves out all.
    """

    def __init__(self, images: Iterable[Tensor], least_side: int, device: torch.device) -> None:
        flat, sizes = [], []
        for image in images:
            flat.append(image.permute(1, 2, 0).reshape(-1, 3))
            sizes.append(tuple(image.shape[1:]))
        if not any(min(size) >= least_side for size in sizes):
            raise ValueError(f"no image of at least {least_side} x {least_side} pixels among {len(sizes)} files")
        heights, widths = torch.tensor(sizes).T
        starts = torch.cumsum(heights * widths, 0) - heights * widths
        large = torch.minimum(heights, widths) >= least_side
        self._places = list(zip(starts.tolist(), sizes, strict=True))
        self.pixels = torch.cat(flat).to(device)
        self.starts, self.heights, self.widths, self.large = (t.to(device) for t in (starts, heights, widths, large))

    @classmethod
    def load(cls, files: Sequence[Path], least_side: int, device: torch.device) -> "ImageBank":
        """Decodes `files`, which shows progress; those that cannot be read are left out, with a warning.

        Raises UnreadableFileError if none can.
        """
        return cls(read_all(files), least_side, device)

    def __len__(self) -> int:
        return len(self._places)

    def item(self, place: int) -> Tensor:
        start, (height, width) = self._places[place]
        return self.pixels[start : start + height * width].view(height, width, 3).permute(2, 0, 1).cpu()

    def sample(self, batch: int, size: int, generator: torch.Generator) -> Tensor:
        """Random crops, flipped and transposed at random: float [batch, 3, size, size] in -1..1.

        Images are drawn in proportion to their number of pixels, so that every pixel is as likely.
        """
        device = self.pixels.device

        def uniform(n: int = batch) -> Tensor:
            return torch.rand(n, device=device, generator=generator)

        area = (self.heights * self.widths * self.large).float()
        image = torch.multinomial(area, batch, replacement=True, generator=generator)
        height, width = self.heights[image], self.widths[image]
        top = (uniform() * (height - size + 1)).long()
        left = (uniform() * (width - size + 1)).long()
        ramp = torch.arange(size, device=device)
        rows = torch.where(uniform()[:, None] < 0.5, ramp, size - 1 - ramp)  # [B, N], flipped or not
        columns = torch.where(uniform()[:, None] < 0.5, ramp, size - 1 - ramp)
        y = (top[:, None] + rows)[:, :, None]  # [B, N, 1]
        x = (left[:, None] + columns)[:, None, :]  # [B, 1, N]
        index = self.starts[image][:, None, None] + y * width[:, None, None] + x  # [B, N, N]
        index = torch.where(uniform()[:, None, None] < 0.5, index, index.transpose(1, 2))
        return to_float(self.pixels[index].permute(0, 3, 1, 2))


def to_float(samples: Tensor) -> Tensor:
    """uint8 0..255 to float -1..1, the range that all networks of the library see."""
    return samples.float() / 127.5 - 1.0
