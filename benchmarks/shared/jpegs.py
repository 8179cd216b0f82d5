# SPDX-License-Identifier: Apache-2.0
"""JPEG files as most trainings on images read them, and some to read."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from isthmus.media.image import read_image
from isthmus.samples import ASTRONAUT


class Jpegs(Dataset[Any]):
    """What most trainings on images do."""

    def __init__(self, files: list[Path], decoder: str) -> None:
        self.files, self.decoder = files, decoder

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        if self.decoder == "pillow":
            image = Image.open(self.files[index]).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(image)).permute(2, 0, 1), 0
        from torchvision.io import decode_jpeg, read_file
        from torchvision.transforms.v2.functional import resize

        return resize(decode_jpeg(read_file(str(self.files[index]))), [224, 224], antialias=True), 0


def photographs(folder: Path, count: int) -> list[Path]:
    """Cuts of the photograph that ships."""
    image, random = read_image(ASTRONAUT), np.random.default_rng(0)
    wide = np.asarray(Image.fromarray(image).resize((768, 768), Image.Resampling.LANCZOS))
    for i in range(count):
        y, x = random.integers(0, 768 - 384), random.integers(0, 768 - 512)
        Image.fromarray(wide[y : y + 384, x : x + 512]).save(folder / f"{i:05d}.jpg", quality=90)
    return sorted(folder.glob("*.jpg"))
