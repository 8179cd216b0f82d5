# SPDX-License-Identifier: Apache-2.0
"""Scenes: coloured shapes on pieces of a photograph, and masks of where they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isthmus.datasets import LatentDataset, transcode
from isthmus.media.image import read_image
from isthmus.models.heads import HEADS
from isthmus.models.heads.convnext import ConvNextConfig
from isthmus.models.heads.dense import DenseConfig, DenseHead
from isthmus.samples import ASTRONAUT

CODEC, SIDE = "walloc-image-f8c12", 48
PALETTE = [0, 0, 0, 220, 30, 30, *[0] * 15, 30, 30, 220, *[128] * 744]  # of classes 0, 1 and 7


def scenes(folder: Path, count: int, seed: int) -> Path:
    """Folders `images` (PNG), `masks` (palettes: 0 beside, 1 discs, 7 squares; 255 on borders) and `grey`."""
    photo, random = read_image(ASTRONAUT), np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        top, left = random.integers(0, 512 - SIDE, 2)
        image, mask = photo[top : top + SIDE, left : left + SIDE].copy(), np.zeros((SIDE, SIDE), np.uint8)
        for place, (kind, colour) in enumerate(((1, (220, 30, 30)), (7, (30, 30, 220)))):
            y, x, r = random.integers(10, SIDE - 10), random.integers(4, 20) + 22 * place, random.integers(6, 11)
            far = np.hypot(rows - y, columns - x) if kind == 1 else np.maximum(abs(rows - y), abs(columns - x))
            image[far <= r], mask[far <= r] = colour, kind
            mask[np.abs(far - r) < 1] = 255
        for name, pixels in (("images", image), ("grey", image.mean(2).astype(np.uint8)), ("masks", mask)):
            path = folder / name / f"{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            made: Any = Image.fromarray(pixels)
            if name == "masks":
                made.putpalette(PALETTE)
            made.save(path)
    return folder


def encoded(folder: Path, name: str = "images", into: str = "latents", **options: Any) -> LatentDataset:
    transcode(folder / name, folder / into, codec=CODEC, workers=0, progress=False, **{"quality": 80, **options})
    return LatentDataset(folder / into)


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With latents of `images`; to be left as it is."""
    folder = scenes(tmp_path_factory.mktemp("scenes"), 32, 1)
    encoded(folder)
    return folder


@pytest.fixture(scope="session")
def held_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = scenes(tmp_path_factory.mktemp("held"), 8, 2)
    encoded(folder)
    return folder


@pytest.fixture(autouse=True)
def tiny_dense() -> Iterator[None]:
    """A head "dense-tiny", which trains in a moment."""
    HEADS["dense-tiny"] = DenseHead, DenseConfig(ConvNextConfig((16, 24), (1, 1), 3, drop=0.0), width=16)
    yield
    del HEADS["dense-tiny"]
