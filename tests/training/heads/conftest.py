# SPDX-License-Identifier: Apache-2.0
"""Latents of two classes that differ at a glance: textures and flat grey."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isthmus.datasets import LatentDataset, transcode

CODEC = "walloc-image-f8c12"


def photos(folder: Path, count: int, seed: int) -> Path:
    random = np.random.default_rng(seed)
    for number in range(count):
        for name, strength in (("flat", 4), ("rough", 60)):
            noise = random.integers(-strength, strength + 1, (16, 16, 3)).repeat(4, 0).repeat(4, 1)
            image = np.clip(random.integers(80, 170) + noise, 0, 255).astype(np.uint8)
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return folder


def latents(folder: Path, count: int, seed: int) -> LatentDataset:
    source = photos(folder / "photos", count, seed)
    transcode(source, folder / "latents", codec=CODEC, workers=0, progress=False, quality=60)
    return LatentDataset(folder / "latents")


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> LatentDataset:
    return latents(tmp_path_factory.mktemp("train"), 24, 1)


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory) -> LatentDataset:
    return latents(tmp_path_factory.mktemp("held"), 10, 2)
