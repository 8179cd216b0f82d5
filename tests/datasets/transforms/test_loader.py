# SPDX-License-Identifier: Apache-2.0
"""Transforms where trainings meet them: in workers, before batches are padded, and on dequantized batches."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from isthmus.datasets import LatentDataset
from isthmus.datasets.transforms import MixUp, RandomCrop, RandomHorizontalFlip
from isthmus.datasets.transforms.analysis import analysis_of
from isthmus.datasets.transforms.flips import flip
from tests.datasets.photos import CODEC, make_photos

CLASSES = ("cat", "dog")


class Flipped:
    """A transform of samples; travels to spawned workers."""

    def __init__(self) -> None:
        self.flip, self.crop = RandomHorizontalFlip(CODEC, quality=60, p=1), RandomCrop((3, 4))

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        return {**sample, "y": self.crop(self.flip(sample["y"]))}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"), CLASSES, each=4)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_samples_are_transformed_in_workers(photos: Path, context: str) -> None:
    plain = LatentDataset(photos, codec=CODEC, quality=60)
    changed = LatentDataset(photos, codec=CODEC, quality=60, transform=Flipped())
    loader = DataLoader(changed, batch_size=4, num_workers=1, multiprocessing_context=context)
    batches = list(loader)
    assert [tuple(batch["y"].shape) for batch in batches] == [(4, 12, 3, 4)] * 2
    whole = flip(plain[0]["y"], analysis_of(CODEC), quality=60)
    places = [whole[:, top : top + 3, left : left + 4] for top in range(2) for left in range(2)]
    assert any(torch.equal(batches[0]["y"][0], place) for place in places)
    assert batches[0]["y"].dtype == plain[0]["y"].dtype


def test_batches_are_flipped_and_mixed_after_dequantizing(photos: Path) -> None:
    data = LatentDataset(photos, codec=CODEC, quality=60)
    batch = next(iter(DataLoader(data, batch_size=8)))
    y = RandomHorizontalFlip(data.codec, p=1)(data.dequantize(batch)["y"])  # type: ignore[index]
    torch.testing.assert_close(y[3], flip(data.dequantize(batch["y"])[3], analysis_of(CODEC)))  # type: ignore[arg-type]
    mixed, labels = MixUp(num_classes=2)(y, batch["label"])
    assert mixed.shape == y.shape and labels.shape == (8, 2)
    assert ((y - data.mean["y"]) / data.std["y"]).isfinite().all()
