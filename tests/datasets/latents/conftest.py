# SPDX-License-Identifier: Apache-2.0
"""Data sets that several tests read."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isthmus
from tests.datasets.latents.made import Made, images, make

SIZES = ((64, 64), (40, 72), (9, 130))


@pytest.fixture(scope="session")
def codec() -> Any:
    return isthmus.load("walloc-image-f8c12")


@pytest.fixture(scope="session")
def same(tmp_path_factory: pytest.TempPathFactory, codec: Any, astronaut: np.ndarray) -> Made:
    """53 images of one size in four shards."""
    return make(tmp_path_factory.mktemp("same") / "set", codec, images(astronaut, 53), quality=40)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory, codec: Any, astronaut: np.ndarray) -> Made:
    """30 images of three sizes in two shards."""
    return make(tmp_path_factory.mktemp("mixed") / "set", codec, images(astronaut, 30, SIZES), quality=40)


@pytest.fixture(scope="session")
def tar(tmp_path_factory: pytest.TempPathFactory, codec: Any, astronaut: np.ndarray) -> Made:
    """The same images as tars."""
    crops = images(astronaut, 30, SIZES)
    return make(tmp_path_factory.mktemp("tar") / "set", codec, crops, format="tar", quality=40)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Seven sounds of 0.05 to 3 s, mono."""
    random, codec = np.random.default_rng(2), isthmus.load("walloc-audio-f256c27")
    lengths = [44100 * 3, 2205, 30000, 70001, 44100, 1, 5000]
    noise = [(random.standard_normal((1, n)) * 0.1).astype(np.float32) for n in lengths]
    return make(tmp_path_factory.mktemp("sounds") / "set", codec, noise, shard=3, sample_rate=44100)


@pytest.fixture
def copied(same: Made, tmp_path: Path) -> Made:
    """One to damage."""
    shutil.copytree(same.path, tmp_path / "set")
    return same._replace(path=tmp_path / "set")
