# SPDX-License-Identifier: Apache-2.0
"""Small real photographs, cut from the one that ships."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from isthmus.samples import ASTRONAUT

CODEC = "walloc-image-f8c12"


@cache
def _astronaut() -> Image.Image:
    return Image.open(ASTRONAUT).convert("RGB")


def photo(number: int, width: int = 40, height: int = 32) -> Image.Image:
    """One of many, always the same of a number."""
    chance = np.random.default_rng(number)
    left, top = (int(chance.integers(0, 512 - side)) for side in (width, height))
    return _astronaut().crop((left, top, left + width, top + height))


def make_photos(folder: Path, classes: tuple[str, ...] = ("cat", "dog bird", "ünï"), each: int = 8) -> Path:
    """A folder of class folders."""
    number = 0
    for name in classes:
        (folder / name).mkdir(parents=True)
        for place in range(each):
            photo(number).save(folder / name / f"{place}.png")
            number += 1
    return folder
