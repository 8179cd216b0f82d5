# SPDX-License-Identifier: Apache-2.0
"""A folder of images as one tensor on the training device, and random crops gathered there without a Python loop."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from isthmus.media.image import read_image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff"}


def list_images(folder: str | Path) -> list[Path]:
    """Image files below `folder`, sorted by path. Raises ValueError when there is none."""
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder}: no image files ({', '.join(sorted(SUFFIXES))}) in this folder or below it")
    return files


def load_rgb(path: Path) -> Tensor:
    """One image as uint8 [3, H, W]; grey is repeated to three channels, alpha is laid on black."""
    array = read_image(path, background="black")
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).expand(3, -1, -1)


@dataclass
class ImageBank:
    """Many images of any size, their pixels one after another: `pixels` uint8 [P, 3]; image i begins at `starts[i]`."""

    pixels: Tensor
    starts: Tensor
    heights: Tensor
    widths: Tensor

    @classmethod
    def load(cls, files: list[Path], least_side: int, device: torch.device) -> "ImageBank":
        """Decodes `files`; images with a side below `least_side` are left out. Raises ValueError if none is left."""
        flat, sizes = [], []
        for path in tqdm(files, desc="reading images", unit="image", disable=None):
            image = load_rgb(path)
            if min(image.shape[1:]) >= least_side:
                flat.append(image.permute(1, 2, 0).reshape(-1, 3))
                sizes.append(image.shape[1:])
        if not flat:
            raise ValueError(f"no image of at least {least_side} x {least_side} pixels among {len(files)} files")
        heights = torch.tensor([s[0] for s in sizes])
        widths = torch.tensor([s[1] for s in sizes])
        starts = torch.cumsum(heights * widths, 0) - heights * widths
        return cls(torch.cat(flat).to(device), starts.to(device), heights.to(device), widths.to(device))

    def __len__(self) -> int:
        return len(self.starts)

    def sample(self, batch: int, size: int, generator: torch.Generator) -> Tensor:
        """Random crops, flipped and transposed at random: float [batch, 3, size, size] in -1..1.

        Images are drawn in proportion to their number of pixels, so that every pixel is as likely.
        """
        device = self.pixels.device

        def uniform(n: int = batch) -> Tensor:
            return torch.rand(n, device=device, generator=generator)

        area = (self.heights * self.widths).float()
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
